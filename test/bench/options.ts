/** What `npm run bench` is asked to do. Errors: a bad option is one line and exit 2. */
import { parseArgs } from "node:util";

export const PEERS = ["baton", "haproxy", "nginx"] as const;
export type PeerName = (typeof PEERS)[number];

export interface Options {
  readonly peers: readonly PeerName[];
  readonly rounds: number;
  readonly seconds: number;
  readonly warmupSeconds: number;
  readonly clients: number;
  readonly head: "varied" | "small";
  /** Distinct request heads. */
  readonly variants: number;
  readonly seed: number;
  /** Requests a second offered over all clients; null: as fast as answers come. */
  readonly rate: number | null;
  /** Size of each answer's body when bulk transfer is measured, else null. */
  readonly bulkMiB: number | null;
  readonly profile: boolean;
  readonly json: string | null;
}

export const USAGE = `usage: npm run bench -- [options]
  --only LIST       peers to measure, of ${PEERS.join(",")}     (all)
  --rounds N        rounds, peers taken in turn            (5)
  --seconds N       length of one measurement              (5)
  --warmup N        seconds before the first round, a peer (3)
  --clients N       keep-alive connections                 (64)
  --head KIND       varied (~750 bytes) | small (~40)      (varied)
  --variants N      distinct heads                         (512)
  --seed N          of the heads                           (1)
  --rate N          offer N requests/s; without: saturate
  --bulk MIB        answers of MIB MiB; prints GB/s and CPU per GB
  --profile         then Baton's ten hottest functions
  --json FILE       every sample, for later comparison`;

export class UsageError extends Error {}

export function parseOptions(args: readonly string[]): Options {
  const { values } = read(args);
  const count = (name: string, text: string | undefined, fallback: number): number => {
    const value = text === undefined ? fallback : Number(text);
    if (!Number.isInteger(value) || value < 1) throw new UsageError(`--${name} must be a whole number above 0`);
    return value;
  };
  const head = values.head ?? "varied";
  if (head !== "varied" && head !== "small") throw new UsageError("--head must be varied or small");
  return {
    peers: peers(values.only),
    rounds: count("rounds", values.rounds, 5),
    seconds: count("seconds", values.seconds, 5),
    warmupSeconds: count("warmup", values.warmup, 3),
    clients: count("clients", values.clients, values.bulk === undefined ? 64 : 8),
    head,
    variants: count("variants", values.variants, 512),
    seed: count("seed", values.seed, 1),
    rate: values.rate === undefined ? null : count("rate", values.rate, 1),
    bulkMiB: values.bulk === undefined ? null : count("bulk", values.bulk, 1),
    profile: values.profile ?? false,
    json: values.json ?? null,
  };
}

function read(args: readonly string[]) {
  const text = { type: "string" } as const;
  try {
    return parseArgs({
      args: [...args],
      options: {
        only: text,
        rounds: text,
        seconds: text,
        warmup: text,
        clients: text,
        head: text,
        variants: text,
        seed: text,
        rate: text,
        bulk: text,
        profile: { type: "boolean" },
        json: text,
      },
    });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

function peers(only: string | undefined): readonly PeerName[] {
  if (only === undefined) return PEERS;
  const asked = only.split(",");
  const unknown = asked.find((name) => !PEERS.some((peer) => peer === name));
  if (unknown !== undefined) throw new UsageError(`--only: "${unknown}" is none of ${PEERS.join(", ")}`);
  return PEERS.filter((peer) => asked.includes(peer));
}
