/** Rollouts of the demo app that hold on any cluster, whatever it stands on: it serves v1 and nothing else before. */
import { expect } from "vitest";
import { EXIT } from "../../proto/contract/limits.ts";
import { Api } from "../../control/cli/client.ts";
import type { RolloutView } from "../../proto/gen/baton/v1/operator.ts";
import type { ClientLedger } from "../loss/ledger.ts";
import type { Demo } from "../support/cluster.ts";
import { describe as told, expectOnly } from "../support/cluster.ts";

export const RATE = 100;
export const actor = "test";
export const ended = (view: RolloutView): boolean => view.ended;
const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export function expectNothingLost(ledger: ClientLedger): void {
  expect(ledger.losses.slice(0, 5)).toEqual([]);
  expect(ledger.total.lost).toBe(0);
  expect(ledger.clean).toBe(true);
  expect(ledger.total.started).toBeGreaterThan(RATE);
}

/** The stored ledger once the last reports are in: reports come every 250 ms. */
async function counted(demo: Demo, rollout: string): Promise<RolloutView> {
  await wait(1_000);
  return await demo.until(rollout, ended);
}

/** v1 → v2 and undo. */
export async function thereAndBack(demo: Demo): Promise<void> {
  const traffic = demo.traffic(RATE);
  await wait(1_000);
  const there = await demo.until(await demo.deploy("v2"), ended);
  expect(told(there)).toContain("Succeeded");
  expect(there.exitCode).toBe(EXIT.done);
  await expectOnly(demo, "v2");

  const undo = await demo.cluster.controller.call(Api.undo, { service: "demo", toRevision: 0, actor });
  const back = await demo.until(undo.id, ended);
  expect(told(back)).toContain("Succeeded");
  await expectOnly(demo, "v1");

  const ledger = await traffic.stop();
  expectNothingLost(ledger);
  expect(Object.keys(ledger.versions).sort()).toEqual(["v1", "v2"]);
  for (const id of [there.id, back.id]) {
    const view = await counted(demo, id);
    expect(view.ledger?.edge).toBe("gateway");
    expect(Number(view.ledger?.requests ?? 0n)).toBeGreaterThan(RATE);
    expect(view.ledger?.lostTotal).toBe(0n);
    expect(view.ledger?.unexplained).toBe(0n);
  }
}

export interface BadVersion {
  readonly version: string;
  readonly exit: RegExp;
  readonly output: RegExp;
  readonly appErrors: boolean;
}

export const NEVER_READY: BadVersion = {
  version: "v3",
  exit: /readiness|503|healthy|ready/i,
  output: /ready/i,
  appErrors: false,
};
export const BAD_VERSIONS: readonly BadVersion[] = [
  NEVER_READY,
  { version: "v3b", exit: /exit(ed)? (code|with) 3/i, output: /./, appErrors: false },
  { version: "v3c", exit: /5xx|error/i, output: /./, appErrors: true },
];

export async function rolledBack(demo: Demo, { version, exit, output, appErrors }: BadVersion): Promise<void> {
  const traffic = demo.traffic(RATE);
  await wait(1_000);
  let lines: readonly string[] = [];
  const view = await demo.until(await demo.deploy(version), (one) => {
    const seen = one.hosts.flatMap((host) => host.instances).filter((instance) => instance.version === version);
    const said = seen.flatMap((instance) => instance.output);
    if (said.length > 0) lines = said;
    return one.ended;
  });
  expect(told(view)).toContain("RolledBack");
  expect(view.exitCode).toBe(EXIT.failed);
  await expectOnly(demo, "v1");

  const why = [view.message, ...view.transitions.map((one) => one.message)].join("\n");
  expect(why).toMatch(exit);
  if (!appErrors) expect(lines.join("\n")).toMatch(output);

  const ledger = await traffic.stop();
  // Nothing is lost through v1. What v3b had in its hands when it crashed can't be saved, and is explained.
  const old = (await counted(demo, view.id)).versions.find((one) => one.version === "v1");
  expect(old?.lost).toBe(0n);
  if (version !== "v3b") expect(ledger.total.lost).toBe(0);
  expect(ledger.total.appErrors > 0).toBe(appErrors);
}

/** A newer revision while v3 is on its way. */
export async function superseded(demo: Demo): Promise<void> {
  const traffic = demo.traffic(RATE);
  const first = await demo.deploy("v3");
  await demo.until(first, (view) => view.hosts.some((host) => host.stage !== "waiting"));
  const second = await demo.deploy("v2");
  expect(told(await demo.until(first, ended))).toMatch(/Superseded|RolledBack/);
  expect(told(await demo.until(second, ended))).toContain("Succeeded");
  await expectOnly(demo, "v2");
  expectNothingLost(await traffic.stop());
}
