/** The reference in proto/SERVICE.md is what the parser takes, and leaves out no key that it knows. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { jsonSchema } from "../../../proto/contract/spec/json-schema.ts";
import { formatProblem, parseDocuments } from "../../../proto/contract/spec/parse.ts";
import type { ServiceSpec } from "../../../proto/contract/spec/types.ts";
import { ROOT } from "../../support/processes.ts";

const text = readFileSync(join(ROOT, "proto/SERVICE.md"), "utf8");
const blocks = [...text.matchAll(/```yaml\n([^]*?)```/g)].map((match) => match[1] ?? "");
const whole = blocks.filter((block) => block.startsWith("apiVersion:"));

function specOf(document: string): ServiceSpec {
  const parsed = parseDocuments({ file: "SERVICE.md", text: document });
  if (parsed.kind === "invalid") throw new Error(parsed.problems.map(formatProblem).join("\n"));
  return parsed.services[0]!.spec;
}

const indent = (block: string, by: number): string => block.replace(/^(?=.)/gm, " ".repeat(by)).trimEnd();
const START =
  "apiVersion: baton/v1\nkind: Service\nmetadata: { name: shop }\nspec:\n  version: v1\n  listen: [{ port: 80 }]\n";
const RUN = "  run: { process: { command: [x] } }\n";

test("the reference has one whole document for each strategy, and each is taken", () => {
  expect(whole.map((document) => specOf(document).strategy.kind)).toEqual(["rolling", "canary", "blueGreen"]);
});

test("the pieces of the reference are taken where they belong", () => {
  const piece = (key: string): string => blocks.find((block) => block.startsWith(`${key}:`)) ?? "";
  expect(specOf(`${START}${RUN}${indent(piece("health"), 2)}\n`).health?.liveness?.kind).toBe("tcp");
  expect(specOf(`${START}${indent(piece("run"), 2)}\n`).run.kind).toBe("external");
  const docker = blocks.find((block) => block.startsWith("run:\n  docker:")) ?? "";
  expect(specOf(`${START}${indent(docker, 2)}\n`).run).toMatchObject({ kind: "docker", limits: { pids: 100 } });
  expect(specOf(`${START}${RUN}${indent(piece("rules"), 2)}\n`).rules[0]?.headers).toHaveLength(1);
  const metrics = `  strategy:\n    rolling:\n      analysis:\n${indent(piece("metrics"), 8)}\n`;
  expect(specOf(`${START}${RUN}${metrics}`).strategy.analysis?.metrics[0]?.source.kind).toBe("prometheus");
});

test("what the canary's reference says is the default is the default", () => {
  const strategy = (said: string): ServiceSpec["strategy"] => specOf(`${START}${RUN}  strategy: ${said}\n`).strategy;
  const shown = specOf(whole[1] ?? "").strategy;
  const bare = strategy("{ canary: {} }");
  expect(bare.analysis).toEqual(shown.analysis);
  expect(bare.maxSurge).toEqual(shown.maxSurge);
  const sticky = strategy("{ canary: { stickiness: { cookie: {} } } }");
  expect(sticky.kind === "canary" && sticky.stickiness).toEqual(shown.kind === "canary" && shown.stickiness);
});

test("every key that there is stands in the reference", () => {
  const known = new Set<string>();
  const walk = (schema: unknown): void => {
    if (typeof schema !== "object" || schema === null) return;
    const { properties } = schema as { readonly properties?: Readonly<Record<string, unknown>> };
    for (const key of Object.keys(properties ?? {})) known.add(key);
    for (const inner of Object.values(schema)) walk(inner);
  };
  walk(jsonSchema());
  expect(known.size).toBeGreaterThan(100);
  expect([...known].filter((key) => !new RegExp(`\\b${key}\`?:|\`${key}\``).test(text))).toEqual([]);
});
