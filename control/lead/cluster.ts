/**
 * One of several controllers on NATS: keeps the way to NATS open, takes part in the lease, and has the desk that fits:
 * a term while it leads, a replica while it follows, none while NATS can't be reached. Changes of desk happen one after
 * the other; whoever asks in between waits for the next one, for a while.
 *
 *   NATS reached → replica ⇄ term        (lease won / lost, given back, fenced off; a replica that missed something is made anew)
 *
 * Errors  none thrown after the start: all trouble is told by `trouble`, /readyz and the log, and tried again for ever.
 */
import { status } from "@grpc/grpc-js";
import { natsNames } from "../../proto/contract/nats.ts";
import type { NatsOptions } from "../../proto/contract/nats.ts";
import { forbidden } from "../../proto/contract/nats-errors.ts";
import type { NatsLink } from "../../proto/contract/nats-link.ts";
import { Backoff } from "../../proto/kernel/backoff.ts";
import { sleep } from "../../proto/kernel/clock.ts";
import type { Timer } from "../../proto/kernel/clock.ts";
import type { Desk, Ground } from "../desk.ts";
import { Bridges } from "../fleet/nats/bridges.ts";
import { serveNatsSessions } from "../fleet/nats/sessions.ts";
import type { SessionOptions, SessionStream } from "../fleet/session.ts";
import { openReplica } from "../replica.ts";
import { Serial } from "../serial.ts";
import { Memory } from "../store/nats/memory.ts";
import { openNatsStore } from "../store/nats/open.ts";
import { StuckLeaders } from "../stuck-leader.ts";
import type { Store } from "../store/store.ts";
import { openTerm } from "../term.ts";
import type { OtherSessions } from "../term.ts";
import { answerForwarded, forwardOver } from "../api/forward.ts";
import { KvRegister } from "./kv-register.ts";
import { Lease } from "./lease.ts";

export interface ClusterOptions {
  readonly ground: Omit<Ground, "leader" | "troubles">;
  readonly nats: NatsOptions;
  /** proto/runtime/nats.ts; `told` hears why there is no connection yet. */
  openLink(told: (why: string) => void, signal: AbortSignal): Promise<NatsLink>;
  /** For people: it leads, or follows. */
  became(desk: Desk): void;
}

/** A desk that can't be opened is tried again. */
const RETRY = { baseMs: 250, maxMs: 5_000 };
/**
 * An end waits for so long, in all, for servers that do not answer. What is cut off by it is harmless: whoever leads next
 * raises the epoch before it loads, as after a kill.
 */
const STOP_MS = 4_000;

export class Cluster {
  readonly #o: ClusterOptions;
  readonly #ground: Ground;
  readonly #names;
  readonly #serial = new Serial();
  readonly #ending = new AbortController();
  readonly #backoff: Backoff;
  readonly #waiting = new Set<() => void>();
  #link: NatsLink | null = null;
  #bridges: Bridges | null = null;
  #lease: Lease | null = null;
  #desk: Desk | null = null;
  #store: Store | null = null;
  readonly #memory = new Memory();
  #stuck: StuckLeaders | undefined;
  /** It is to be made anew, whatever its role. */
  #stale = false;
  #unanswer: (() => void) | null = null;
  #again: Timer | null = null;
  #leader = "";
  #linkTrouble = "NATS has not answered yet";
  #leaseTrouble = "";
  #deskTrouble = "";

  constructor(options: ClusterOptions) {
    this.#o = options;
    this.#names = natsNames(options.nats.cluster);
    this.#backoff = new Backoff(RETRY, options.ground.random);
    this.#ground = { ...options.ground, leader: () => this.#leader, troubles: () => this.troubles() };
  }

  start(): void {
    void this.#begin();
  }

  get desk(): Desk | null {
    return this.#desk;
  }

  troubles(): readonly string[] {
    const link = this.#link === null ? this.#linkTrouble : this.#link.trouble;
    const desk = this.#desk?.notReady() ?? "";
    return [link, this.#leaseTrouble, this.#deskTrouble, desk].filter((why) => why !== "");
  }

  /** Resolves with a desk, or with null after so long without one. */
  async present(withinMs: number): Promise<Desk | null> {
    if (this.#desk !== null || this.#ending.signal.aborted) return this.#desk;
    await new Promise<void>((resolve) => {
      const timer = this.#ground.clock.after(withinMs, () => done());
      const done = (): void => {
        timer.cancel();
        this.#waiting.delete(done);
        resolve();
      };
      this.#waiting.add(done);
    });
    return this.#desk;
  }

  /** An agent's gRPC stream: carried over NATS, where whoever leads hears it. */
  session(stream: SessionStream): void {
    if (this.#bridges !== null) this.#bridges.serve(stream);
    else
      stream.emit("error", { code: status.UNAVAILABLE, details: this.troubles()[0] ?? "the controller is starting" });
  }

  async stop(reason: string): Promise<void> {
    this.#ending.abort();
    this.#again?.cancel();
    for (const waits of this.#waiting) waits();
    const { clock, log } = this.#ground;
    const over = new AbortController();
    const orderly = async (): Promise<void> => {
      // The desk first: whoever takes the lease then finds nothing under way here.
      await this.#serial.run(() => this.#close(reason));
      await this.#lease?.stop();
    };
    const done = orderly()
      .catch((error: unknown) => log.error({ err: error }, "what was under way did not end as it should"))
      .finally(() => over.abort());
    await Promise.race([done, sleep(clock, STOP_MS, over.signal)]);
    if (!over.signal.aborted) log.warn({}, "NATS does not answer: what was under way is left as it is");
    // Another leads by now, or soon: agents that come to it by way of other controllers are welcomed there.
    this.#bridges?.stop(reason);
    await this.#link?.close();
  }

  async #begin(): Promise<void> {
    const { clock, random, log, id } = this.#ground;
    try {
      this.#link = await this.#o.openLink((why) => (this.#linkTrouble = why), this.#ending.signal);
    } catch {
      return; // stopped before there was an answer
    }
    this.#bridges = new Bridges({ link: this.#link, names: this.#names, clock, random, log });
    this.#lease = new Lease({
      ...{ clock, random },
      register: new KvRegister(this.#link, this.#names.leadBucket, this.#ground),
      me: { id, incarnation: incarnation(random) },
      news: {
        won: () => this.#turn(),
        lost: (why) => {
          log.warn({}, `leads no more: ${why}`);
          this.#turn();
        },
        leader: (leader) => (this.#leader = leader),
        trouble: (why) => {
          if (why !== "" && why !== this.#leaseTrouble) log.warn({}, why);
          this.#leaseTrouble = why;
        },
      },
    });
    this.#lease.start();
    this.#turn();
  }

  #turn(): void {
    this.#again?.cancel();
    this.#again = null;
    this.#serial
      .run(() => this.#settle())
      .catch((error: unknown) => {
        this.#ground.log.error({ err: error }, "a change of desk failed by a defect; it is tried again");
        this.#again ??= this.#ground.clock.after(this.#backoff.next(), () => this.#turn());
      });
  }

  async #settle(): Promise<void> {
    const { clock, log } = this.#ground;
    if (this.#ending.signal.aborted || this.#link === null) return;
    const role = this.#lease?.leading === true ? "leader" : "follower";
    if (this.#desk?.role === role && !this.#stale) return;
    await this.#close(role === "leader" ? "it leads now" : "it follows now");
    this.#stale = false;
    try {
      const desk = await this.#open(role, this.#link);
      this.#desk = desk;
      this.#deskTrouble = "";
      this.#backoff.reset();
      if (role === "leader") {
        this.#unanswer = answerForwarded(this.#link, this.#names.operate, desk);
      }
      for (const done of this.#waiting) done();
      this.#o.became(desk);
    } catch (error) {
      const { message: why, cause } = error as Error;
      // Where in the code it was refused is nothing to an operator.
      const fields = forbidden(cause) ? {} : { err: error };
      if (why !== this.#deskTrouble) log.warn(fields, `can't ${role === "leader" ? "lead" : "follow"}: ${why}`);
      this.#deskTrouble = why;
      await this.#closeStore();
      if (role === "leader") await this.#lease?.resign(why);
      this.#again = clock.after(this.#backoff.next(), () => this.#turn());
    }
  }

  async #open(role: "leader" | "follower", link: NatsLink): Promise<Desk> {
    const { clock, log } = this.#ground;
    const ground = this.#ground;
    const stuck = (this.#stuck ??= new StuckLeaders({ link, clock, log }));
    const store = await openNatsStore({ link, names: this.#names, clock, log, memory: this.#memory, stuck });
    this.#store = store;
    const sessions = (leading: boolean) => (session: SessionOptions & { readonly epoch: () => number }) =>
      this.#sessions(link, leading, session);
    if (role === "leader") {
      const fenced = (why: string): void => {
        this.#stale = true;
        void this.#lease?.resign(why).then(() => this.#turn());
      };
      return openTerm({ ground, store, damaged: null, sessions: sessions(true), fenced });
    }
    const gap = (why: string): void => {
      log.info({}, `following anew: ${why}`);
      this.#stale = true;
      this.#again ??= clock.after(this.#backoff.next(), () => this.#turn());
    };
    const forward = forwardOver(link, this.#names.operate, clock);
    return openReplica({ ground, store, forward, sessions: sessions(false), gap });
  }

  #sessions(
    link: NatsLink,
    leading: boolean,
    session: SessionOptions & { readonly epoch: () => number },
  ): OtherSessions {
    return serveNatsSessions({ ...session, link, names: this.#names, leading, controller: this.#ground.id });
  }

  async #close(reason: string): Promise<void> {
    this.#unanswer?.();
    this.#unanswer = null;
    const desk = this.#desk;
    this.#desk = null;
    await desk?.stop(reason);
    await this.#closeStore();
  }

  async #closeStore(): Promise<void> {
    const store = this.#store;
    this.#store = null;
    await store?.close();
  }
}

const incarnation = (random: Ground["random"]): string =>
  Array.from({ length: 4 }, () => Math.floor(random.next() * 2 ** 32).toString(36)).join("-");
