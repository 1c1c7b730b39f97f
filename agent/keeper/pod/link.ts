/**
 * What the keeper says to the pod of its namespace (pod.ts), where there is one: hold my listeners, I leave;
 * and: I serve, let them go.
 *
 * Errors  none thrown: a pod that is not there, or is silent for `ANSWER_MS`, is a warning, and the agent goes on as one
 *         without a pod.
 */
import { connect } from "node:net";
import type { Clock } from "../../../proto/kernel/clock.ts";
import type { Log } from "../../../proto/kernel/log.ts";
import { messageOf } from "../log.ts";

export interface PodAddress {
  readonly address: string;
  readonly port: number;
}
export type ToPod = { readonly type: "hold"; readonly addresses: readonly PodAddress[] } | { readonly type: "release" };
export interface Held {
  readonly errors: readonly string[];
}

const ANSWER_MS = 3_000;
const ADDRESSES_MOST = 1_024;

export class PodLink {
  readonly #path: string | null;
  readonly #clock: Clock;
  readonly #log: Log;

  /** null: there is no pod. */
  constructor(path: string | null, clock: Clock, log: Log) {
    this.#path = path;
    this.#clock = clock;
    this.#log = log;
  }

  /** Resolves when the pod listens beside us, or won't. */
  hold(addresses: readonly PodAddress[]): Promise<void> {
    if (addresses.length === 0) return Promise.resolve();
    return this.#say({ type: "hold", addresses: addresses.map(({ address, port }) => ({ address, port })) });
  }

  release(): Promise<void> {
    return this.#say({ type: "release" });
  }

  async #say(words: ToPod): Promise<void> {
    if (this.#path === null) return;
    try {
      const { errors } = await this.#ask(this.#path, words);
      if (errors.length > 0) this.#log.warn({ pod: this.#path, errors }, `pod: ${words.type}`);
    } catch (error) {
      this.#log.warn({ pod: this.#path, why: messageOf(error) }, `pod: ${words.type} was not heard`);
    }
  }

  #ask(path: string, words: ToPod): Promise<Held> {
    return new Promise((resolve, reject) => {
      const socket = connect(path);
      const late = this.#clock.after(ANSWER_MS, () => socket.destroy(new Error("it does not answer")));
      let text = "";
      socket.setEncoding("utf8").on("data", (piece: string) => (text += piece));
      socket.on("error", reject);
      socket.on("close", () => {
        late.cancel();
        const held = readHeld(text);
        if (held === null) reject(new Error("it answered nothing that is understood"));
        else resolve(held);
      });
      socket.write(`${JSON.stringify(words)}\n`);
    });
  }
}

/** null: not understood. */
export function readFromKeeper(line: string): ToPod | null {
  const said = parsed(line);
  if (said?.["type"] === "release") return { type: "release" };
  const addresses: unknown = said?.["addresses"];
  if (said?.["type"] !== "hold" || !Array.isArray(addresses) || addresses.length > ADDRESSES_MOST) return null;
  return addresses.every(isAddress) ? { type: "hold", addresses } : null;
}

function readHeld(line: string): Held | null {
  const errors: unknown = parsed(line)?.["errors"];
  return Array.isArray(errors) && errors.every((one) => typeof one === "string") ? { errors } : null;
}

function parsed(line: string): Readonly<Record<string, unknown>> | null {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : null;
  } catch {
    return null;
  }
}

function isAddress(value: unknown): value is PodAddress {
  if (typeof value !== "object" || value === null || !("address" in value) || !("port" in value)) return false;
  const { address, port } = value;
  return typeof address === "string" && Number.isInteger(port) && Number(port) > 0 && Number(port) < 65_536;
}
