/**
 * Every strategy on a real cluster, scenario after scenario, and a table of what became of it: `USAGE`.
 */
import { parseArgs } from "node:util";
import { STRATEGIES } from "./documents.ts";
import type { StrategyName } from "./documents.ts";
import { scenariosOf } from "./matrix.ts";
import { Rig } from "./rig.ts";
import { playScenario } from "./scene.ts";
import type { Row, Scenario } from "./scene.ts";
import { header, line } from "./table.ts";

const USAGE = `Every strategy on a real cluster, scenario after scenario, and a table of what became of it.

  npm run scenarios -- [--nats] [--only REGEX] [--seed N] [--list]

  --nats        on two controllers and three NATS servers, in place of one controller on SQLite
  --only REGEX  scenarios whose "STRATEGY: NAME" matches
  --seed N      of the loss client's chance  (1)
  --list        names them, runs none
  --help

Exit: 0 every scenario ended as it should, and nothing was lost but what a crash had in its hands; 1 not so; 2 wrong usage.
`;
const OPTIONS = {
  options: {
    only: { type: "string", default: "" },
    seed: { type: "string", default: "1" },
    list: { type: "boolean", default: false },
    nats: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
} as const;

const values = parsed();
if (values.help) {
  process.stdout.write(USAGE);
  process.exit(0);
}

function parsed(): ReturnType<typeof parseArgs<typeof OPTIONS>>["values"] {
  try {
    return parseArgs(OPTIONS).values;
  } catch (error) {
    process.stderr.write(`scenarios: ${(error as Error).message}; see npm run scenarios -- --help\n`);
    process.exit(2);
  }
}

/** 128 + SIGINT, as shells say it. */
const INTERRUPTED = 130;
const only = new RegExp(values.only, "i");
const seed = Number(values.seed);

const say = (text: string): void => void process.stdout.write(`${text}\n`);
const rows: Row[] = [];
let failed = 0;

if (!values.list) say(header());
for (const strategy of STRATEGIES) {
  const scenarios = scenariosOf(strategy).filter(({ name }) => only.test(`${strategy}: ${name}`));
  if (values.list) for (const { name } of scenarios) say(`${strategy}: ${name}`);
  else await playAll(strategy, scenarios);
}
if (!values.list) {
  const sum = (of: (row: Row) => number): string =>
    rows.reduce((total, row) => total + of(row), 0).toLocaleString("en");
  say(
    `${rows.length} as they should, ${failed} not; ${sum((row) => row.requests)} requests, lost: ${sum((row) => row.lostClient)} by the client, ${sum((row) => row.lostBaton)} by Baton, ${sum((row) => row.explained)} explained`,
  );
  process.exitCode = failed === 0 ? 0 : 1;
}

/** A scenario that failed may leave anything behind: the next one gets a cluster of its own. */
async function playAll(strategy: StrategyName, scenarios: readonly Scenario[]): Promise<void> {
  let rig: Promise<Rig> | undefined;
  const end = async (): Promise<void> => {
    // One that did not come up has ended itself.
    await (await rig?.catch(() => undefined))?.[Symbol.asyncDispose]();
    rig = undefined;
  };
  // The cluster's processes lead groups of their own: nobody else would end them.
  const interrupted = (): void => void end().finally(() => process.exit(INTERRUPTED));
  process.once("SIGINT", interrupted).once("SIGTERM", interrupted);
  try {
    for (const scenario of scenarios) {
      rig ??= Rig.start(strategy, values.nats);
      try {
        const row = await playScenario(await rig, scenario, seed);
        rows.push(row);
        say(line(row));
      } catch (error) {
        failed += 1;
        say(`FAILED  ${(error as Error).message}`);
        await end();
      }
    }
  } finally {
    process.off("SIGINT", interrupted).off("SIGTERM", interrupted);
    await end();
  }
}
