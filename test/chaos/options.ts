/** The command line of the chaos run, read once into a complete record. */
import { parseArgs } from "node:util";
import { FAULT_KINDS } from "./faults.ts";
import type { FaultKind } from "./faults.ts";

export const TOPOLOGIES = ["embedded", "nats"] as const;
export type TopologyName = (typeof TOPOLOGIES)[number];

export const HELP = `Random faults against a real cluster on loopback while rollouts go on and traffic flows.

  npm run chaos -- --minutes N --seed S [options]

  --minutes N         begins no episode after so long                              (5)
  --seed N            all chance in the schedule                                   (drawn, and printed)
  --topology NAME     ${TOPOLOGIES.join(" or ")}: one controller on SQLite, or several on three NATS servers  (embedded)
  --only KIND,…       draws these kinds of faults alone: another schedule
  --leave-out KIND,…  the same schedule without these faults: to narrow down a failure
  --no-commands       without the operator's random commands
  --episode N         plays that episode alone
  --rate N            the client's arrivals a second                               (100)
  --keep              keeps the folder with logs and ledgers also when all is well
  --plan              prints the schedule, and plays nothing
  --help

Kinds: ${FAULT_KINDS.join(" ")}

Disks that fill up or stall need root; stepped clocks need libfaketime (installed from Debian as root). What can't be had
is left out, and said so at the start.

Exit: 0 no unexplained loss, no invariant broken, every rollout came to an end; 1 otherwise (the folder is kept, and the
command that plays it again is printed); 2 wrong usage.
`;

export interface ChaosOptions {
  readonly minutes: number;
  readonly seed: number;
  readonly topology: TopologyName;
  readonly only: readonly FaultKind[];
  readonly leaveOut: readonly FaultKind[];
  readonly commands: boolean;
  readonly episode: number | null;
  readonly rate: number;
  readonly keep: boolean;
  readonly plan: boolean;
}

export type Usage =
  | { readonly kind: "run"; readonly options: ChaosOptions }
  | { readonly kind: "help" }
  | { readonly kind: "wrong"; readonly why: string };

class Wrong extends Error {}

/** `drawn`: the seed when none is given. */
export function readOptions(argv: readonly string[], drawn: number): Usage {
  try {
    return read(argv, drawn);
  } catch (error) {
    const usage = error instanceof Wrong || (error instanceof TypeError && "code" in error);
    if (!usage) throw error;
    return { kind: "wrong", why: error.message };
  }
}

function read(argv: readonly string[], drawn: number): Usage {
  const text = { type: "string" } as const;
  const flag = { type: "boolean", default: false } as const;
  const { values } = parseArgs({
    args: [...argv],
    options: {
      ...{ minutes: { ...text, default: "5" }, seed: text, topology: { ...text, default: "embedded" } },
      ...{ only: text, "leave-out": text, "no-commands": flag, episode: text, rate: { ...text, default: "100" } },
      ...{ keep: flag, plan: flag, help: flag },
    },
  });
  if (values.help) return { kind: "help" };
  const topology = TOPOLOGIES.find((name) => name === values.topology);
  if (topology === undefined) throw new Wrong(`--topology ${values.topology} is none of ${TOPOLOGIES.join(", ")}`);
  const options: ChaosOptions = {
    minutes: number("--minutes", values.minutes, 0.1, 10_000),
    seed: values.seed === undefined ? drawn : number("--seed", values.seed, 0, 2 ** 32 - 1),
    topology,
    only: kinds("--only", values.only),
    leaveOut: kinds("--leave-out", values["leave-out"]),
    commands: !values["no-commands"],
    episode: values.episode === undefined ? null : number("--episode", values.episode, 1, 100_000),
    rate: number("--rate", values.rate, 1, 5_000),
    keep: values.keep,
    plan: values.plan,
  };
  return { kind: "run", options };
}

function number(name: string, text: string, least: number, most: number): number {
  const value = text.trim() === "" ? Number.NaN : Number(text);
  if (value >= least && value <= most) return value;
  throw new Wrong(`${name} must be a number from ${least} to ${most}, not "${text}"`);
}

function kinds(name: string, text: string | undefined): readonly FaultKind[] {
  return (text ?? "")
    .split(",")
    .filter((word) => word !== "")
    .map((word) => {
      const kind = FAULT_KINDS.find((known) => known === word.trim());
      if (kind === undefined) throw new Wrong(`${name}: no kind "${word}"; there are ${FAULT_KINDS.join(", ")}`);
      return kind;
    });
}
