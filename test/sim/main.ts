/** The simulation from the command line: so many seeds, so many rollouts each. */
import { parseArgs } from "node:util";
import { runCampaign } from "./model/campaign.ts";

const PROGRESS_MS = 10_000;
const HELP = `Rollouts in a simulated fleet with faults; what is true there is held against what Baton promises.

  npm run sim -- [options]

  --seed N        the first seed: all chance there is                  (1)
  --seeds N       so many, one after the other                         (1)
  --rollouts N    so many in each                                      (100)
  --largest N     hosts of the largest fleet                           (1000)
  --tell          says what each rollout is made of
  --keep-going    goes on after a finding
  --help

Exit: 0 nothing was found; 1 something was (its seed, its journal and how to replay it are printed); 2 wrong usage.
`;

const OPTIONS = {
  seeds: { type: "string" },
  seed: { type: "string", default: "1" },
  rollouts: { type: "string", default: "100" },
  largest: { type: "string", default: "1000" },
  tell: { type: "boolean", default: false },
  "keep-going": { type: "boolean", default: false },
  help: { type: "boolean", default: false },
} as const;

function given() {
  try {
    return parseArgs({ options: OPTIONS }).values;
  } catch (error) {
    process.stderr.write(`sim: ${(error as Error).message}; see npm run sim -- --help\n`);
    process.exit(2);
  }
}

const values = given();
if (values.help) {
  process.stdout.write(HELP);
  process.exit(0);
}
const first = Number(values.seed);
const seeds = Number(values.seeds ?? "1");
const rollouts = Number(values.rollouts);
const largest = Number(values.largest);
if (![first, seeds, rollouts, largest].every((n) => Number.isSafeInteger(n) && n > 0)) {
  process.stderr.write("--seed, --seeds, --rollouts and --largest take whole numbers from 1 on\n");
  process.exit(2);
}

const say = (line: string): void => void process.stdout.write(`${line}\n`);
const began = performance.now();
const outcomes = new Map<string, number>();
let [done, total, events, virtualMs, failed, toldAt] = [0, 0, 0, 0, 0, began];
for (let seed = first; seed < first + seeds; seed++) {
  const history = runCampaign({ seed, rollouts, largest, ...(values.tell ? { tell: say } : {}) });
  done += 1;
  total += history.rollouts;
  events += history.events;
  virtualMs += history.virtualMs;
  for (const [name, count] of Object.entries(history.outcomes)) outcomes.set(name, (outcomes.get(name) ?? 0) + count);
  if (history.found.length > 0) {
    failed += 1;
    say(`seed ${seed}, round ${history.round}, ${history.hosts} hosts:`);
    for (const line of history.found) say(line);
    say(`replay: node test/sim/main.ts --seed ${seed} --rollouts ${rollouts} --largest ${largest} --tell\n`);
    if (!values["keep-going"]) break;
  }
  if (performance.now() - toldAt > PROGRESS_MS) {
    toldAt = performance.now();
    say(`seed ${seed}: ${summary()}`);
  }
}
say(summary());
const kinds = [...new Set([...outcomes.keys()].map((name) => name.replace(/ [^ ]*$/, "")))].sort();
const ends = ["succeeded", "rolled-back", "failed", "superseded"];
say(["".padEnd(18), ...ends.map((end) => end.padStart(12))].join(""));
for (const kind of kinds) {
  say([kind.padEnd(18), ...ends.map((end) => String(outcomes.get(`${kind} ${end}`) ?? 0).padStart(12))].join(""));
}
process.exitCode = failed === 0 ? 0 : 1;

function summary(): string {
  const seconds = (performance.now() - began) / 1_000;
  const cpu = process.cpuUsage();
  const cpuMs = (cpu.user + cpu.system) / 1_000;
  const perRollout = total === 0 ? 0 : cpuMs / total;
  return (
    `${done} seeds, ${total} rollouts, ${failed} with findings, ${seconds.toFixed(1)} s ` +
    `(${perRollout.toFixed(1)} ms of CPU a rollout; ${(virtualMs / 3_600_000).toFixed(1)} h of virtual time, ${events} events)`
  );
}
