/** What the control path costs is counted here, not timed; test/scale measures the times. */
import { join } from "node:path";
import { expect, test } from "vitest";
import { Api, Folder, inProcess } from "../../support/control.ts";
import type { InProcess } from "../../support/control.ts";
import { until } from "../../support/processes.ts";
import { LightAgent } from "../../scale/light-agent.ts";
import { Line, nothing } from "../../scale/line.ts";
import { batches, document, journalOf, own } from "../../scale/update.ts";

const PACE = { startMs: 20, drainMs: 20, stopMs: 10 };
const HOSTS = 50;

class Fleet implements Disposable {
  readonly counts = nothing();
  readonly hosts: readonly LightAgent[];
  readonly gateways: readonly LightAgent[];
  readonly #line: Line;

  constructor(controller: string) {
    const line = (this.#line = new Line(controller, this.counts));
    const agent = (host: string, role: "host" | "gateway", labels: Readonly<Record<string, string>>): LightAgent =>
      new LightAgent({ host, role, labels, way: line, pace: PACE });
    this.hosts = Array.from({ length: HOSTS }, (_, i) => agent(`host-${i}`, "host", { part: String(i % 2) }));
    this.gateways = ["gateway-1", "gateway-2"].map((name) => agent(name, "gateway", {}));
  }

  get all(): readonly LightAgent[] {
    return [...this.hosts, ...this.gateways];
  }

  /** How many assignments each has had since. */
  since(before: ReadonlyMap<LightAgent, number>, of: readonly LightAgent[]): number[] {
    return of.map((agent) => agent.assignments - (before.get(agent) ?? 0));
  }

  sent(): ReadonlyMap<LightAgent, number> {
    return new Map(this.all.map((agent) => [agent, agent.assignments]));
  }

  [Symbol.dispose](): void {
    for (const agent of this.all) agent[Symbol.dispose]();
    this.#line[Symbol.dispose]();
  }
}

async function served({ client }: InProcess, service: number, version: string): Promise<string> {
  let id = "";
  await until(`svc-${service} serves ${version}`, async () => {
    const view = await client.rollout(`svc-${service}`);
    id = view.id;
    expect(view.phase).not.toBe("Degraded");
    return view.phase === "Healthy" && view.endedAtMs > 0n;
  });
  return id;
}

test("an update costs its own hosts five assignments, every gateway two, and nobody else anything", async () => {
  using folder = new Folder();
  await using control = await inProcess(folder.path, { leaseMs: 5_000 });
  using fleet = new Fleet(control.controller.grpc);
  await until("all are connected", () => fleet.all.every((agent) => agent.connected));
  for (const service of [0, 1]) {
    await control.client.apply(document({ service, version: "v1", surge: "1", parted: true }));
    await served(control, service, "v1");
  }
  const concerned = fleet.hosts.filter((_, i) => i % 2 === 0);
  const others = fleet.hosts.filter((_, i) => i % 2 === 1);
  // What a gateway is asked follows the hosts' readiness: it may come a little after the rollout's end.
  await until("all have what they are asked", async () => {
    const { hosts } = await control.client.call(Api.listHosts, {});
    return hosts.every(({ sync }) => sync === "SYNCED");
  });
  const before = fleet.sent();
  await control.client.apply(document({ service: 0, version: "v2", surge: "40%", parted: true }));
  const id = await served(control, 0, "v2");
  await until("the last have heard that it is over", () => fleet.since(before, concerned).every((n) => n >= 5));

  // Of the rollout, start beside the old, shift, stop the old, of the rollout no more.
  expect(new Set(fleet.since(before, concerned))).toEqual(new Set([5]));
  expect(fleet.since(before, others)).toEqual(others.map(() => 0));
  expect(Math.max(...fleet.since(before, fleet.gateways))).toBeLessThanOrEqual(2);

  // The journal's times are what test/scale measures by: no batch can be faster than its own instances.
  const took = batches(journalOf(join(folder.path, "controller.db"), id), HOSTS / 2 / 2.5);
  expect(took).toHaveLength(3);
  for (const ms of took) expect(ms).toBeGreaterThanOrEqual(own(PACE) - 5);
});

test("a batch lasts from its first host's beginning to its last one's end, whatever comes between", () => {
  const moved = (atMs: number, reason: string, host: string) => ({ atMs, reason, host });
  const moves = [
    ...[moved(0, "HostStarting", "a"), moved(5, "HostStarting", "b"), moved(500, "HostShifting", "a")],
    ...[moved(900, "HostDone", "b"), moved(905, "HostStarting", "c"), moved(1_000, "HostDone", "a")],
    ...[moved(1_010, "HostStarting", "d"), moved(1_700, "HostDone", "c"), moved(2_000, "HostDone", "d")],
    ...[moved(2_001, "HostStarting", "e"), moved(2_101, "HostDone", "e")],
  ];
  expect(batches(moves, 2)).toEqual([1_000, 1_095, 100]);
  expect(batches(moves.slice(0, -1), 2)[2]).toBeNaN();
});
