/**
 * Stands in for an agent's listeners while its container is replaced by another one. The pod lives in the network
 * namespace that the two share, and does three things, each when the agent asks for it:
 *
 *   hold      it listens beside the agent (SO_REUSEPORT), accepts nothing, and says so. When the agent then closes its
 *             listeners the kernel moves their queues here (net.ipv4.tcp_migrate_req), and what connects, waits (R4)
 *   release   the next agent serves: the pod closes, and what waits moves to that agent
 *   give up   no agent came in time: what waits, and comes, is answered 503 with `sent=0`, with which a gateway sends
 *             it elsewhere; nobody hangs. `release` ends this too
 *
 * Words   one JSON line a connection, `{"type":"hold","addresses":[{"address","port"}]}` or `{"type":"release"}`, is
 *         answered by one: `{"errors":[…]}`, a sentence for each address that is not held.
 * Errors  what is not understood is answered `{"errors":["not understood"]}`. Nothing that is said ends the pod.
 */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { createServer } from "node:net";
import type { Server, Socket } from "node:net";
import type { Clock, Millis, Timer } from "../../../proto/kernel/clock.ts";
import type { Log } from "../../../proto/kernel/log.ts";
import { entry } from "../child.ts";
import { keyOf, Listeners } from "../listeners.ts";
import { messageOf } from "../log.ts";
import { readFromKeeper } from "./link.ts";
import type { Held } from "./link.ts";

/** A request's line, and how long its sender may take over it. */
const LINE_MOST = 256 << 10;
const SPEAK_MS = 5_000;

export class Pod {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #giveUpMs: Millis;
  readonly #listeners = new Listeners("shared");
  #giveUp: Timer | null = null;
  #refusing: ChildProcess | null = null;
  /** One after another: a hold and a release must not cross. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(giveUpMs: Millis, clock: Clock, log: Log) {
    this.#giveUpMs = giveUpMs;
    this.#clock = clock;
    this.#log = log;
  }

  /** Answers on the Unix socket; rejects when that can't be had. */
  async serve(path: string): Promise<Server> {
    const server = createServer((socket) => this.#hear(socket));
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(path, resolve);
    });
    server.on("error", (error) => this.#log.error({ err: error }, "pod socket"));
    return server;
  }

  #hear(socket: Socket): void {
    let line = "";
    const answer = (held: Held): void => void socket.end(`${JSON.stringify(held)}\n`);
    const late = this.#clock.after(SPEAK_MS, () => socket.destroy());
    socket.on("error", () => socket.destroy());
    socket.on("close", () => late.cancel());
    socket.setEncoding("utf8").on("data", (text: string) => {
      line += text;
      if (line.length > LINE_MOST) socket.destroy();
      const end = line.indexOf("\n");
      if (end < 0) return;
      socket.removeAllListeners("data").resume();
      const asked = readFromKeeper(line.slice(0, end));
      late.cancel();
      if (asked === null) answer({ errors: ["not understood"] });
      else void this.#next(() => (asked.type === "hold" ? this.#hold(asked.addresses) : this.#release())).then(answer);
    });
  }

  #next(act: () => Promise<Held>): Promise<Held> {
    const done = this.#last.then(act).catch((error: unknown): Held => {
      this.#log.error({ err: error }, "pod");
      return { errors: [messageOf(error)] };
    });
    this.#last = done;
    return done;
  }

  async #hold(addresses: readonly { readonly address: string; readonly port: number }[]): Promise<Held> {
    await this.#release();
    const answers = await this.#listeners.bind(addresses.map((at) => ({ ...at, name: keyOf(at) })));
    const errors = answers.flatMap(({ error }) => error ?? []);
    this.#log.info({ addresses: addresses.map(keyOf), errors }, "the agent leaves: its listeners are held");
    this.#giveUp = this.#clock.after(this.#giveUpMs, () => this.#refuse());
    return { errors };
  }

  async #release(): Promise<Held> {
    this.#giveUp?.cancel();
    this.#giveUp = null;
    const refusing = this.#refusing;
    this.#refusing = null;
    if (refusing !== null && refusing.exitCode === null && refusing.signalCode === null) {
      const gone = new Promise((resolve) => refusing.once("exit", resolve));
      refusing.disconnect(); // it answers what it has and leaves
      await gone;
    }
    const held = this.#listeners.list();
    this.#listeners.close();
    if (held.length > 0) this.#log.info({ addresses: held.map(keyOf) }, "an agent serves: its listeners are let go");
    return { errors: [] };
  }

  #refuse(): void {
    this.#giveUp = null;
    const fds = this.#listeners.descriptors().map(({ fd }) => fd);
    if (fds.length === 0) return;
    this.#log.warn({ afterMs: this.#giveUpMs }, "no agent has come: what waits for one is answered 503");
    // A process of its own, because a descriptor is closed with the server that listens on it, and these are kept.
    const child = spawn(process.execPath, [entry("./pod/refusing"), String(fds.length)], {
      stdio: ["ignore", "inherit", "inherit", "ipc", ...fds],
    });
    child.on("error", (error) => this.#log.error({ err: error }, "what waits can't be answered"));
    this.#refusing = child;
  }
}
