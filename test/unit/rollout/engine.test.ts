import { describe as group, expect, test } from "vitest";
import { desires } from "../../../control/rollout/engine.ts";
import type { AnalysisRun, MetricRun } from "../../../control/model/analysis.ts";
import { describe, exitCodeOf, phaseOf } from "../../../control/rollout/describe.ts";
import { slots } from "../../../control/rollout/window.ts";
import { DRAIN_MS } from "../../sim/model/revisions.ts";
import { Bench, instance } from "./bench.ts";

const count = (value: number) => ({ kind: "count", value }) as const;
const modes = (bench: Bench, host: string): readonly string[] =>
  bench.track(host).revisions.map((asked) => `${asked.revision} ${asked.mode}`);

/** `a` has begun; v2 stands by there, ready. */
function standingBy(options = {}): Bench {
  return new Bench(options)
    .rest()
    .runs("a", instance(1), instance(2, { state: "ready" }))
    .rest();
}
/** v2 serves on `a` and v1 drains, confirmed; the bake runs. */
function shifted(options = {}): Bench {
  return standingBy(options)
    .after(1_000)
    .runs("a", instance(1, { state: "draining" }), instance(2))
    .rest();
}

group("the barrier", () => {
  test("an agreement about what was asked before confirms nothing", () => {
    const bench = standingBy();
    bench.now += 5_000;
    const before = bench.rollout;
    bench.step({ ...bench.view(), change: bench.rollout.change - 1 });
    expect(modes(bench, "a")).toEqual(["1 serving", "2 standby"]);
    expect(desires(bench.rollout)).toEqual(desires(before));
  });

  test("a host that has not applied its table is not taken for one that has, however ready its instance is", () => {
    const bench = standingBy();
    bench.says.set("a", { ...bench.says.get("a"), appliedHash: "older" });
    bench.after(5_000);
    expect(bench.track("a")).toMatchObject({ stage: "starting", waitingFor: "to apply what it is asked" });
  });

  test("old and new on a host: v1 is kept until nothing is in flight on it", () => {
    const bench = shifted()
      .runs("a", instance(1, { state: "draining", inFlight: 1 }), instance(2))
      .after(1_500);
    expect(modes(bench, "a")).toEqual(["1 draining", "2 serving"]);
    bench.runs("a", instance(1, { state: "draining" }), instance(2)).rest();
    expect(modes(bench, "a")).toEqual(["2 serving"]);
  });

  test("in place, one gateway that has not confirmed keeps the old version serving (R5)", () => {
    const bench = new Bench({
      gateways: ["gw", "gw2"],
      strategy: { maxSurge: count(0), maxUnavailable: count(1) },
    }).rest();
    expect(bench.track("a")).toMatchObject({ stage: "stopping", routed: false });
    const slow = new Bench({ gateways: ["gw", "gw2"], strategy: { maxSurge: count(0), maxUnavailable: count(1) } });
    while (slow.track("a").stage === "waiting") slow.step();
    slow.says.set("gw2", { appliedHash: "older" });
    slow.after(20_000);
    expect(slow.track("a")).toMatchObject({ stage: "removing", waitingFor: "for gw2 to apply the new routes" });
    expect(modes(slow, "a")).toEqual(["1 serving"]);
  });
});

group("level-triggered", () => {
  test("the same facts give the very same object: nothing is written, nothing is sent", () => {
    const bench = standingBy();
    const before = bench.rollout;
    expect(bench.step().rollout).toBe(before);
  });

  test("it says when it is to be asked again though nothing is reported", () => {
    const bench = standingBy();
    const { wakeAtMs } = bench.step();
    expect(wakeAtMs).toBe(bench.now + 1_000);
  });

  test("a controller that another has followed decides nothing (I4)", () => {
    const bench = standingBy();
    bench.epoch = 5;
    bench.rest();
    bench.epoch = 4;
    bench.now += 60_000;
    expect(bench.step().rollout).toBe(bench.rollout);
    expect(bench.say({ kind: "abort", actor: "ops", reason: "" })).toMatchObject({ kind: "refused" });
  });
});

group("no news is no news (I5)", () => {
  test("a controller that was down for an hour does not find its deadlines passed", () => {
    const bench = new Bench()
      .rest()
      .runs("a", instance(1), instance(2, { state: "starting" }))
      .rest();
    bench.epoch = 2;
    bench.after(3_600_000);
    expect(bench.rollout.stage.kind).toBe("step");
    expect(bench.track("a").stage).toBe("starting");
  });

  // Found by chaos: a controller started while its clock was an hour ahead; the next one kept the old version warm for that hour.
  test("what a controller saw begin whose clock was ahead is counted from when the next one takes over", () => {
    const bench = shifted();
    const metric: MetricRun = {
      ...{ name: "errors", phase: "running", message: "", evidence: null, since: {} },
      nextAtMs: bench.now + 7_000,
      counts: { successful: 1, failed: 0, inconclusive: 0, error: 0, consecutiveErrors: 0 },
      recent: [{ number: 1, atMs: bench.now - 3_000, value: 0, verdict: "successful", message: "" }],
    };
    const spec = { metrics: [], durationMs: 0 } as unknown as AnalysisRun["spec"];
    const run: AnalysisRun = {
      ...{ id: "background", spec, phase: "successful", message: "" },
      ...{ startedAtMs: bench.now - 5_000, endedAtMs: bench.now, metrics: [metric] },
    };
    bench.rollout = { ...bench.rollout, analyses: [run] };
    bench.epoch = 2;
    bench.now -= 500_000;
    bench.step();
    const { now } = bench;
    expect(bench.journal.at(-1)?.message).toMatch(/epoch 2 goes on with it; the clock .* was ahead by 8m\d+s or more$/);
    expect(bench.rollout.analyses[0]).toMatchObject({ startedAtMs: now, endedAtMs: now });
    expect(bench.rollout.analyses[0]?.metrics[0]).toMatchObject({ nextAtMs: now + 10_000, recent: [{ atMs: now }] });
    bench.runs("a", instance(1, { state: "draining" }), instance(2)).after(2_000);
    expect(modes(bench, "a")).toEqual(["2 serving"]);
    bench.runs("a", instance(2)).rest();
    expect(bench.track("a").stage).toBe("done");
  });

  test("no drain is cut because the clock of the controller before was behind", () => {
    const bench = shifted()
      .runs("a", instance(1, { state: "draining", inFlight: 1 }), instance(2))
      .rest();
    bench.epoch = 2;
    bench.after(3_600_000);
    expect(modes(bench, "a")).toEqual(["1 draining", "2 serving"]);
    bench.after(DRAIN_MS);
    expect(modes(bench, "a")).toEqual(["2 serving"]);
  });

  test("hosts that have not reported yet are waited for, and nothing they run is changed", () => {
    const bench = standingBy();
    const asked = desires(bench.rollout);
    for (const name of ["a", "b", "c", "gw"]) bench.says.set(name, { ...bench.says.get(name), lease: "unknown" });
    bench.after(3_600_000);
    expect(desires(bench.rollout)).toEqual(asked);
    expect(bench.rollout.pause).toBeNull();
  });

  test("a host that falls silent in mid-move is not taken for drained, though nothing is reported in flight on it", () => {
    const bench = new Bench({ strategy: { maxSurge: count(0), maxUnavailable: count(1) } });
    bench.says.set("gw", { endpointInFlight: { a: 1 } });
    bench.rest();
    expect(bench.track("a")).toMatchObject({ stage: "removing", routed: false });
    bench.says.set("gw", {});
    bench.says.set("a", { ...bench.says.get("a"), lease: "unknown" });
    bench.after(600_000);
    expect(modes(bench, "a")).toEqual(["1 serving"]);
    expect(bench.track("a")).toMatchObject({ stage: "removing", waitingFor: "to report" });
  });

  test("with every host lost it pauses even where policy says to go on: nobody is left to roll", () => {
    const bench = new Bench({ strategy: { onPartition: "continue" } }).rest();
    for (const name of ["a", "b", "c"]) bench.says.set(name, { lease: "lost" });
    bench.after(60_000);
    expect(bench.rollout.pause?.reason).toBe("FleetPartitioned");
  });

  test("resume goes on without the lost host; a host that reports again is moved after all", () => {
    const bench = new Bench().rest();
    bench.says.set("b", { ...bench.says.get("b"), lease: "lost" });
    bench.rest();
    expect(bench.rollout.pause?.reason).toBe("FleetPartitioned");
    bench.say({ kind: "resume", actor: "ops" });
    bench.rest();
    expect(bench.rollout.pause).toBeNull();
    expect(bench.rollout.without).toEqual(["b"]);
    bench.says.set("b", { ...bench.says.get("b"), lease: "live" });
    bench.rest();
    expect(bench.rollout.without).toEqual([]);
  });
});

group("what stops it (I6)", () => {
  test("one exit before it is ready is put up with, the second rolls back with exit code and reason", () => {
    const bench = new Bench().rest();
    const failed = { state: "failed", exit: "exit code 3", reason: "exited with 3 after 0.1 s" } as const;
    bench.runs("a", instance(1), instance(2, failed)).rest();
    expect(bench.rollout.stage.kind).toBe("step");
    bench.runs("a", instance(1), instance(2, { ...failed, restarts: 1 })).rest();
    expect(bench.rollout.stage.kind).toBe("rolled-back");
    expect(describe(bench.rollout, bench.context())).toContain("exit code 3; exited with 3 after 0.1 s");
  });

  test("an exit of an instance that served rolls back at once, and v1 serves again in the same stroke", () => {
    const bench = shifted();
    bench
      .runs("a", instance(1, { state: "draining" }), instance(2, { state: "failed", exit: "signal SIGSEGV" }))
      .rest();
    expect(bench.track("a").revisions).toContainEqual({ revision: 1, mode: "serving" });
    expect(bench.track("b").stage).toBe("done");
  });

  test("a rollback without surge takes out who serves nobody at once, and leaves who is about to serve where it is", () => {
    const bench = new Bench({ strategy: { maxSurge: count(0), maxUnavailable: count(1), minHealthyMs: 0 } });
    const crashed = instance(2, { state: "failed", exit: "signal SIGKILL", restarts: 1 });
    for (const host of ["a", "b"]) {
      while (bench.track(host).stage !== "stopping") bench.step();
      bench.runs(host, instance(1, { state: "stopped" })).rest();
      bench.runs(host, instance(2, { state: "ready" })).rest();
      bench.runs(host, instance(2));
    }
    while (bench.track("c").stage === "waiting") bench.step();
    // b's agent has just started anew; then a's instance exits.
    bench
      .runs("b", instance(2, { state: "starting" }))
      .runs("a", crashed)
      .rest();
    expect(bench.rollout.stage.kind).toBe("rolling-back");
    expect(bench.track("a").routed).toBe(false);
    expect(bench.track("b")).toMatchObject({ routed: true, stage: "waiting", waitingFor: "for its turn" });
    // Once the others serve again it goes, as it would if it exited now.
    for (const host of ["a", "c"]) {
      bench.runs(host, instance(1, { state: "ready" })).rest();
      bench.runs(host, instance(1)).rest();
    }
    expect(bench.track("b").routed).toBe(false);
  });

  test("readiness that is gone for a moment, as when an agent's core restarts, is no failure", () => {
    const bench = shifted();
    bench
      .runs("a", instance(1, { state: "draining" }), instance(2, { healthySinceMs: 0, state: "starting" }))
      .after(500);
    bench.runs("a", instance(1, { state: "draining" }), instance(2, { healthySinceMs: 900 })).rest();
    expect(bench.rollout.stage.kind).toBe("step");
    bench.runs("a", instance(1, { state: "draining" }), instance(2, { healthySinceMs: 0, state: "starting" })).after(0);
    bench.after(2_500);
    expect(bench.rollout.stage.kind).toBe("rolling-back");
  });

  test("5xx that the old version answers just as often are not the new version's fault", () => {
    const bench = shifted();
    bench.traffic = {
      v1: { requests: 100, errors: 40, lost: 0, latency: [] },
      v2: { requests: 100, errors: 45, lost: 0, latency: [] },
    };
    bench.rest();
    expect(bench.rollout.stage.kind).toBe("step");
    bench.traffic = {
      v1: { requests: 100, errors: 2, lost: 0, latency: [] },
      v2: { requests: 29, errors: 29, lost: 0, latency: [] },
    };
    bench.rest();
    expect(bench.rollout.stage.kind).toBe("step"); // minRequests is 30
    bench.traffic = {
      v1: { requests: 100, errors: 2, lost: 0, latency: [] },
      v2: { requests: 100, errors: 45, lost: 0, latency: [] },
    };
    bench.rest();
    expect(bench.rollout.stage).toMatchObject({
      kind: "rolling-back",
      why: expect.stringContaining("45 of 100") as string,
    });
  });

  test("with autoRevert off it stays where it is, says why, and resume gives it another chance", () => {
    const bench = shifted({ strategy: { autoRevert: false } });
    const down = instance(2, { state: "failed", exit: "exit code 1" });
    bench.runs("a", instance(1, { state: "draining" }), down).rest();
    expect(bench.rollout.pause).toMatchObject({ reason: "Unhealthy" });
    expect(exitCodeOf(bench.rollout)).toBe(3);
    expect(modes(bench, "a")).toEqual(["1 draining", "2 serving"]);
    bench.runs("a", instance(1, { state: "draining" }), instance(2, { restarts: 1 }));
    bench.say({ kind: "resume", actor: "ops" });
    bench.rest();
    expect(bench.rollout.pause).toBeNull();
  });

  test("unexplained loss halts; resume accepts that much, and only more of it halts again", () => {
    const bench = new Bench().rest();
    bench.unexplainedLoss = 2;
    bench.rest();
    expect(bench.rollout.pause?.reason).toBe("UnexplainedLoss");
    bench.say({ kind: "resume", actor: "ops" });
    expect(bench.rest().rollout.pause).toBeNull();
    bench.unexplainedLoss = 3;
    expect(bench.rest().rollout.pause?.reason).toBe("UnexplainedLoss");
  });

  test("a host that refuses what it is asked pauses the rollout with its reason, until it no longer does", () => {
    const bench = new Bench().rest();
    bench.says.set("a", { ...bench.says.get("a"), appliedHash: "older", rejected: "no such file: ./server" });
    bench.rest();
    expect(bench.rollout.pause).toMatchObject({
      reason: "Rejected",
      message: expect.stringContaining("./server") as string,
    });
    bench.says.set("a", { instances: [instance(1)] });
    expect(bench.rest().rollout.pause).toBeNull();
  });

  test("while an operator's pause lasts, no host begins and no host changes", () => {
    const bench = standingBy();
    bench.say({ kind: "pause", actor: "ops", reason: "lunch" });
    const asked = desires(bench.rollout);
    bench.after(3_600_000);
    expect(desires(bench.rollout)).toEqual(asked);
    expect(phaseOf(bench.rollout)).toBe("Paused");
    bench.say({ kind: "resume", actor: "ops" });
    bench.rest();
    expect(bench.rollout.stage.kind).toBe("step"); // the hour is not held against it
    expect(modes(bench, "a")).toEqual(["1 draining", "2 serving"]);
  });
});

group("drains", () => {
  const busy = instance(1, { state: "draining", inFlight: 2 });

  test("at the deadline the rest is ended where the policy says so, and the journal names how many", () => {
    const bench = shifted().runs("a", busy, instance(2)).after(3_000);
    expect(modes(bench, "a")).toEqual(["2 serving"]);
    expect(bench.journal.map((entry) => entry.message).join()).toContain("2 still in flight are ended");
  });

  test("where the policy says to ask, it pauses, goes on by itself if they end, and ends them on promote", () => {
    const bench = shifted({ onTimeout: "pause" }).runs("a", busy, instance(2)).after(3_000);
    expect(bench.rollout.pause?.reason).toBe("DrainTimeout");
    bench.say({ kind: "resume", actor: "ops" });
    expect(bench.rest().rollout.pause).toBeNull();
    expect(bench.after(3_000).rollout.pause?.reason).toBe("DrainTimeout");
    bench.say({ kind: "promote", actor: "ops", full: false });
    bench.rest();
    expect(modes(bench, "a")).toEqual(["2 serving"]);
  });
});

group("the window", () => {
  test("percent rounds surge up and unavailable down; when both come to nothing, one host surges", () => {
    const percent = (value: number) => ({ kind: "percent", value }) as const;
    const of = (surge: number, out: number) => {
      const bench = new Bench({ strategy: { maxSurge: percent(surge), maxUnavailable: percent(out) } });
      return slots(bench.rollout, bench.context());
    };
    expect(of(25, 0)).toEqual({ surge: 1, unavailable: 0 });
    expect(of(34, 34)).toEqual({ surge: 2, unavailable: 1 });
    expect(of(0, 30)).toEqual({ surge: 1, unavailable: 0 });
  });

  test("a host that is out already goes first, and leaves the rollout that much less", () => {
    const bench = new Bench({ strategy: { maxSurge: count(0), maxUnavailable: count(1) } });
    bench.says.set("c", { ...bench.says.get("c"), adminState: "drain" });
    bench.rest();
    expect(bench.track("c").stage).not.toBe("waiting");
    expect(bench.track("a").stage).toBe("waiting");
    expect(bench.track("b").stage).toBe("waiting");
  });

  test("hosts that the new placement leaves out keep serving until all others serve, and end with nothing", () => {
    const options = { hosts: ["a"], fromHosts: ["a", "z"] };
    expect(modes(new Bench(options).rest(), "z")).toEqual(["1 serving"]);
    const bench = shifted(options).after(1_000);
    bench.runs("a", instance(2)).rest();
    expect(bench.track("z")).toMatchObject({ routed: false, revisions: [] });
    bench.runs("z").rest().after(1_000);
    expect(bench.rollout.stage.kind).toBe("succeeded");
  });

  test("a version that is placed nowhere takes nothing away, and says what it waits for", () => {
    const bench = new Bench({ hosts: [], fromHosts: ["y", "z"] }).rest().after(3_600_000);
    for (const host of ["y", "z"]) {
      expect(bench.track(host)).toMatchObject({ routed: true, stage: "waiting" });
      expect(modes(bench, host)).toEqual(["1 serving"]);
    }
    expect(describe(bench.rollout, bench.context())).toBe(
      "No host matches the placement of shop v2: it begins when one connects, and v1 serves until then; " +
        "`baton rollout abort shop` gives it up.",
    );
    bench.say({ kind: "abort", actor: "ops", reason: "" });
    bench.rest();
    expect(bench.rollout.stage.kind).toBe("rolled-back");
    expect(modes(bench, "z")).toEqual(["1 serving"]);
  });

  test("those that leave serve on as long as none of those that stay does", () => {
    const strategy = { onPartition: "continue" } as const;
    const bench = shifted({ hosts: ["a"], fromHosts: ["a", "z"], strategy }).after(1_000);
    // What waits to begin is looked at once all that stay are done; the last of them is lost just then.
    while (bench.track("a").stage !== "stopping") bench.step();
    bench.runs("a", instance(2));
    bench.step();
    bench.says.set("a", { ...bench.says.get("a"), lease: "lost" });
    bench.rest().after(1_000);
    expect(bench.track("z")).toMatchObject({
      routed: true,
      waitingFor: "for a host that stays to serve: none does now",
    });
    bench.says.set("a", { ...bench.says.get("a"), lease: "live" });
    bench.rest();
    expect(bench.track("z").routed).toBe(false);
  });
});

group("what an operator is told", () => {
  test("a refusal is one sentence that names the command that would do", () => {
    const bench = new Bench().rest();
    const refused = (answer: unknown): string => (answer as { why: string }).why;
    expect(refused(bench.say({ kind: "resume", actor: "ops" }))).toContain("`baton rollout status shop`");
    bench.say({ kind: "abort", actor: "ops", reason: "" });
    expect(refused(bench.say({ kind: "pause", actor: "ops", reason: "" }))).toContain("`baton rollout status shop`");
    bench.say({ kind: "supersede", actor: "ops", by: "shop-2" });
    expect(exitCodeOf(bench.rollout)).toBe(6);
    expect(refused(bench.say({ kind: "abort", actor: "ops", reason: "" }))).toContain("shop-2, which took its place");
  });

  test("a rollback that can't bring the old version up ends as Failed and says on which host and why", () => {
    const bench = shifted().after(1_000).runs("a", instance(2)).rest();
    expect(modes(bench, "a")).toEqual(["2 serving"]);
    bench.say({ kind: "abort", actor: "ops", reason: "" });
    bench.rest();
    expect(modes(bench, "a")).toEqual(["2 serving", "1 standby"]);
    bench.runs("a", instance(2), instance(1, { state: "failed", exit: "exit code 9", restarts: 1 })).rest();
    expect(bench.rollout.stage.kind).toBe("failed");
    expect(describe(bench.rollout, bench.context())).toContain(
      "v1 on a exited 2 times before it was ready (exit code 9)",
    );
  });

  test("exits of an earlier rollout of the same revision are not this one's", () => {
    const bench = new Bench();
    const failed = (restarts: number): ReturnType<typeof instance> =>
      instance(2, { state: "failed", exit: "exit code 9", restarts });
    bench.runs("a", instance(1), failed(3)).rest();
    expect(modes(bench, "a")).toEqual(["1 serving", "2 standby"]);
    bench.runs("a", instance(1), failed(4)).rest();
    expect(bench.rollout.stage.kind).toBe("step");
    bench.runs("a", instance(1), failed(5)).rest();
    expect(bench.rollout.stage).toMatchObject({
      kind: "rolled-back",
      why: "v2 on a exited 2 times before it was ready (exit code 9)",
    });
  });

  test("an instance that an earlier rollout stopped makes no room for exits once its agent has forgotten it", () => {
    const bench = new Bench();
    bench.runs("a", instance(1), instance(2, { id: "old", state: "stopped", exit: "exit code 9", restarts: 3 })).rest();
    expect(modes(bench, "a")).toEqual(["1 serving", "2 standby"]);
    bench.runs("a", instance(1), instance(2, { state: "failed", exit: "exit code 9", restarts: 1 })).rest();
    expect(bench.rollout.stage).toMatchObject({
      kind: "rolled-back",
      why: "v2 on a exited 2 times before it was ready (exit code 9)",
    });
  });

  test("every pause says what is the matter and which commands move it on", () => {
    const bench = new Bench().rest();
    bench.says.set("b", { lease: "lost" });
    bench.rest();
    expect(describe(bench.rollout, bench.context())).toBe(
      "Paused (FleetPartitioned): b: no report, and the lease ran out; it goes on by itself when they report again, " +
        "`baton rollout resume shop` goes on without them, `baton rollout abort shop` rolls back.",
    );
  });
});
