/**
 * Measures what the analyses of active rollouts are waiting for from outside the controller: each due measurement once,
 * a few at a time, first come first served. A result is kept until the stored run has taken that number, so that a round
 * which failed and is tried again finds it again. Nothing is stored here: a new controller measures anew what was due.
 *
 *   waiting → running → taken
 *
 * A slot goes away, and what runs for it is stopped, as soon as no rollout asks for it any more. One that was taken and
 * that no round wanted for `STALE_MS` (the rollout stands still) says nothing of now, and is measured again.
 *
 * Units   milliseconds; `atMs` is when the answer came.
 * Cost    a rollout without outside metrics costs one look at its (short) list of analyses each round.
 */
import type { Clock, Millis } from "../../proto/kernel/clock.ts";
import type { Log } from "../../proto/kernel/log.ts";
import type { AnalysisRun, ExternalMeasurement } from "../model/analysis.ts";
import type { Rollout } from "../model/rollout.ts";
import type { DueMeasurement } from "../rollout/analysis/run.ts";
import type { Measure } from "./measure.ts";
import type { ExternalSource, Outcome } from "./source.ts";
import { failed } from "./source.ts";

/** One slow source holds up no other rollout's, and no controller starts a hundred programs at once. */
const AT_ONCE = 16;
const AT_ONCE_A_ROLLOUT = 4;
const STALE_MS = 60_000;

export interface RunnerOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly measure: Measure;
  /** What a run waits for from outside now (rollout/analysis/run.ts). */
  readonly due: (run: AnalysisRun, now: Millis) => readonly DueMeasurement[];
  readonly active: () => readonly Rollout[];
  /** A revision's label; "" when there is none. */
  readonly version: (service: string, revision: number) => string;
  /** Wall time as the rollouts' clocks count it. */
  readonly now: () => Millis;
  /** A result is there: the engine is to look. */
  readonly news: () => void;
}

interface Slot {
  readonly rollout: string;
  /** A run may begin anew under its old name, and count from 1 again. */
  readonly runStartedAtMs: Millis;
  readonly due: DueMeasurement;
  phase:
    | { readonly kind: "waiting" }
    | { readonly kind: "running"; readonly abort: AbortController }
    | { readonly kind: "taken"; readonly result: ExternalMeasurement; readonly sinceMs: Millis };
}

const NONE: readonly ExternalMeasurement[] = [];

export class AnalysisRunner {
  readonly #options: RunnerOptions;
  /** In the order in which they were first asked for. */
  readonly #slots = new Map<string, Slot>();
  readonly #running = new Set<Promise<void>>();
  #stopped = false;

  constructor(options: RunnerOptions) {
    this.#options = options;
  }

  /** After each round: what is stored now is what is asked for now. */
  look(): void {
    if (this.#stopped) return;
    const rollouts = new Map(this.#options.active().map((rollout) => [rollout.id, rollout]));
    const wanted = this.#wanted([...rollouts.values()]);
    for (const [key, slot] of this.#slots) {
      if (!wanted.has(key) || this.#stale(slot)) this.#drop(key, slot);
    }
    for (const [key, slot] of wanted) if (!this.#slots.has(key)) this.#slots.set(key, slot);
    this.#start(rollouts);
  }

  /** What is there for this very state of the rollout. */
  results(rollout: Rollout): readonly ExternalMeasurement[] {
    if (this.#slots.size === 0 || rollout.analyses.length === 0) return NONE;
    const results: ExternalMeasurement[] = [];
    for (const { phase, ...slot } of this.#slots.values()) {
      if (phase.kind !== "taken" || slot.rollout !== rollout.id) continue;
      const run = rollout.analyses.find(({ id }) => id === slot.due.run);
      if (run?.startedAtMs === slot.runStartedAtMs) results.push(phase.result);
    }
    return results;
  }

  /** Resolves when nothing runs any more. */
  async stop(): Promise<void> {
    this.#stopped = true;
    for (const [key, slot] of this.#slots) this.#drop(key, slot);
    await Promise.all(this.#running);
  }

  #wanted(rollouts: readonly Rollout[]): ReadonlyMap<string, Slot> {
    const { due, now } = this.#options;
    const wanted = new Map<string, Slot>();
    for (const { id: rollout, analyses } of rollouts) {
      for (const run of analyses) {
        if (run.phase !== "running") continue;
        for (const one of due(run, now())) {
          const key = JSON.stringify([rollout, run.id, run.startedAtMs, one.metric, one.number]);
          wanted.set(key, { rollout, runStartedAtMs: run.startedAtMs, due: one, phase: { kind: "waiting" } });
        }
      }
    }
    return wanted;
  }

  #stale({ phase }: Slot): boolean {
    return phase.kind === "taken" && this.#options.clock.monotonic() - phase.sinceMs > STALE_MS;
  }

  #drop(key: string, slot: Slot): void {
    this.#slots.delete(key);
    if (slot.phase.kind === "running") slot.phase.abort.abort();
  }

  #start(rollouts: ReadonlyMap<string, Rollout>): void {
    const busy = new Map<string, number>();
    // What was stopped counts until it is gone: it may be a program that is being killed.
    let all = this.#running.size;
    for (const { rollout, phase } of this.#slots.values()) {
      if (phase.kind === "running") busy.set(rollout, (busy.get(rollout) ?? 0) + 1);
    }
    for (const slot of this.#slots.values()) {
      if (all >= AT_ONCE) return;
      const own = busy.get(slot.rollout) ?? 0;
      const rollout = rollouts.get(slot.rollout);
      if (slot.phase.kind !== "waiting" || own >= AT_ONCE_A_ROLLOUT || rollout === undefined) continue;
      all++;
      busy.set(slot.rollout, own + 1);
      const abort = new AbortController();
      slot.phase = { kind: "running", abort };
      const run: Promise<void> = this.#measure(slot, rollout, abort.signal).finally(() => {
        this.#running.delete(run);
        // A place is free; and what was not wanted any more is nobody's news.
        if (!this.#stopped) this.#options.news();
      });
      this.#running.add(run);
    }
  }

  async #measure(slot: Slot, rollout: Rollout, signal: AbortSignal): Promise<void> {
    const { log, clock, now } = this.#options;
    const { run, metric, number, source } = slot.due;
    const began = clock.monotonic();
    const outcome = await this.#outcome(slot, rollout, signal);
    const of = { rollout: slot.rollout, run, metric, number, source: source.kind };
    log.debug({ ...of, outcome, tookMs: Math.round(clock.monotonic() - began) }, "measured");
    // Of a slot that was dropped meanwhile nobody hears.
    const result = { run, metric, number, atMs: now(), outcome };
    slot.phase = { kind: "taken", result, sinceMs: clock.monotonic() };
  }

  async #outcome({ due }: Slot, { id, service, from, to }: Rollout, signal: AbortSignal): Promise<Outcome> {
    const { version, measure, log } = this.#options;
    const subject = {
      ...{ service, rollout: id, metric: due.metric },
      ...{ canary: version(service, to), stable: from === 0 ? "" : version(service, from) },
    };
    try {
      return await measure(due.source as ExternalSource, subject, signal);
    } catch (error) {
      log.error(
        { err: error, rollout: id, metric: due.metric },
        "a source of measurements failed: a defect of Baton's",
      );
      return failed(`the measurement failed: ${(error as Error).message}`);
    }
  }
}
