/** Baton's own version, as package.json says it. The same path from the sources and from build/ leads there. */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";

function find(folder: string): string {
  const file = join(folder, "package.json");
  if (existsSync(file)) return (JSON.parse(readFileSync(file, "utf8")) as { version: string }).version;
  const parent = dirname(folder);
  if (parent === folder) throw new Error("package.json of Baton is missing beside its sources");
  return find(parent);
}

export const SOFTWARE: string = find(import.meta.dirname);
