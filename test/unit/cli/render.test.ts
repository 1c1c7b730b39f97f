import { describe, expect, test } from "vitest";
import { planBlock } from "../../../control/cli/render/plan.ts";
import { programBlock, stepNow, unconfirmedLines } from "../../../control/cli/render/program.ts";
import { micros } from "../../../control/cli/render/units.ts";
import { PlanView, RolloutView } from "../../../proto/gen/baton/v1/operator.ts";
import type { StepView } from "../../../proto/gen/baton/v1/operator.ts";

const view = (changes: Partial<RolloutView>): RolloutView => ({
  ...RolloutView.decode(new Uint8Array()),
  service: "shop",
  ...changes,
});
const step = (number: number, state: string, changes: Partial<StepView> = {}): StepView => {
  const times = { sinceMs: 0n, confirmedAtMs: 0n, untilMs: 0n };
  return { number, text: `setWeight ${String(number)} %`, state, ...times, ...changes };
};
const plain = (lines: readonly string[]): string => lines.join("\n").replaceAll(/\x1b\[[\d;]*m/g, "");

describe("the program", () => {
  test("a rolling update has none, and nothing is said of it", () => {
    expect(programBlock(view({}), 0)).toEqual([]);
    expect(stepNow(view({}))).toBe("");
  });

  test("of a long one the steps around the present are shown, and how many are left out", () => {
    const program = Array.from({ length: 100 }, (_, at) =>
      step(at + 1, at < 50 ? "done" : at === 50 ? "current" : "to come"),
    );
    const text = plain(programBlock(view({ program }), 0));
    expect(text.split("\n")).toHaveLength(15);
    expect(text).toContain("… 44 before");
    expect(text).toContain("▶ 51  setWeight 51 %  has not begun");
    expect(text).toContain("… 43 more");
    expect(stepNow(view({ program }))).toBe("step 51/100 setWeight 51 %");
  });

  test("the present step says what it waits for: hosts, confirmation, its time", () => {
    const at = (changes: Partial<StepView>): string =>
      plain(programBlock(view({ program: [step(1, "current", changes)] }), 10_000));
    expect(at({ sinceMs: 8_000n })).toContain("asked 2.0 s ago, not confirmed by all yet");
    expect(at({ sinceMs: 8_000n, confirmedAtMs: 9_000n })).toContain("confirmed by every live agent 1.0 s ago");
    expect(at({ sinceMs: 8_000n, confirmedAtMs: 9_000n, untilMs: 70_000n })).toContain("1 min 0 s left");
  });

  test("analyses: counts, the newest figures, no data as a dash, and the verdict with its numbers", () => {
    const metric = {
      ...{
        name: "errors",
        source: "sequential errors, α 0.01",
        condition: "",
        phase: "failed",
        message: "e-value 543 ≥ 200",
      },
      ...{ successful: 36, failed: 1, inconclusive: 2, errors: 0, consecutiveErrors: 0, nextAtMs: 0n },
      recent: [1, 2, 3, 4].map((number) => {
        return { number, atMs: 0n, value: number === 3 ? undefined : number * 100, verdict: "", message: "" };
      }),
      ...{ critical: false, dryRun: false },
    };
    const run = { id: "step 3", phase: "failed", message: "metric errors failed", startedAtMs: 0n, endedAtMs: 1n };
    const text = plain(programBlock(view({ analyses: [{ ...run, metrics: [metric], accepted: false }] }), 0));
    expect(text).toMatch(/step 3 +errors \(not critical\) +failed +36\/1\/2\/0 +200 – 400 +e-value 543 ≥ 200/);
    expect(text).toMatch(/step 3 +failed +metric errors failed/);
  });

  test("who has not confirmed is named with the state and why", () => {
    const unconfirmed = [
      { host: "edge-1", role: "gateway", state: "lags", why: "generation 7 was sent 1.2 s ago" },
      { host: "web-2", role: "host", state: "rejected", why: "the port is in use" },
    ];
    expect(plain(unconfirmedLines(view({ unconfirmed })))).toBe(
      "not confirmed: gateway edge-1 lags (generation 7 was sent 1.2 s ago)\n" +
        "not confirmed: web-2 rejected (the port is in use)",
    );
  });
});

describe("a plan", () => {
  const plan = (changes: Partial<PlanView>): string =>
    plain([
      planBlock({
        ...PlanView.decode(new Uint8Array()),
        service: "shop",
        toVersion: "v2",
        strategy: "canary",
        ...changes,
      }),
    ]);

  test("one that would be refused says why, and shows no steps", () => {
    expect(plan({ fromRevision: 1, fromVersion: "v1", refusals: ["shop serves v2 already"] })).toBe(
      "shop  v1 (r1) → v2 (not stored yet)  canary\nwould be refused: shop serves v2 already",
    );
  });

  test("many hosts that are out are counted, and a plan that does not end well says so", () => {
    const hostsOut = ["a", "b", "c", "d", "e"];
    const text = plan({
      steps: [
        {
          ...{ number: 1, atMs: 0n, text: "in place", hosts: hostsOut, weight: 0, oldServing: 5, newServing: 0 },
          ...{ instances: 10, minCapacityPercent: 50, hostsOut, waitsFor: "" },
        },
      ],
      ...{ outcome: "RolledBack: no", lastsMs: 65_000n, minCapacityPercent: 50, maxInstances: 10, maxHostsOut: 5 },
    });
    expect(text).toContain("a, b and 3 more");
    expect(text).toContain(
      "at least 1 min 5 s; capacity never below 50 %, at most 10 processes at once, at most 5 hosts out of routing at once; RolledBack: no",
    );
  });
});

test("latencies are short, and never written with an exponent", () => {
  expect([0, 704, 1_249, 13_400, 850_000, 2_621_000].map(micros)).toEqual([
    "–",
    "704 µs",
    "1.2 ms",
    "13 ms",
    "850 ms",
    "2.6 s",
  ]);
});
