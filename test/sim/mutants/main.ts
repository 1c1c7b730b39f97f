/**
 * Does the simulation notice when a guard is missing?   node test/sim/mutants/main.ts [name …]
 *
 * Exit  0 each was found within a minute, 1 one was not.
 */
import { tryMutant } from "./mutate.ts";
import { MUTANTS } from "./mutants.ts";

const WITHIN_MS = 60_000;
const names = process.argv.slice(2);
const say = (line: string): void => void process.stdout.write(`${line}\n`);
say("| guard taken out | found | seconds | by |");
say("| --- | --- | --- | --- |");
for (const mutant of MUTANTS.filter(({ name }) => names.length === 0 || names.includes(name))) {
  const { found, seconds, text } = tryMutant(mutant, WITHIN_MS);
  if (!found) process.exitCode = 1;
  say(`| ${mutant.name}: ${mutant.what} | ${found ? "yes" : "NO"} | ${seconds.toFixed(1)} | ${text} |`);
}
