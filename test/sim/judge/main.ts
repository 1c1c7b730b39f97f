/**
 * Simulates the judge and writes RESULTS.md and plot.svg beside this file.
 *
 *   node test/sim/judge/main.ts --runs 10000 --seed 1 [--out DIR]
 *
 * Exit 1 when a bound is broken: the 99 % interval of some case's false aborts reaches beyond α.
 * Cost  about ten minutes of one core for 10,000 runs a case.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { BEYOND, EQUAL, WORSE, type Case } from "./cases.ts";
import { EQUAL_LATENCY, playLatency, WORSE_LATENCY, type LatencyCase } from "./latency.ts";
import { interval, play } from "./play.ts";
import { svg } from "./plot.ts";
import { COLUMNS } from "./rules.ts";
import { markdown, worst, type Results, type Row } from "./table.ts";

const { values } = parseArgs({
  options: {
    runs: { type: "string", default: "10000" },
    seed: { type: "string", default: "1" },
    out: { type: "string", default: import.meta.dirname },
  },
});
const runs = Number(values.runs);
const seed = Number(values.seed);
if (!Number.isInteger(runs) || runs < 1 || !Number.isInteger(seed)) {
  console.error("--runs and --seed take whole numbers");
  process.exit(2);
}

const errors = (of: Case): Row => row(of.name, () => play(of, COLUMNS, runs, seed));
const latency = (of: LatencyCase): Row => row(of.name, () => playLatency(of, runs, seed));

const results: Results = {
  command: `node test/sim/judge/main.ts --runs ${runs} --seed ${seed}`,
  runs,
  equal: EQUAL.map(errors),
  beyond: BEYOND.map(errors),
  worse: WORSE.map(errors),
  equalLatency: EQUAL_LATENCY.map(latency),
  worseLatency: WORSE_LATENCY.map(latency),
};
writeFileSync(join(values.out, "RESULTS.md"), markdown(results));
writeFileSync(join(values.out, "plot.svg"), svg(results));

for (const alpha of [0.01, 0.05]) {
  const found = worst([...results.equal, ...results.equalLatency], alpha);
  if (found === null) continue;
  const [, high] = interval(found.tally.failed, found.tally.runs);
  const holds = high <= alpha;
  console.log(`α ${alpha}: at most ${high.toFixed(4)} in “${found.name}”: ${holds ? "holds" : "BROKEN"}`);
  if (!holds) process.exitCode = 1;
}

function row(name: string, played: () => Row["tallies"]): Row {
  const tallies = played();
  console.log(`${name}: ${tallies.map(({ failed, runs: of }) => `${((100 * failed) / of).toFixed(2)} %`).join(", ")}`);
  return { name, tallies };
}
