/** The runner against sources that answer when the test says so, on a clock that stands still. */
import { expect, test } from "vitest";
import { AnalysisRunner } from "../../../control/analysis/runner.ts";
import type { Outcome, Subject } from "../../../control/analysis/source.ts";
import type { AnalysisRun } from "../../../control/model/analysis.ts";
import type { Rollout } from "../../../control/model/rollout.ts";
import type { DueMeasurement } from "../../../control/rollout/analysis/run.ts";
import { silentLog } from "../../../proto/kernel/log.ts";
import { FakeClock } from "../../support/fake-clock.ts";

interface Asked {
  readonly query: string;
  readonly subject: Subject;
  readonly signal: AbortSignal;
  readonly answer: (outcome: Outcome) => void;
  readonly reject: (error: Error) => void;
}

const value = (n: number): Outcome => ({ kind: "value", value: n });

/** `wants`: rollout id → metric names; each is due as number `numbers[metric]`, 1 at first. */
function start() {
  const clock = new FakeClock();
  const asked: Asked[] = [];
  const wants = new Map<string, string[]>();
  const numbers = new Map<string, number>();
  const state = { startedAtMs: 1, news: 0 };
  const rollout = (id: string): Rollout => {
    const run = { id: "background", phase: "running", startedAtMs: state.startedAtMs, metrics: [] };
    const analyses = [{ ...run, of: id } as unknown as AnalysisRun];
    return { id, service: "shop", from: 1, to: 2, analyses } as unknown as Rollout;
  };
  const due = (run: AnalysisRun): readonly DueMeasurement[] =>
    (wants.get((run as unknown as { of: string }).of) ?? []).map((metric) => {
      const source = { kind: "prometheus", address: "http://127.0.0.1:1", query: metric, timeoutMs: 1_000 } as const;
      return { run: run.id, metric, number: numbers.get(metric) ?? 1, source };
    });
  const runner = new AnalysisRunner({
    ...{ clock, log: silentLog, due },
    measure: (source, subject, signal) =>
      new Promise((answer, reject) => {
        const query = source.kind === "prometheus" ? source.query : "";
        asked.push({ query, subject, signal, answer, reject });
        signal.addEventListener("abort", () => answer({ kind: "error", message: "stopped" }));
      }),
    active: () => [...wants.keys()].map(rollout),
    version: (_, revision) => `v${String(revision)}`,
    now: () => clock.now(),
    news: () => state.news++,
  });
  const running = (): string[] => asked.filter((one) => !one.signal.aborted).map((one) => one.query);
  return { clock, asked, wants, numbers, state, rollout, runner, running };
}

test("a due measurement is begun once, however many rounds look at it, and its result waits until it was taken", async () => {
  const { clock, asked, wants, numbers, state, rollout, runner } = start();
  wants.set("a", ["rate"]);
  for (let round = 0; round < 5; round++) runner.look();
  expect(asked).toHaveLength(1);
  expect(asked[0]?.subject).toEqual({ service: "shop", rollout: "a", canary: "v2", stable: "v1", metric: "rate" });
  expect(runner.results(rollout("a"))).toEqual([]);

  await clock.advance(500);
  asked[0]?.answer(value(0.5));
  await clock.advance(0);
  expect(state.news).toBe(1);
  const result = { run: "background", metric: "rate", number: 1, atMs: clock.now(), outcome: value(0.5) };
  // The round that would have taken it fails and is tried again: it is still there.
  for (let round = 0; round < 3; round++) {
    runner.look();
    expect(runner.results(rollout("a"))).toEqual([result]);
  }
  expect(asked).toHaveLength(1);

  numbers.set("rate", 2);
  runner.look();
  expect(asked).toHaveLength(2);
  expect(runner.results(rollout("a"))).toEqual([]);
});

test("a rollout has four at once and all have sixteen; the next is begun as soon as one is done, oldest first", async () => {
  const { clock, asked, wants, numbers, runner, running } = start();
  for (const id of ["a", "b", "c", "d", "e"]) {
    wants.set(
      id,
      [1, 2, 3, 4, 5, 6].map((n) => `${id}${String(n)}`),
    );
  }
  runner.look();
  expect(running()).toEqual(["a", "b", "c", "d"].flatMap((id) => [1, 2, 3, 4].map((n) => `${id}${String(n)}`)));
  // a has two more and is there first, but e has waited as long: nobody is passed over for ever.
  for (const one of asked.filter(({ query }) => query.startsWith("d"))) one.answer(value(1));
  await clock.advance(0);
  runner.look();
  expect(asked.slice(16).map(({ query }) => query)).toEqual(["d5", "d6", "e1", "e2"]);
  // What is due anew stands behind what waits already.
  numbers.set("d1", 2);
  asked.find(({ query }) => query === "d5")?.answer(value(1));
  await clock.advance(0);
  runner.look();
  expect(asked.slice(20).map(({ query }) => query)).toEqual(["e3"]);
});

test("what no rollout asks for any more is stopped, and its late answer is nobody's", async () => {
  const { clock, asked, wants, rollout, runner } = start();
  wants.set("a", ["rate"]);
  runner.look();
  wants.delete("a");
  runner.look();
  expect(asked[0]?.signal.aborted).toBe(true);
  await clock.advance(0);
  wants.set("a", ["rate"]);
  runner.look();
  asked[0]?.answer(value(1));
  await clock.advance(0);
  expect(runner.results(rollout("a"))).toEqual([]);
  asked[1]?.answer(value(2));
  await clock.advance(0);
  expect(runner.results(rollout("a"))).toMatchObject([{ outcome: value(2) }]);
});

test("an analysis that begins anew under its old name does not get the old one's result", async () => {
  const { clock, asked, wants, state, rollout, runner } = start();
  wants.set("a", ["rate"]);
  runner.look();
  asked[0]?.answer(value(1));
  await clock.advance(0);
  state.startedAtMs = 2; // within the very round, before anything was looked at
  expect(runner.results(rollout("a"))).toEqual([]);
  runner.look();
  expect(asked).toHaveLength(2);
});

test("a result that no round took for a minute says nothing of now: it is measured again", async () => {
  const { clock, asked, wants, rollout, runner } = start();
  wants.set("a", ["rate"]);
  runner.look();
  asked[0]?.answer(value(1));
  await clock.advance(60_000);
  runner.look();
  expect(runner.results(rollout("a"))).toHaveLength(1);
  await clock.advance(1);
  runner.look();
  expect(runner.results(rollout("a"))).toEqual([]);
  expect(asked).toHaveLength(2);
});

test("a source that throws, against its contract, is an error of that one measurement", async () => {
  const { clock, asked, wants, rollout, runner } = start();
  wants.set("a", ["rate"]);
  runner.look();
  asked[0]?.reject(new Error("oops"));
  await clock.advance(0);
  expect(runner.results(rollout("a"))).toMatchObject([
    { outcome: { kind: "error", message: "the measurement failed: oops" } },
  ]);
});

test("stopping ends what runs, waits for it, and begins nothing more", async () => {
  const { asked, wants, state, rollout, runner } = start();
  wants.set("a", ["rate", "latency"]);
  runner.look();
  await runner.stop();
  expect(asked.map(({ signal }) => signal.aborted)).toEqual([true, true]);
  runner.look();
  expect(asked).toHaveLength(2);
  expect(runner.results(rollout("a"))).toEqual([]);
  expect(state.news).toBe(0);
});
