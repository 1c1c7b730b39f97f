/** The command line of the loss client, read once into a complete record. */
import { parseArgs } from "node:util";
import type { Target } from "./connection.ts";
import { KINDS } from "./ledger.ts";
import type { Kind } from "./ledger.ts";
import { DEFAULT_MIX } from "./traffic.ts";
import type { Mix } from "./traffic.ts";

export const HELP = `Mixed traffic against one address, and a ledger of what became of it.

  npm run loss -- --target HOST:PORT [options]

  --target HOST:PORT    where the demo app, or what stands before it, listens   (127.0.0.1:8080)
  --rate N              arrivals a second, over the whole mix                   (300)
  --seconds N           how long; without it until SIGINT or SIGTERM
  --mix KIND=W,…        weights of ${KINDS.join(", ")};
                        what is not named gets none  (${show(DEFAULT_MIX)})
  --host NAME           the Host field                                          (the target)
  --idle-pause N        longest rest of a keep-alive connection, seconds        (7)
  --idle-share N        share of exchanges after which one rests, 0 to 1        (0.25)
  --timeout N           seconds without a byte after which something is lost    (20)
  --max-in-flight N     arrivals beyond it are not begun, and counted           (4 × rate, at least 500)
  --seed N              reproducible chance
  --rfc-retry           send idempotent requests again that met a closing connection; counted as retried, not lost
  --resend              say WebSocket messages again that crossed a close;      counted as retried, not lost
  --json                the ledger as JSON on stdout, instead of a table
  --progress json       a JSON line a second on stdout ({"type":"progress",…}), last {"type":"ledger",…},
                        the table for people in its "text"
  --help

Exit: 0 nothing lost, 1 something was lost or nothing proven, 2 wrong usage.
SIGINT or SIGTERM once: begins nothing more, finishes, prints the ledger. Twice: prints it as it stands.
`;

export interface LossOptions {
  readonly target: Target;
  readonly authority: string;
  readonly rate: number;
  /** null: until told to stop. */
  readonly seconds: number | null;
  readonly mix: Mix;
  readonly idlePauseMs: number;
  readonly idleShare: number;
  readonly timeoutMs: number;
  readonly maxInFlight: number;
  readonly seed: number | null;
  readonly rfcRetry: boolean;
  readonly resend: boolean;
  readonly json: boolean;
  readonly progress: boolean;
}

export type Usage =
  | { readonly kind: "run"; readonly options: LossOptions }
  | { readonly kind: "help" }
  | { readonly kind: "wrong"; readonly why: string };

/** Said by the readers below, caught by `readOptions`: nothing else throws it. */
class Wrong extends Error {}

export function readOptions(argv: readonly string[]): Usage {
  try {
    return read(argv);
  } catch (error) {
    const usage = error instanceof Wrong || (error instanceof TypeError && "code" in error);
    if (!usage) throw error;
    return { kind: "wrong", why: error.message };
  }
}

function read(argv: readonly string[]): Usage {
  const text = { type: "string" } as const;
  const flag = { type: "boolean", default: false } as const;
  const { values } = parseArgs({
    args: [...argv],
    options: {
      target: { ...text, default: "127.0.0.1:8080" },
      rate: { ...text, default: "300" },
      seconds: text,
      mix: text,
      host: text,
      "idle-pause": { ...text, default: "7" },
      "idle-share": { ...text, default: "0.25" },
      timeout: { ...text, default: "20" },
      "max-in-flight": text,
      seed: text,
      "rfc-retry": flag,
      resend: flag,
      json: flag,
      progress: text,
      help: flag,
    },
  });
  if (values.help) return { kind: "help" };
  if (values.progress !== undefined && values.progress !== "json") throw new Wrong("--progress knows only json");
  const rate = number("--rate", values.rate, 0.1, 20_000);
  const most = values["max-in-flight"];
  const options: LossOptions = {
    target: target(values.target),
    authority: values.host ?? values.target,
    rate,
    seconds: values.seconds === undefined ? null : number("--seconds", values.seconds, 0.1, 86_400),
    mix: values.mix === undefined ? DEFAULT_MIX : mix(values.mix),
    idlePauseMs: number("--idle-pause", values["idle-pause"], 0, 600) * 1_000,
    idleShare: number("--idle-share", values["idle-share"], 0, 1),
    timeoutMs: number("--timeout", values.timeout, 0.1, 600) * 1_000,
    maxInFlight: most === undefined ? Math.max(500, 4 * rate) : number("--max-in-flight", most, 1, 60_000),
    seed: values.seed === undefined ? null : number("--seed", values.seed, 0, 2 ** 32),
    rfcRetry: values["rfc-retry"],
    resend: values.resend,
    json: values.json,
    progress: values.progress === "json",
  };
  return { kind: "run", options };
}

function target(text: string): Target {
  const match = /^(?:\[([0-9a-fA-F:]+)\]|([^:]+)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || !(port > 0 && port < 65_536)) throw new Wrong(`--target must be HOST:PORT, not "${text}"`);
  return { host, port };
}

function number(name: string, text: string, least: number, most: number): number {
  const value = text.trim() === "" ? Number.NaN : Number(text);
  if (value >= least && value <= most) return value;
  throw new Wrong(`${name} must be a number from ${least} to ${most}, not "${text}"`);
}

function mix(text: string): Mix {
  const weights = Object.fromEntries(KINDS.map((kind) => [kind, 0])) as Record<Kind, number>;
  for (const part of text.split(",")) {
    const [name = "", weight = ""] = part.split("=");
    const kind = KINDS.find((known) => known === name.trim());
    if (kind === undefined) throw new Wrong(`--mix: no kind "${name}"; there are ${KINDS.join(", ")}`);
    weights[kind] = number(`--mix ${kind}`, weight, 0, 1e6);
  }
  if (Object.values(weights).every((weight) => weight === 0)) throw new Wrong("--mix: no weight is above 0");
  return weights;
}

function show(weights: Mix): string {
  return KINDS.map((kind) => `${kind}=${weights[kind]}`).join(",");
}
