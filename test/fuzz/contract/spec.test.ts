import * as fc from "fast-check";
import { expect, test } from "vitest";
import { stringify } from "yaml";
import * as z from "zod";
import { specHash, specToDocument } from "../../../proto/contract/spec/document.ts";
import { jsonSchema } from "../../../proto/contract/spec/json-schema.ts";
import { formatProblem, parseDocuments } from "../../../proto/contract/spec/parse.ts";
import type { ServiceSpec } from "../../../proto/contract/spec/types.ts";
import { specArb } from "../../support/arbitrary-spec.ts";

function reread(text: string): ServiceSpec {
  const read = parseDocuments({ file: "x.yaml", text });
  if (read.kind === "invalid") throw new Error(`${read.problems.map(formatProblem).join("\n")}\n${text}`);
  return read.services[0]!.spec;
}

test("a spec written as a document is the same spec when read again, as YAML and as JSON", () => {
  fc.assert(
    fc.property(specArb, (spec) => {
      const document = specToDocument(spec);
      expect(reread(stringify(document))).toEqual(spec);
      const again = reread(JSON.stringify(document));
      expect(again).toEqual(spec);
      expect(specHash(again)).toBe(specHash(spec));
    }),
    { numRuns: 300 },
  );
});

test("the JSON Schema for editors takes every document that is written", () => {
  const schema = z.fromJSONSchema(jsonSchema());
  fc.assert(
    fc.property(specArb, (spec) => {
      expect(schema.safeParse(specToDocument(spec)).error?.issues ?? []).toEqual([]);
    }),
    { numRuns: 200 },
  );
});

test("no text makes the reader throw, and every problem has a place inside the text", () => {
  const base = specArb.map((spec) => stringify(specToDocument(spec)));
  const junk = fc.oneof(
    fc.constantFrom(
      "\t",
      "- ",
      ": ",
      "{",
      "]",
      "&a ",
      "*a",
      "!!x ",
      "'",
      '"',
      "\n---\n",
      "<<: ",
      "? ",
      "|\n",
      "\u0000",
      "%Y",
    ),
    fc.string({ unit: "binary", maxLength: 5 }),
  );
  const mutated = fc
    .tuple(base, fc.array(fc.tuple(fc.nat(), fc.nat({ max: 4 }), junk), { minLength: 1, maxLength: 4 }))
    .map(([text, edits]) =>
      edits.reduce((t, [at, cut, put]) => {
        const i = at % (t.length + 1);
        return t.slice(0, i) + put + t.slice(i + cut);
      }, text),
    );
  fc.assert(
    fc.property(fc.oneof(mutated, fc.string({ unit: "binary", maxLength: 200 })), (text) => {
      const read = parseDocuments({ file: "x.yaml", text });
      if (read.kind === "ok") return;
      const lines = text.split("\n").length;
      expect(read.problems.length).toBeGreaterThan(0);
      for (const problem of read.problems) {
        expect(problem.line).toBeGreaterThanOrEqual(1);
        expect(problem.line).toBeLessThanOrEqual(lines + 1);
        expect(problem.column).toBeGreaterThanOrEqual(1);
        expect(formatProblem(problem)).not.toMatch(/\n/);
      }
    }),
    { numRuns: 1_500 },
  );
});
