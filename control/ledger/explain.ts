/**
 * Which losses are accounted for by something that was seen to happen. A loss waits `GRACE_MS` for its explanation,
 * because two agents' reports of one event arrive at different moments; what nothing explains by then is unexplained,
 * and halts its rollout (I6).
 *
 * What explains what (the host is where it was counted, or, at a gateway, the endpoint it was counted for; "" there
 * stands for every host):
 *   worker_killed                                     a worker of that very agent died
 *   connect_failed, upstream_reset, response_cut,     an instance of the service ended there unasked, or left its probes
 *   tunnel_cut, upstream_protocol, no_instance        without an answer; at a gateway also: a worker died there, its agent
 *                                                     started anew, or it went away
 *   no_instance                                       nothing of the service was ever sent to an instance there
 *   the rest                                          nothing: they are Baton's doing, or a limit that was set wrong
 * An instance that ended because it was told to explains nothing: a request lost to that was cut by Baton.
 *
 * Time    the controller's own monotonic clock at the arrival of the news; agents' clocks are never compared.
 */
import type { LossCause } from "../../proto/contract/report.ts";
import type { Loss, Seen } from "./types.ts";

export const GRACE_MS = 3_000;
/** How long before the loss its reason may have been seen. */
export const WINDOW_MS = 2_000;
/**
 * A worker that hangs for a while learns only after that what was cut meanwhile, and its core, which does not hang, has
 * reported all along.
 */
const HANG_MS = 10_000;
/**
 * A loss happened between its host's last report and this one. These may lie seconds apart (its core was started again, or
 * nobody led): then that whole while counts, as far back as this.
 */
export const LATE_MS = 15_000;

export interface Judged {
  readonly loss: Loss;
  readonly explanation: string;
}

interface Waiting {
  readonly loss: Loss;
  readonly at: number;
  /** Not before then. */
  readonly since: number;
}

const BROKEN: readonly LossCause[] = [
  "connect_failed",
  "upstream_reset",
  "response_cut",
  "tunnel_cut",
  "upstream_protocol",
  "no_instance",
];

/** What was under way when the other end went. */
const CUT: readonly LossCause[] = ["upstream_reset", "response_cut", "tunnel_cut"];

export class Explainer {
  #seen: (Seen & { readonly at: number })[] = [];
  #waiting: Waiting[] = [];

  see(seen: Seen, at: number): void {
    // What goes on (a host without an instance since a crash) is seen again and again: keep the newest.
    this.#seen = this.#seen.filter((s) => s.message !== seen.message || s.host !== seen.host || s.kind !== seen.kind);
    this.#seen.push({ ...seen, at });
  }

  /** `since`: when its host was last heard, before `at`. */
  lose(loss: Loss, at: number, since = at): void {
    this.#waiting.push({ loss, at, since: Math.max(since, at - LATE_MS) });
  }

  pending(service: string): readonly Loss[] {
    return this.#waiting.filter(({ loss }) => loss.service === service).map(({ loss }) => loss);
  }

  /**
   * Judges what can be judged now. `silent` says whether nothing is heard of a host at the moment: a loss towards it
   * waits until it is back or its lease has run out, since only then is it known what happened.
   */
  settle(now: number, silent: (host: string) => boolean): readonly Judged[] {
    const judged: Judged[] = [];
    const waiting: Waiting[] = [];
    for (const entry of this.#waiting) {
      const from = entry.since - (CUT.includes(entry.loss.cause) ? HANG_MS : WINDOW_MS);
      const all = this.#seen.filter((seen) => seen.at >= from && explains(seen, entry.loss));
      // A silence may go with a death; that one says more.
      const found = all.find(({ kind }) => kind !== "instance-silent") ?? all[0];
      if (entry.loss.tooEarly === true) judged.push({ loss: entry.loss, explanation: early(entry.loss) });
      else if (found !== undefined) judged.push({ loss: entry.loss, explanation: found.message });
      else if (entry.loss.role === "gateway" && silent(entry.loss.endpoint)) waiting.push({ ...entry, at: now });
      else if (now - entry.at < GRACE_MS) waiting.push(entry);
      else judged.push({ loss: entry.loss, explanation: "" });
    }
    this.#waiting = waiting;
    this.#seen = this.#seen.filter((seen) => now - seen.at < LATE_MS + HANG_MS + GRACE_MS);
    return judged;
  }
}

const early = ({ service, host }: Loss): string => `${service} had not been ready at ${host} for the first time yet`;

function explains(seen: Seen, loss: Loss): boolean {
  if (loss.cause === "worker_killed") return seen.kind === "worker-died" && seen.host === loss.host;
  if (!BROKEN.includes(loss.cause)) return false;
  if (seen.service !== "" && seen.service !== loss.service) return false;
  if (loss.role === "host") return seen.kind.startsWith("instance-") && seen.host === loss.host;
  return loss.endpoint === "" || loss.endpoint === seen.host;
}
