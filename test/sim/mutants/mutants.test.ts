/** All of them: `node test/sim/mutants/main.ts`. Here, that each still fits, and that one is found. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { tryMutant } from "./mutate.ts";
import { MUTANTS } from "./mutants.ts";

test.each(MUTANTS)("the guard of $name is where it was", ({ edits }) => {
  for (const { file, text } of edits) expect(readFileSync(file, "utf8").split(text)).toHaveLength(2);
});

test("without the drain's guard, the simulation finds requests that were cut (I2)", { timeout: 90_000 }, () => {
  const mutant = MUTANTS.find(({ name }) => name === "I2 drained")!;
  expect(tryMutant(mutant, 60_000)).toMatchObject({ found: true });
});
