// The form of the sources, where a linter has no rule for it.
import { expect, test } from "vitest";
import { files, read } from "../../lint/files.ts";

const PRODUCT = ["agent", "control", "proto"].flatMap((folder) => files(folder, /\.ts$/)).filter(isWritten);
const TESTS = files("test", /\.test\.ts$/);
const PROJECTS = ["unit", "integration", "fuzz", "sim", "e2e"];

function isWritten(path: string): boolean {
  return !path.startsWith("proto/gen/");
}

const offenders = (paths: readonly string[], pattern: RegExp): string[] =>
  paths.flatMap((path) =>
    read(path)
      .split("\n")
      .flatMap((line, at) => (pattern.test(line) ? [`${path}:${String(at + 1)}: ${line.trim()}`] : [])),
  );

test("no product file has grown beyond what can be read in one go", () => {
  expect(PRODUCT.length).toBeGreaterThan(10);
  const long = PRODUCT.map((path) => ({ path, lines: read(path).split("\n").length })).filter(
    ({ lines }) => lines > 401,
  );
  expect(long).toEqual([]);
});

test("every product file says what it is before it starts", () => {
  expect(PRODUCT.filter((path) => !/^(?:#!.*\n)?\/[/*]/.test(read(path)))).toEqual([]);
});

test("nothing is left for later in a comment", () => {
  // Put together here, so that this line is not its own offender.
  const marker = new RegExp(String.raw`\b(?:${["TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK"].join("|")})\b`);
  const all = [...PRODUCT, ...files("test", /\.(?:ts|js|mjs|sh)$/), ...files("proto", /\.proto$/)];
  expect(offenders(all, marker)).toEqual([]);
});

test("no test is switched off, singled out, or tried again until it passes", () => {
  const off =
    /\b(?:test|it|describe|suite|bench)(?:\.\w+)*\.(?:only|skip|todo|fails)\b|\bcontext\.skip\(|\bretry:\s*\d/;
  expect(offenders(TESTS, off)).toEqual([]);
});

test("every test file asserts something, and lies where a run finds it", () => {
  expect(TESTS.filter((path) => !/\bexpect\(|\bfc\.assert\(|\bstoreContract\(/.test(read(path)))).toEqual([]);
  expect(TESTS.filter((path) => !PROJECTS.includes(path.split("/")[1] ?? ""))).toEqual([]);
});
