/**
 * `npm run chaos`: random faults against real processes while rollouts go on. See options.ts for the words, run.ts for what
 * happens in what order, faults.ts for what may befall whom.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { integer } from "../../proto/kernel/random.ts";
import { systemRandom } from "../../proto/runtime/system-clock.ts";
import { plain } from "./journal.ts";
import { HELP, readOptions } from "./options.ts";
import type { ChaosOptions } from "./options.ts";
import { Run, scheduleOf } from "./run.ts";
import { summary } from "./table.ts";

async function main(): Promise<number> {
  const usage = readOptions(process.argv.slice(2), integer(systemRandom, 1_000_000));
  if (usage.kind === "help") {
    process.stdout.write(HELP);
    return 0;
  }
  if (usage.kind === "wrong") {
    process.stderr.write(`chaos: ${usage.why}; see npm run chaos -- --help\n`);
    return 2;
  }
  const { options } = usage;
  if (options.plan) {
    for (const episode of scheduleOf(options)) process.stdout.write(`${JSON.stringify(episode)}\n`);
    return 0;
  }
  return await play(options);
}

async function play(options: ChaosOptions): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), "baton-chaos-"));
  const say = (line: string): void => void process.stdout.write(`${new Date().toISOString().slice(11, 19)} ${line}\n`);
  say(`seed ${String(options.seed)}, ${options.topology}; logs, schedule and ledgers in ${folder}`);
  const interrupted = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const) process.on(name, () => interrupted.abort());
  const outcome = await new Run(options, folder, say, interrupted.signal).play();
  writeFileSync(join(folder, "outcome.json"), JSON.stringify(outcome, plain, 2));
  process.stdout.write(`${summary(outcome)}\n`);
  const failed = outcome.wrong.length > 0;
  for (const sentence of outcome.wrong) say(`WRONG: ${sentence}`);
  if (failed) say(`kept in ${folder}; again: ${again(options, outcome.episodes.at(-1)?.number)}`);
  else if (options.keep) say(`kept in ${folder}`);
  else rmSync(folder, { recursive: true, force: true });
  return failed || interrupted.signal.aborted ? 1 : 0;
}

function again(options: ChaosOptions, episode: number | undefined): string {
  const { seed, minutes, topology, only, leaveOut, commands, rate } = options;
  const words = ["npm run chaos --", `--seed ${String(seed)} --minutes ${String(minutes)} --topology ${topology}`];
  if (only.length > 0) words.push(`--only ${only.join(",")}`);
  if (leaveOut.length > 0) words.push(`--leave-out ${leaveOut.join(",")}`);
  if (!commands) words.push("--no-commands");
  if (rate !== 100) words.push(`--rate ${String(rate)}`);
  const alone = episode === undefined ? "" : ` (its last episode alone: --episode ${String(episode)})`;
  return words.join(" ") + alone;
}

process.exit(await main());
