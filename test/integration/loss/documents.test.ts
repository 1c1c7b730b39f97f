/** The demo's own documents are what a user deploys first: they must be right, and mean a program that is there. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { formatProblem, parseDocuments } from "../../../proto/contract/spec/parse.ts";
import { ROOT } from "../../support/processes.ts";

const baseDir = join(ROOT, "test/apps/demo");

test.each(["v1", "v2", "v3", "v3b", "v3c"])("the document of %s is valid and starts that version", (version) => {
  const file = `${version}.yaml`;
  const result = parseDocuments({ file, text: readFileSync(join(baseDir, file), "utf8"), baseDir });
  if (result.kind === "invalid") throw new Error(result.problems.map(formatProblem).join("\n"));
  const spec = result.services[0]?.spec;
  expect(spec).toMatchObject({ name: "demo", version, run: { kind: "process", env: { VERSION: version } } });
  if (spec?.run.kind !== "process") throw new Error("not a process");
  expect(existsSync(join(spec.run.cwd, spec.run.command[1] ?? ""))).toBe(true);
});
