/** The repository's own files, as the checks of its form see them: everything but what is installed, built or left by a run. */
import { readFileSync, readdirSync } from "node:fs";
import { join, relative, resolve } from "node:path";

export const ROOT = resolve(import.meta.dirname, "../..");
const NOT_OURS = new Set(["node_modules", "build", "coverage", ".git", ".baton"]);

export const topLevel = (): string[] => readdirSync(ROOT).filter((name) => !NOT_OURS.has(name));

/** Paths below `folder`, relative to the root, `/`-separated, sorted. */
export function files(folder: string, accept: RegExp): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(ROOT, join(entry.parentPath, entry.name)))
    .filter((path) => accept.test(path) && !path.split("/").some((part) => NOT_OURS.has(part)))
    .toSorted();
}

export const read = (path: string): string => readFileSync(join(ROOT, path), "utf8");
