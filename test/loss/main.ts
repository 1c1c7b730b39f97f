/** The loss client as a program; see `--help`. */
import { seededRandom } from "../../proto/kernel/random.ts";
import { systemClock, systemRandom } from "../../proto/runtime/system-clock.ts";
import type { ClientLedger } from "./ledger.ts";
import { HELP, readOptions } from "./options.ts";
import type { LossOptions } from "./options.ts";
import { progressLine, table } from "./table.ts";
import { startTraffic } from "./traffic.ts";

const SECOND = 1_000;

const usage = readOptions(process.argv.slice(2));
if (usage.kind === "run") {
  await run(usage.options);
} else if (usage.kind === "help") {
  process.stdout.write(HELP);
} else {
  process.stderr.write(`${usage.why}\n(--help says what there is)\n`);
  process.exitCode = 2;
}

async function run(options: LossOptions): Promise<void> {
  const random = options.seed === null ? systemRandom : seededRandom(options.seed);
  const traffic = startTraffic({ ...options, clock: systemClock, random });

  let before: ClientLedger | undefined;
  const live = process.stderr.isTTY;
  const progress = systemClock.every(SECOND, () => {
    if (!options.progress && !live) return;
    const ledger = traffic.snapshot();
    if (options.progress) print({ type: "progress", ...brief(ledger) });
    if (live) process.stderr.write(`\r\x1b[K${progressLine(ledger, before)}`);
    before = ledger;
  });

  await new Promise<void>((stop) => {
    if (options.seconds !== null) systemClock.after(options.seconds * SECOND, stop);
    let asked = 0;
    const onSignal = (): void => {
      asked += 1;
      stop();
      if (asked === 1) return;
      finish(options, traffic.snapshot());
      process.exit(1);
    };
    process.on("SIGINT", onSignal);
    process.on("SIGTERM", onSignal);
  });
  const ledger = await traffic.stop();
  progress.cancel();
  if (live) process.stderr.write("\r\x1b[K");
  finish(options, ledger);
  // Spare timers, such as that of --seconds, must not hold the process.
  process.exit(ledger.clean ? 0 : 1);
}

function finish(options: LossOptions, ledger: ClientLedger): void {
  if (options.progress) print({ type: "ledger", text: table(ledger), ...ledger });
  else if (options.json) process.stdout.write(`${JSON.stringify(ledger, null, 2)}\n`);
  else {
    const { user, system } = process.cpuUsage();
    const share = (user + system) / 10_000 / process.uptime();
    process.stdout.write(`${table(ledger)}\n(this client used ${share.toFixed(0)} % of a core)\n`);
  }
}

/** The second's line: what changes from one to the next, without the tables. */
function brief(ledger: ClientLedger): object {
  const { seconds, achievedRate, inFlight, total, causes, versions, counters } = ledger;
  const { started, ok, drained, appErrors, lost, retried } = total;
  const counts = { started, ok, drained, appErrors, lost, retried };
  return { seconds, achievedRate, inFlight, ...counts, causes, versions, skipped: counters.skipped };
}

function print(line: object): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}
