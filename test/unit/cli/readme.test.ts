// What README tells a new user to type is there: each command, each option, each file; and what it shows of a document is
// what the document says.
import { existsSync, readFileSync } from "node:fs";
import type { Command } from "commander";
import { parse } from "yaml";
import { describe, expect, test } from "vitest";
import { buildProgram } from "../../../control/cli/program.ts";
import { parseFiles } from "../../../proto/contract/spec/parse.ts";

const readme = readFileSync("README.md", "utf8");
const DEMO = "test/apps/demo";
const documents = ["canary.yaml", "canary-bad.yaml", "blue-green.yaml"];

/** Lines of a shell block, and what is between backquotes. */
const commands = [
  ...[...readme.matchAll(/^(?:\$ )?npx baton ([^#\n]*)/gm)].map((match) => match[1] ?? ""),
  ...[...readme.matchAll(/`baton ([^`\n]*)`/g)].map((match) => match[1] ?? ""),
].map((text) => text.trim().split(/\s+/));

const subcommand = (command: Command, name: string | undefined): Command | undefined =>
  command.commands.find((one) => one.name() === name);

test.each(commands.map((words) => [words.join(" "), words] as const))("baton %s", (_, words) => {
  let command = buildProgram(() => undefined);
  let rest = words;
  for (let next = subcommand(command, rest[0]); next !== undefined; next = subcommand(command, rest[0])) {
    command = next;
    rest = rest.slice(1);
  }
  expect(command.name()).not.toBe("baton");
  // These two hand their options on to a process of their own.
  if (["agent", "control"].includes(command.name())) return;
  const known = command.options.flatMap((option) => [option.short, option.long]);
  for (const option of rest.filter((word) => word.startsWith("-"))) expect(known).toContain(option);
  for (const file of rest.filter((word) => word.startsWith("test/"))) expect(existsSync(file)).toBe(true);
});

describe("the demo's documents", () => {
  test.each(documents)("%s is valid", (file) => {
    const parsed = parseFiles([{ file, text: readFileSync(`${DEMO}/${file}`, "utf8"), baseDir: DEMO }]);
    expect(parsed).toMatchObject({ kind: "ok" });
  });

  test("README shows of canary.yaml what it says", () => {
    const block = /```yaml\n(strategy:\n {2}canary:[\s\S]*?)```/.exec(readme)?.[1] ?? "";
    const shown = (parse(block) as { strategy: { canary: object } }).strategy.canary;
    const said = parse(readFileSync(`${DEMO}/canary.yaml`, "utf8")) as { spec: { strategy: { canary: object } } };
    expect(said.spec.strategy.canary).toMatchObject(shown);
  });

  test("the bad canary differs from the good one by its version and its behaviour alone", () => {
    const spec = (file: string) =>
      (parse(readFileSync(`${DEMO}/${file}`, "utf8")) as { spec: Record<string, unknown> }).spec;
    const [good, bad] = [spec("canary.yaml"), spec("canary-bad.yaml")];
    expect({ ...bad, version: "", run: {} }).toEqual({ ...good, version: "", run: {} });
    expect(bad["run"]).toMatchObject({ process: { env: { BEHAVIOUR: "errors=4%" } } });
  });
});
