/**
 * What each version of the demo app does, in one table, and the words that say it. A name that is not in the table is a
 * good version, so that `v7` or a git sha can be rolled out too; BEHAVIOUR in the environment overrides the table.
 *
 *   never-ready               /healthz answers 503 for ever, and says why
 *   crash-at-start            exits with 3 before it listens
 *   crash-after=5s            exits with 3 so long after it began to listen
 *   crash-after-requests=20   exits with 3 as the twentieth app request arrives, with whatever it has in its hands
 *   errors=20%                this share of app requests is answered with 500, evenly spread
 *   delay=800ms               every answer of the app comes so much later
 *   slow=5%:400ms             this share of them does
 *   max-rate=10               more app requests than this in a second are answered with 503
 *   max-in-flight=4           more than this at once are
 *   errors-for=x-preview      requests with this header are answered with 500
 *
 * The health path answers well all the while, but for never-ready. Several words are parted by blanks.
 *
 * Errors  UnknownBehaviour: a word that is none of these, or a figure that is none.
 */
import { parseDuration } from "../../../proto/contract/units.ts";

export interface Behaviour {
  readonly ready: boolean;
  readonly crashAtStart: boolean;
  /** null: never. */
  readonly crashAfterMs: number | null;
  readonly crashAfterRequests: number | null;
  /** 0..1. */
  readonly errorShare: number;
  /** Before every answer of the app. */
  readonly delayMs: number;
  /** Before this share of them, on top. */
  readonly slowShare: number;
  readonly slowMs: number;
  /** Infinity: none is too many. */
  readonly maxPerSecond: number;
  readonly maxInFlight: number;
  /** A header's name in lower case; "": none. */
  readonly errorsFor: string;
}

export const GOOD: Behaviour = {
  ready: true,
  crashAtStart: false,
  crashAfterMs: null,
  crashAfterRequests: null,
  errorShare: 0,
  delayMs: 0,
  slowShare: 0,
  slowMs: 0,
  maxPerSecond: Infinity,
  maxInFlight: Infinity,
  errorsFor: "",
};

const VERSIONS: ReadonlyMap<string, string> = new Map([
  ["v3", "never-ready"],
  ["v3b", "crash-after=5s"],
  ["v3c", "errors=100%"],
  ["v3d", "delay=800ms"],
]);

export class UnknownBehaviour extends Error {}

/** `said` in place of what the version's name says, when it is given. */
export function behaviourOf(version: string, said?: string): Behaviour {
  const words = (said ?? VERSIONS.get(version) ?? "").split(/\s+/).filter((word) => word !== "");
  return words.reduce((behaviour, word) => ({ ...behaviour, ...part(word) }), GOOD);
}

function part(word: string): Partial<Behaviour> {
  const [name = "", value = ""] = word.split("=", 2);
  switch (name) {
    case "never-ready":
      return { ready: false };
    case "crash-at-start":
      return { crashAtStart: true };
    case "crash-after":
      return { crashAfterMs: time(word, value) };
    case "crash-after-requests":
      return { crashAfterRequests: count(word, value) };
    case "errors":
      return { errorShare: share(word, value) };
    case "delay":
      return { delayMs: time(word, value) };
    case "slow": {
      const [some = "", ms = ""] = value.split(":", 2);
      return { slowShare: share(word, some), slowMs: time(word, ms) };
    }
    case "max-rate":
      return { maxPerSecond: count(word, value) };
    case "max-in-flight":
      return { maxInFlight: count(word, value) };
    case "errors-for":
      if (!/^[a-z0-9-]+$/i.test(value)) throw unknown(word, "a header's name");
      return { errorsFor: value.toLowerCase() };
    default:
      throw unknown(word, "one of the behaviours in behaviour.ts");
  }
}

function time(word: string, text: string): number {
  const ms = parseDuration(text);
  if (ms === undefined) throw unknown(word, "a time such as 400ms or 5s");
  return ms;
}

function share(word: string, text: string): number {
  const percent = /^(\d+(?:\.\d+)?)%$/.exec(text)?.[1];
  if (percent === undefined || Number(percent) > 100) throw unknown(word, "a share such as 20%");
  return Number(percent) / 100;
}

function count(word: string, text: string): number {
  if (!/^[1-9]\d*$/.test(text)) throw unknown(word, "a count above 0");
  return Number(text);
}

const unknown = (word: string, wanted: string): UnknownBehaviour =>
  new UnknownBehaviour(`BEHAVIOUR: "${word}" is not ${wanted}`);

/** What v3 prints while it is not ready: what an operator should find in `rollout status`. */
export const NOT_READY_LINES = [
  "database: connecting to 127.0.0.1:5432",
  "database: ECONNREFUSED 127.0.0.1:5432",
  "not ready: migration 0042_orders cannot be applied without a database",
] as const;

/** What v3b leaves on stderr as it dies. */
export const CRASH_LINES = [
  "TypeError: Cannot read properties of undefined (reading 'price')",
  "    at OrderCache.refresh (order-cache.ts:87:31)",
  "    at Scheduler.tick (scheduler.ts:24:10)",
  "fatal: cache refresh failed, exiting with 3",
] as const;
