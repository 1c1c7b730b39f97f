/**
 * One instance on this host: carries out its life (life.ts) through its driver, has it probed, and tells what it is.
 *
 * Restarts  after a crash with jittered backoff, 0.5 s to 30 s, counted; the backoff begins anew after STEADY_MS in
 *           health. An app that died because its port was taken gets another port, at once.
 * Errors    none thrown: whatever goes wrong with an instance is its state and its reason.
 */
import type { InstanceReport, InstanceState } from "../../../proto/contract/report.ts";
import type { DrainSpec, HealthSpec } from "../../../proto/contract/spec/types.ts";
import { Backoff } from "../../../proto/kernel/backoff.ts";
import type { Millis, Timer } from "../../../proto/kernel/clock.ts";
import type { Adopted, Driver, RunRequest, RunState } from "../drivers/driver.ts";
import { saysPortTaken } from "../drivers/process.ts";
import type { CheckRequest } from "../probes/check.ts";
import { Health } from "../probes/health.ts";
import { isAlive, next } from "./life.ts";
import type { Life, LifeEffect, LifeEvent } from "./life.ts";
import type { InstanceMode, InstanceRecord, InstanceView } from "./record.ts";
import type { InstanceWorld } from "./world.ts";

const RESTART_BACKOFF = { baseMs: 500, maxMs: 30_000 };
const STEADY_MS = 30_000;
const PORT_TRIES = 5;

export interface Adoption {
  /** What its driver knows of its newest run. */
  readonly run: Adopted;
  /** The table that the workers have sends new requests to it. */
  readonly inService: boolean;
}

export class Instance {
  /** Wall clock, when it got into its reported state. */
  sinceMs: Millis;
  readonly #world: InstanceWorld;
  readonly #backoff: Backoff;
  #record: InstanceRecord;
  #life: Life;
  #health: Health | undefined;
  #timer: Timer | undefined;
  #reason = "";
  /** The driver's word on what it is at. */
  #note = "";
  #state: InstanceState = "starting";
  /** Of the process that ended last. */
  #wasReady = false;
  /** The last try began nothing. */
  #unbegun = false;
  #portTries = 0;
  #outputFrom = 0;

  constructor(world: InstanceWorld, record: InstanceRecord, adoption?: Adoption) {
    this.#world = world;
    this.#record = record;
    this.#backoff = new Backoff(RESTART_BACKOFF, world.random);
    this.sinceMs = world.clock.now();
    if (record.run.kind === "external") {
      this.#life = { kind: "external" };
      this.#watch(adoption?.inService === true);
    } else if (adoption === undefined || record.process === "") {
      this.#life = { kind: "waiting", until: world.clock.monotonic() };
      this.#dueAt(world.clock.monotonic());
    } else {
      this.#life = { kind: "launching" };
      this.#adopt(adoption);
    }
  }

  get id(): string {
    return this.#record.id;
  }

  get record(): InstanceRecord {
    return this.#record;
  }

  get gone(): boolean {
    return this.#life.kind === "gone";
  }

  view(): InstanceView {
    const { kind } = this.#life;
    return {
      ...this.#record,
      alive: isAlive(this.#life),
      ending: kind === "gone" || (this.#life.kind === "stopping" && !this.#life.again),
      ready: isAlive(this.#life) && this.#health?.ready === true,
      wasReady: isAlive(this.#life) && this.#health?.wasReady === true,
    };
  }

  setMode(mode: InstanceMode): void {
    if (mode !== this.#record.mode) this.#record = { ...this.#record, mode };
    // One that waits to be started again, or has not begun, has nothing to drain.
    if (mode === "absent" && this.#life.kind === "waiting") this.stop();
  }

  setPolicy(health: HealthSpec | null, drain: DrainSpec): void {
    const same = JSON.stringify(health) === JSON.stringify(this.#record.health);
    this.#record = { ...this.#record, health, drain };
    if (same || this.#health === undefined) return;
    const { ready } = this.#health;
    this.#health.stop();
    this.#watch(ready);
  }

  /** SIGTERM, then SIGKILL after `drain.killMs`. To be said when nothing is in flight on it, or its time is over. */
  stop(): void {
    if (this.#record.mode === "absent" && this.#reason === "") this.#reason = "stopped";
    this.#step({ kind: "stop", killMs: this.#record.drain.killMs });
  }

  /** R6: traffic to it failed. */
  suspect(): void {
    this.#health?.suspect();
  }

  /** News of one of its runs; what concerns an older one than the newest is cleared away. */
  news(run: RunState): void {
    if (run.id !== this.#record.process) {
      if (run.exit !== null || run.error !== null) this.#driver.forget(run.id);
      return;
    }
    if (run.exit === null && run.error === null) this.#up(run);
    else this.#ended(run);
  }

  note(run: string, words: string): void {
    if (run !== this.#record.process || words === this.#note) return;
    this.#note = words;
    this.#world.changed();
  }

  /** Lets go of timers and probes; the process is left alone. */
  close(): void {
    this.#timer?.cancel();
    this.#health?.stop();
  }

  report(inFlight: number, started: number, live: boolean): InstanceReport {
    const { id, service, revision, version, address, port, restarts, exit } = this.#record;
    const state = this.state(live);
    const healthy = state === "ready" || state === "serving";
    return {
      ...{ id, service, revision, version, state, address, port, restarts, exit, inFlight, started },
      sinceMs: this.sinceMs,
      healthySinceMs: this.view().ready ? (this.#health?.sinceMs ?? 0) : 0,
      wasReady: this.view().wasReady,
      pid: this.#life.kind === "running" || this.#life.kind === "stopping" ? this.#life.pid : 0,
      reason: this.#because(state),
      output: healthy || this.#record.run.kind === "external" ? [] : this.#world.output.tail(id),
    };
  }

  /** `live`: the table that every worker has sends new requests to it. */
  state(live: boolean): InstanceState {
    const state = this.#stateNow(live);
    if (state !== this.#state) {
      this.#state = state;
      this.sinceMs = this.#world.clock.now();
    }
    return state;
  }

  #stateNow(live: boolean): InstanceState {
    switch (this.#life.kind) {
      case "gone":
        return "stopped";
      case "stopping":
        return this.#life.again ? "failed" : "stopping";
      case "waiting":
        return this.#record.starts === 0 ? "starting" : "failed";
      case "launching":
        return "starting";
      case "external":
      case "running":
        if (this.#record.mode === "draining" || this.#record.mode === "absent") return "draining";
        if (this.#health?.ready !== true) return "starting";
        return live && this.#record.mode === "serving" ? "serving" : "ready";
    }
  }

  #because(state: InstanceState): string {
    const over = state === "failed" || state === "stopped" || state === "stopping";
    const why = over ? this.#reason : (this.#health?.why ?? this.#reason);
    return [why, this.#note].filter((words) => words !== "").join("; ");
  }

  #step(event: LifeEvent): void {
    const before = this.#life;
    const { life, effects } = next(before, event, this.#world.clock.monotonic());
    this.#life = life;
    if (life.kind === "running" && before.kind !== "running") this.#watch(false);
    if (!isAlive(life)) this.#unwatch();
    if (life.kind === "gone") this.#timer?.cancel();
    for (const effect of effects) this.#carryOut(effect);
    if (life !== before) this.#world.changed();
  }

  #carryOut(effect: LifeEffect): void {
    switch (effect.kind) {
      case "launch":
        return void this.#launch();
      case "kill": {
        this.#driver.kill(this.#record.process, effect.signal, this.#record.drain.killMs);
        return;
      }
      case "timer": {
        this.#dueAt(effect.at);
        return;
      }
    }
  }

  #dueAt(at: Millis): void {
    this.#timer?.cancel();
    const { clock } = this.#world;
    this.#timer = clock.after(Math.max(0, at - clock.monotonic()), () => this.#step({ kind: "due" }));
  }

  async #launch(): Promise<void> {
    const { run, id, starts } = this.#record;
    if (run.kind === "external") return;
    const port = await this.#driver.port(run, this.#record.port).catch(() => 0);
    if (this.#life.kind !== "launching") {
      this.#step({ kind: "ended", delay: 0 }); // stopped meanwhile: there is nothing to end
      return;
    }
    const process = `${id}.${String(starts + 1)}`;
    const restarts = this.#record.restarts + (starts === 0 || this.#unbegun ? 0 : 1);
    this.#record = { ...this.#record, port, process, starts: starts + 1, restarts, up: false };
    this.#outputFrom = this.#world.output.size(id);
    this.#wasReady = false;
    this.#world.remember(); // on record before it is done: the next core must find it
    this.#driver.launch(requestOf(this.#record));
  }

  #up({ pid, startedAtMs, address, port }: RunState): void {
    const moved = address !== this.#record.address || port !== this.#record.port;
    if (moved || !this.#record.up) {
      this.#record = { ...this.#record, address, port, up: true };
      this.#world.remember();
    }
    if (moved) this.#unwatch();
    this.#step({ kind: "up", pid, startedAtMs });
    if (moved && this.#life.kind === "running" && this.#health === undefined) this.#watch(false);
  }

  #ended(run: RunState): void {
    const { clock, output } = this.#world;
    const { exit, error } = run;
    this.#driver.forget(run.id);
    this.#note = "";
    this.#unbegun = run.begun === false;
    const ranMs = exit === null ? 0 : Math.max(0, exit.atMs - run.startedAtMs);
    const wasReady = this.#health?.wasReady ?? this.#wasReady;
    if (exit !== null) this.#record = { ...this.#record, exit: { code: exit.code, signal: exit.signal } };
    if (this.#life.kind === "stopping" && !this.#life.again) {
      this.#step({ kind: "ended", delay: 0 });
      return;
    }
    if (this.#life.kind !== "stopping") this.#reason = error ?? exitWords(exit, ranMs);
    if (this.#record.mode === "absent" || this.#world.stopping()) {
      this.#life = { kind: "stopping", pid: run.pid, killAt: clock.monotonic(), killed: true, again: false };
      this.#step({ kind: "ended", delay: 0 });
      return;
    }
    if (wasReady && ranMs >= STEADY_MS) this.#backoff.reset();
    let delay = this.#backoff.next();
    const said = [...output.tail(this.id, this.#outputFrom), error ?? ""];
    if (!wasReady && this.#portTries < PORT_TRIES && saysPortTaken(said)) {
      this.#portTries += 1;
      this.#record = { ...this.#record, port: 0 };
      this.#reason = `port ${String(run.port)} was taken by another program`;
      delay = 0;
    } else if (wasReady) this.#portTries = 0;
    const { id, service, version } = this.#record;
    this.#world.exited(service, `${id} (${version}) ${this.#reason}; started again in ${(delay / 1_000).toFixed(1)} s`);
    this.#step({ kind: "ended", delay });
  }

  #adopt({ run, inService }: Adoption): void {
    if (run === undefined) {
      // On record, but its driver never heard of it: the core before died between the two.
      this.#step({ kind: "ended", delay: 0 });
      return;
    }
    if (run === "coming") return;
    if (run.exit !== null || run.error !== null) {
      this.#ended(run);
      return;
    }
    this.#life = { kind: "running", pid: run.pid, startedAtMs: run.startedAtMs };
    this.#watch(inService);
  }

  get #driver(): Driver {
    return this.#world.driver(this.#record.run);
  }

  #watch(assumeReady: boolean): void {
    const { clock, random } = this.#world;
    const { address, port, health, run } = this.#record;
    const check = (asked: CheckRequest) =>
      asked.kind === "container"
        ? Promise.resolve(this.#driver.health(this.#record.process))
        : this.#world.check(asked);
    this.#health = new Health({
      ...{ clock, random, check, address, port, health, assumeReady },
      external: run.kind === "external",
      changed: () => this.#healthChanged(),
      dead: (why) => this.#dead(why),
    });
  }

  #healthChanged(): void {
    if (this.#health?.ready === true) this.#reason = "";
    this.#world.changed();
  }

  #unwatch(): void {
    this.#wasReady = this.#health?.wasReady ?? this.#wasReady;
    this.#health?.stop();
    this.#health = undefined;
  }

  #dead(why: string): void {
    if (this.#record.run.kind === "external") return; // its readiness speaks for it; it is not ours to restart
    this.#reason = why;
    this.#world.exited(this.#record.service, `${this.id} (${this.#record.version}) failed its ${why}; restarting it`);
    this.#step({ kind: "restart", killMs: this.#record.drain.killMs });
  }
}

export const requestOf = ({ process, id, ...asked }: InstanceRecord): RunRequest => ({
  ...{ id: process, instance: id },
  ...{ service: asked.service, revision: asked.revision, version: asked.version, run: asked.run, port: asked.port },
});

function exitWords(exit: RunState["exit"], ranMs: Millis): string {
  const after = `after ${(ranMs / 1_000).toFixed(1)} s`;
  if (exit === null) return `ended ${after}`;
  const how = exit.signal === null ? `exited with ${String(exit.code)} ${after}` : `killed by ${exit.signal} ${after}`;
  return exit.note === undefined ? how : `${how}: ${exit.note}`;
}
