// What a newcomer meets first: the top level, README's two commands, the lock file.
import { expect, test } from "vitest";
import { read, topLevel } from "../../lint/files.ts";

interface Manifest {
  readonly scripts: Readonly<Record<string, string>>;
}
interface Lock {
  readonly lockfileVersion: number;
  readonly packages: Readonly<Record<string, { readonly resolved?: string; readonly integrity?: string }>>;
}

const manifest = JSON.parse(read("package.json")) as Manifest;

test("the top level holds the four parts, and beside them only what a tool asks for there", () => {
  const parts = ["agent", "control", "proto", "test"];
  const asked = [
    ...[
      "README.md",
      "CHANGELOG.md",
      "LICENSE",
      "package.json",
      "package-lock.json",
      "docker-compose.yml",
      "Dockerfile",
    ],
    ...["tsconfig.json", "tsconfig.base.json", "buf.yaml", "buf.gen.yaml", "eslint.config.js", "vitest.config.ts"],
  ];
  const found = topLevel().filter((name) => !name.startsWith("."));
  expect(found.filter((name) => !parts.includes(name) && !asked.includes(name))).toEqual([]);
  expect(parts.filter((name) => !found.includes(name))).toEqual([]);
});

test("README's first two commands are the main job and the tests, and package.json knows both", () => {
  const [first, second] = commands(read("README.md"));
  expect(first).toBe("npm ci && npm start -- --once");
  expect(second).toBe("npm cit");
  expect(Object.keys(manifest.scripts)).toEqual(expect.arrayContaining(["start", "test"]));
});

test("every npm script that README tells of exists", () => {
  const told = [...read("README.md").matchAll(/\bnpm run ([\w:-]+)/g)].map((match) => match[1] ?? "");
  expect(told.filter((name) => !(name in manifest.scripts))).toEqual([]);
});

test("the lock file pins every package by its content, and ties nobody to one registry", () => {
  const lock = JSON.parse(read("package-lock.json")) as Lock;
  const packages = Object.entries(lock.packages).filter(([path]) => path !== "");
  expect(lock.lockfileVersion).toBe(3);
  expect(packages.filter(([, entry]) => entry.resolved !== undefined).map(([path]) => path)).toEqual([]);
  expect(packages.filter(([, entry]) => entry.integrity === undefined).map(([path]) => path)).toEqual([]);
});

/** The lines of a page's fenced shell blocks that a reader types, prompts and comments taken off. */
function commands(page: string): string[] {
  const blocks = [...page.matchAll(/^```(?:sh|bash|shell|console)?\n([\s\S]*?)^```/gm)].map((match) => match[1] ?? "");
  return blocks
    .flatMap((block) => block.split("\n"))
    .map((line) =>
      line
        .replace(/^\$ /, "")
        .replace(/\s+#.*$/, "")
        .trim(),
    )
    .filter((line) => line !== "" && !line.startsWith("#"));
}
