/** Service documents from files, folders and stdin, as the API takes them. */
import { readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { EXIT, LIMITS } from "../../proto/contract/limits.ts";
import type { Document } from "../../proto/gen/baton/v1/operator.ts";
import { CliError } from "./errors.ts";

/** `-` is stdin; a folder stands for its *.yaml and *.yml files, in order of name. */
export function readDocuments(paths: readonly string[]): readonly Document[] {
  return paths.flatMap(expand).map(read);
}

function expand(path: string): readonly string[] {
  if (path === "-") return [path];
  let folder: boolean;
  try {
    folder = statSync(path).isDirectory();
  } catch (error) {
    throw unreadable(path, error);
  }
  if (!folder) return [path];
  const files = readdirSync(path).filter((name) => /\.ya?ml$/.test(name));
  if (files.length === 0) throw new CliError(`${path}: this folder holds no .yaml file`, EXIT.usage);
  return files.sort().map((name) => join(path, name));
}

function read(path: string): Document {
  try {
    const text = readFileSync(path === "-" ? 0 : path, "utf8");
    if (Buffer.byteLength(text) > LIMITS.specFileBytes) {
      throw new CliError(`${path}: larger than ${String(LIMITS.specFileBytes)} bytes`, EXIT.usage);
    }
    return path === "-"
      ? { file: "stdin", text, baseDir: process.cwd() }
      : { file: path, text, baseDir: dirname(resolve(path)) };
  } catch (error) {
    throw error instanceof CliError ? error : unreadable(path, error);
  }
}

const unreadable = (path: string, error: unknown): CliError =>
  new CliError(`${path}: can't be read: ${(error as Error).message}`, EXIT.usage);
