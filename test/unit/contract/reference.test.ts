/** The reference in proto/SERVICE.md is what the parser takes, and leaves out no key that it knows. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { specToDocument } from "../../../proto/contract/spec/document.ts";
import { parseDocuments } from "../../../proto/contract/spec/parse.ts";
import { ROOT } from "../../support/processes.ts";

const text = readFileSync(join(ROOT, "proto/SERVICE.md"), "utf8");
const blocks = [...text.matchAll(/```yaml\n([^]*?)```/g)].map((match) => match[1] ?? "");

function keysOf(value: unknown): string[] {
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) => [...(Array.isArray(value) ? [] : [key]), ...keysOf(inner)]);
}

test("the reference document is valid, and its short forms are", () => {
  const [whole = "", health = "", external = ""] = blocks;
  const parsed = parseDocuments({ file: "SERVICE.md", text: whole });
  expect(parsed).toMatchObject({ kind: "ok" });
  const indent = (block: string): string => block.replace(/^/gm, "  ").trimEnd();
  const start = "apiVersion: baton/v1\nkind: Service\nmetadata: { name: shop }\nspec:\n  version: v1\n";
  const rest = "  listen: [{ port: 80 }]\n";
  for (const part of [`  run: { process: { command: [x] } }\n${indent(health)}`, indent(external)]) {
    expect(parseDocuments({ file: "SERVICE.md", text: `${start}${rest}${part}\n` })).toMatchObject({ kind: "ok" });
  }
});

test("every key that a stored document can show stands in the reference", () => {
  const parsed = parseDocuments({ file: "SERVICE.md", text: blocks[0] ?? "" });
  if (parsed.kind !== "ok") throw new Error("the reference is not valid");
  const keys = new Set(keysOf(specToDocument(parsed.services[0]!.spec)));
  expect([...keys].filter((key) => !text.includes(`${key}:`))).toEqual([]);
  expect(keys.size).toBeGreaterThan(40);
});
