/**
 * Sources outside the controller, as analyses ask them: they answer late, with an error, without data, or not at all until
 * they are given up; and what they say follows how the version behaves. What they have said is kept by its number, as
 * control/analysis keeps it.
 */
import { due } from "../../../control/rollout/analysis/run.ts";
import type { AnalysisRun, ExternalMeasurement } from "../../../control/model/analysis.ts";
import type { Rollout } from "../../../control/model/rollout.ts";
import { integer, type Random } from "../../../proto/kernel/random.ts";
import type { Behaviour } from "./agent.ts";
import type { Timeline } from "./timeline.ts";

const GIVEN_UP_MS = 1_000;

export class Laboratory {
  /** Chance that a source can't be asked, or has nothing to say. */
  trouble = 0;
  readonly #asked = new Map<string, ExternalMeasurement | null>();
  /** Per run and metric: measurements that were handed out and are bad. */
  readonly #bad = new Map<string, number>();
  readonly #time: Timeline;
  readonly #random: Random;
  readonly #behaviour: (revision: number) => Behaviour;

  constructor(time: Timeline, random: Random, behaviour: (revision: number) => Behaviour) {
    this.#time = time;
    this.#random = random;
    this.#behaviour = behaviour;
  }

  measurements(rollout: Rollout): readonly ExternalMeasurement[] {
    const said: ExternalMeasurement[] = [];
    for (const run of rollout.analyses) {
      if (run.phase !== "running") continue;
      for (const { metric, number } of due(run, this.#time.now())) {
        const key = `${keyOf(rollout, run, metric)} ${number}`;
        const known = this.#asked.get(key);
        if (known === undefined) this.#ask(key, keyOf(rollout, run, metric), rollout, { run, metric, number });
        else if (known !== null) said.push(known);
      }
    }
    return said;
  }

  #ask(
    key: string,
    badKey: string,
    rollout: Rollout,
    { run, metric, number }: { readonly run: AnalysisRun; readonly metric: string; readonly number: number },
  ): void {
    this.#asked.set(key, null);
    const silent = this.#random.next() < this.trouble / 2;
    this.#time.after(silent ? GIVEN_UP_MS : 10 + integer(this.#random, 300), () => {
      const outcome = silent ? ({ kind: "error", message: "no answer within 1s" } as const) : this.#outcome(rollout.to);
      if (outcome.kind === "value" && outcome.value < 0.9) this.#bad.set(badKey, (this.#bad.get(badKey) ?? 0) + 1);
      this.#asked.set(key, { run: run.id, metric, number, atMs: this.#time.now(), outcome });
    });
  }

  #outcome(revision: number): ExternalMeasurement["outcome"] {
    if (this.#random.next() < this.trouble) return { kind: "error", message: "HTTP 503" };
    if (this.#random.next() < this.trouble) return { kind: "nodata", message: "an empty answer" };
    const { errors, slow = 1 } = this.#behaviour(revision);
    return { kind: "value", value: slow > 1 ? 0.5 : 1 - errors };
  }

  /** More bad measurements were said of what still counts than its document puts up with. */
  isBad(rollout: Rollout): boolean {
    return rollout.analyses.some((run) =>
      run.spec.metrics.some(
        (metric) =>
          metric.critical &&
          !metric.dryRun &&
          (this.#bad.get(keyOf(rollout, run, metric.name)) ?? 0) > metric.failureLimit &&
          run.phase !== "running" &&
          run.phase !== "successful",
      ),
    );
  }

  /** What was said of rollouts that are over. */
  forget(): void {
    this.#asked.clear();
    this.#bad.clear();
  }
}

const keyOf = (rollout: Rollout, run: AnalysisRun, metric: string): string =>
  `${rollout.id} ${run.id} ${run.startedAtMs} ${metric}`;
