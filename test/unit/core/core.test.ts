import { expect, test } from "vitest";
import { readiness } from "../../../agent/core/admin/readiness.ts";
import { serviceHash } from "../../../proto/contract/canonical.ts";
import { endpoint, assignment, health, probe, revision, run, service } from "../../support/core/assignments.ts";
import { ScriptedKeeper } from "../../support/core/scripted-keeper.ts";

const v1 = service([revision(1)]);
const surge = service([revision(1), revision(2, "standby")]);
const shifted = service([revision(1, "draining"), revision(2)]);
const v2 = service([revision(2)]);

function endpoints(keeper: ScriptedKeeper): string[] {
  const versions = keeper.table?.services[0]?.versions ?? [];
  return versions.flatMap(({ version, weight, endpoints: list }) =>
    list.map(({ mode, port }) => `${version} ${mode} ${weight} ${port > 0 ? "up" : "?"}`),
  );
}
const states = (keeper: ScriptedKeeper): string[] =>
  keeper.core.instanceReports().map(({ version, state }) => `${version} ${state}`);
const slotOf = (keeper: ScriptedKeeper, version: string): number => {
  const id = keeper.core.instanceReports().find((one) => one.version === version)!.id;
  return keeper.core.slots.find("shop", version, id);
};

const fenceOf = (generation: number) => ({ epoch: 1, generation });

async function serving(keeper: ScriptedKeeper): Promise<void> {
  keeper.offer(assignment(1, [v1]));
  await keeper.settle(1_000);
  expect(states(keeper)).toEqual(["v1 serving"]);
}

test("applied is said only when every worker, a draining one too, routes by the table", async () => {
  using keeper = new ScriptedKeeper();
  await serving(keeper);
  keeper.serve(); // worker 2 serves, worker 1 drains
  keeper.autoApply = false;
  keeper.offer(assignment(2, [surge]));
  await keeper.settle(1_000);
  keeper.offer(assignment(3, [shifted]));
  await keeper.settle(1_000);
  const before = keeper.source.appliedList.at(-1);
  expect(before?.generation).toBe(2); // standby changes no table
  keeper.apply(2);
  await keeper.settle(500);
  expect(keeper.source.appliedList.at(-1)).toBe(before);
  keeper.apply(1);
  await keeper.settle();
  expect(keeper.source.appliedList.at(-1)).toEqual({
    epoch: 1,
    generation: 3,
    hash: assignment(3, [shifted]).hash,
    services: { shop: serviceHash(shifted) },
  });
});

// Found by chaos: a gateway's keeper was killed, its workers went on sending to a host that the next one had confirmed
// to be out of routing, and that was then restarted in place.
test("a gateway applies nothing while workers of a killed keeper route by what they last had; it serves meanwhile", async () => {
  using keeper = new ScriptedKeeper({ options: { role: "gateway" } });
  keeper.leftovers = true;
  keeper.rebirth();
  keeper.offer(assignment(1, [service([], { endpoints: [endpoint("h1")] })]));
  await keeper.settle(1_000);
  expect(keeper.table?.services[0]?.versions[0]?.endpoints).toHaveLength(1);
  expect(keeper.source.appliedList).toEqual([]);
  expect(readiness(keeper.core)).toEqual([]);
  keeper.tell({ type: "leftovers-gone" });
  await keeper.settle();
  expect(keeper.source.appliedList.map(({ generation }) => generation)).toEqual([1]);
});

test("nothing is applied before a worker accepts on the listeners", async () => {
  using keeper = new ScriptedKeeper();
  keeper.autoServe = false;
  keeper.offer(assignment(1, [v1]));
  await keeper.settle(1_000);
  expect(keeper.saidOf("generation")).toHaveLength(1);
  expect(keeper.source.appliedList).toEqual([]);
  keeper.serve();
  await keeper.settle();
  expect(keeper.source.appliedList).toHaveLength(1);
});

test("a version that is not ready gets no request, though it is to serve", async () => {
  using keeper = new ScriptedKeeper();
  await serving(keeper);
  keeper.sick.set(30_002, "503");
  keeper.offer(
    assignment(2, [service([revision(1, "serving", { weight: 5_000 }), revision(2, "serving", { weight: 5_000 })])]),
  );
  await keeper.settle(2_000);
  // It keeps its share: whose callers go to v1 meanwhile is for the workers, as it is with one that is gone for a moment.
  expect(endpoints(keeper)).toEqual(["v1 serving 5000 up"]);
  expect(keeper.core.instanceReports()[1]).toMatchObject({
    state: "starting",
    reason: "readiness: 503",
    healthySinceMs: 0,
  });
  keeper.sick.delete(30_002);
  await keeper.settle(1_000);
  expect(endpoints(keeper)).toEqual(["v1 serving 5000 up", "v2 serving 5000 up"]);
  expect(states(keeper)).toEqual(["v1 serving", "v2 serving"]);
});

test("I4: an assignment below the highest seen is refused, by the next core too", async () => {
  using keeper = new ScriptedKeeper();
  keeper.offer(assignment(7, [v1], 3));
  await keeper.settle(1_000);
  keeper.offer(assignment(9, [v2], 2));
  await keeper.settle();
  expect(keeper.source.rejectedList.at(-1)).toMatchObject({ epoch: 2, generation: 9 });
  keeper.restart();
  keeper.offer(assignment(6, [v2], 3));
  await keeper.settle(1_000);
  expect(keeper.source.rejectedList.at(-1)?.why).toContain("epoch 3, generation 7 has been seen");
  expect(states(keeper)).toEqual(["v1 serving"]);
});

test("the same assignment again is answered again, and changes nothing", async () => {
  using keeper = new ScriptedKeeper();
  await serving(keeper);
  const tables = keeper.saidOf("table").length;
  keeper.offer(assignment(1, [v1]));
  await keeper.settle(500);
  expect(keeper.source.appliedList).toHaveLength(2);
  expect(keeper.saidOf("table")).toHaveLength(tables);
  expect(keeper.saidOf("launch")).toHaveLength(1);
});

const listen = (port: number) => ({ listeners: [{ address: "127.0.0.1", port, protocol: "http" as const }] });
const api = service([revision(1)], { name: "api", ...listen(9_999) });
const web = service([revision(1)], { name: "web", ...listen(9_998) });
const hashes = (keeper: ScriptedKeeper): unknown => keeper.core.assignments.applied?.services;

test("a port in use keeps out the service that wants it, no other; once it is free, all is applied", async () => {
  using keeper = new ScriptedKeeper();
  await serving(keeper);
  keeper.refusePorts.add("127.0.0.1:9999");
  keeper.offer(assignment(2, [v1, web, api]));
  await keeper.settle(1_000);
  expect(keeper.source.rejectedList).toEqual([
    {
      ...fenceOf(2),
      hash: assignment(2, [v1, web, api]).hash,
      why: "127.0.0.1:9999: the port is in use by another process (EADDRINUSE)",
    },
  ]);
  expect(hashes(keeper)).toEqual({ shop: serviceHash(v1), web: serviceHash(web) });
  expect([...keeper.listeners.keys()]).toEqual(["127.0.0.1:8080", "127.0.0.1:9998"]);
  expect(keeper.core.incidents.list().at(-1)).toMatchObject({ kind: "bind_failed" });
  const told = keeper.core.incidents.list().length;
  await keeper.settle(11_000);
  expect(keeper.core.incidents.list()).toHaveLength(told);
  keeper.refusePorts.clear();
  await keeper.settle(6_000);
  expect(keeper.source.appliedList.at(-1)).toMatchObject({ ...fenceOf(2), services: { api: serviceHash(api) } });
  expect(keeper.source.rejectedList).toHaveLength(1);
});

test("a service that moves to a port in use goes on where it was, the others move on", async () => {
  using keeper = new ScriptedKeeper();
  keeper.offer(assignment(1, [v1, web]));
  await keeper.settle(1_000);
  keeper.refusePorts.add("127.0.0.1:9999");
  const moved = { ...v1, ...listen(9_999) };
  const later = { ...web, accepting: false };
  keeper.offer(assignment(2, [moved, later]));
  await keeper.settle(1_000);
  expect(keeper.source.rejectedList).toHaveLength(1);
  expect(hashes(keeper)).toEqual({ shop: serviceHash(v1), web: serviceHash(later) });
  keeper.restart();
  await keeper.settle(1_000);
  expect(hashes(keeper)).toEqual({ shop: serviceHash(v1), web: serviceHash(later) });
});

test("what was asked for since is not undone by a port that becomes free", async () => {
  using keeper = new ScriptedKeeper();
  await serving(keeper);
  keeper.refusePorts.add("127.0.0.1:9999");
  keeper.offer(assignment(2, [v1, api]));
  await keeper.settle(1_000);
  keeper.offer(assignment(3, [v1, web]));
  await keeper.settle(1_000);
  keeper.refusePorts.clear();
  await keeper.settle(20_000);
  expect(hashes(keeper)).toEqual({ shop: serviceHash(v1), web: serviceHash(web) });
  expect(keeper.source.appliedList.at(-1)?.generation).toBe(3);
});

test("a restart with a port in use: the others are served, and the one left out is not forgotten", async () => {
  using keeper = new ScriptedKeeper();
  await serving(keeper);
  keeper.offer(assignment(2, [v1, api]));
  await keeper.settle(1_000);
  keeper.refusePorts.add("127.0.0.1:9999");
  reboot(keeper);
  await keeper.settle(1_000);
  expect(hashes(keeper)).toEqual({ shop: serviceHash(v1) });
  keeper.refusePorts.clear();
  reboot(keeper);
  await keeper.settle(1_000);
  expect(hashes(keeper)).toEqual({ shop: serviceHash(v1), api: serviceHash(api) });
});

test("of a static file, a port in use refuses the whole", async () => {
  using keeper = new ScriptedKeeper({ options: { source: { kind: "static", files: ["shop.yaml"] } } });
  await serving(keeper);
  keeper.refusePorts.add("127.0.0.1:9999");
  keeper.offer(assignment(2, [v1, web, api]));
  await keeper.settle(1_000);
  expect(keeper.source.rejectedList[0]?.why).toContain("127.0.0.1:9999: the port is in use");
  expect([...keeper.listeners.keys()]).toEqual(["127.0.0.1:8080"]);
  expect(hashes(keeper)).toEqual({ shop: serviceHash(v1) });
  // Once it is free, the same generation may be offered again.
  keeper.refusePorts.clear();
  keeper.offer(assignment(2, [v1, web, api]));
  await keeper.settle(1_000);
  expect(keeper.source.appliedList.at(-1)?.generation).toBe(2);
});

test("what two services can't share is rejected with both names", async () => {
  using keeper = new ScriptedKeeper();
  keeper.offer(assignment(1, [v1, service([revision(1)], { name: "api" })]));
  await keeper.settle();
  expect(keeper.source.rejectedList[0]?.why).toBe(
    "services shop and api both answer for any hostname on 127.0.0.1:8080",
  );
});

test("a damaged assignment is rejected", async () => {
  using keeper = new ScriptedKeeper();
  keeper.offer({ ...assignment(1, [v1]), services: [v2] });
  await keeper.settle();
  expect(keeper.source.rejectedList[0]?.why).toContain("hash");
});

test("workers that refuse the table take the agent back to the assignment before", async () => {
  using keeper = new ScriptedKeeper();
  await serving(keeper);
  keeper.autoApply = false;
  keeper.offer(assignment(2, [v1, service([], { name: "api", listeners: [], endpoints: [endpoint("h2")] })]));
  await keeper.settle(100);
  const { sequence } = keeper.table!;
  keeper.tell({ type: "relayed", worker: 1, body: { kind: "rejected", sequence, why: "no such thing" } });
  await keeper.settle();
  expect(keeper.source.rejectedList[0]).toMatchObject({ generation: 2 });
  expect(keeper.table?.services.map(({ name }) => name)).toEqual(["shop"]);
  keeper.apply(1);
  await keeper.settle();
  expect(keeper.core.assignments.applied?.generation).toBe(1);
});

test("R14: SIGTERM is said only when nothing is in flight, SIGKILL only after its time", async () => {
  using keeper = new ScriptedKeeper();
  await serving(keeper);
  keeper.offer(assignment(2, [service([revision(1), revision(2)])]));
  await keeper.settle(1_000);
  const slot = slotOf(keeper, "v1");
  keeper.writeStats(1, { [slot]: { started: 5, inFlight: 1 } });
  keeper.offer(assignment(3, [v2]));
  await keeper.settle(3_000);
  expect(endpoints(keeper)).toEqual(["v1 draining 0 up", "v2 serving 10000 up"]);
  expect(states(keeper)).toEqual(["v1 draining", "v2 serving"]);
  expect(keeper.saidOf("kill")).toEqual([]);
  keeper.writeStats(1, { [slot]: { started: 5, inFlight: 0 } });
  await keeper.settle(300);
  expect(keeper.saidOf("kill").map(({ signal }) => signal)).toEqual(["SIGTERM"]);
  expect(states(keeper)).toEqual(["v1 stopping", "v2 serving"]);
  await keeper.settle(1_500);
  expect(keeper.saidOf("kill")).toHaveLength(1);
  await keeper.settle(600); // killMs is 2 s
  expect(keeper.saidOf("kill").map(({ signal }) => signal)).toEqual(["SIGTERM", "SIGKILL"]);
  expect(states(keeper)).toEqual(["v1 stopped", "v2 serving"]);
});

test("R5: an instance is not stopped while one worker may still send to it", async () => {
  using keeper = new ScriptedKeeper();
  await serving(keeper);
  keeper.offer(assignment(2, [service([revision(1), revision(2)])]));
  await keeper.settle(1_000);
  keeper.autoApply = false;
  keeper.offer(assignment(3, [v2]));
  await keeper.settle(5_000);
  expect(keeper.saidOf("kill")).toEqual([]);
  keeper.apply(1);
  await keeper.settle(300);
  expect(keeper.saidOf("kill")).toHaveLength(1);
});

test("the drain's deadline ends what does not finish, unless the policy asks to wait", async () => {
  for (const onTimeout of ["cut", "pause"] as const) {
    using keeper = new ScriptedKeeper();
    const { drain } = v1;
    const patient = service([revision(1)], { drain: { ...drain, onTimeout } });
    keeper.offer(assignment(1, [patient]));
    await keeper.settle(1_000);
    keeper.writeStats(1, { [slotOf(keeper, "v1")]: { started: 1, inFlight: 1 } });
    keeper.offer(assignment(2, [{ ...patient, revisions: [] }]));
    await keeper.settle(10_500);
    expect(keeper.saidOf("kill")).toEqual([]);
    await keeper.settle(1_000);
    expect(keeper.saidOf("kill")).toHaveLength(onTimeout === "cut" ? 1 : 0);
  }
});

test("an abort takes a draining instance back instead of starting another", async () => {
  using keeper = new ScriptedKeeper();
  await serving(keeper);
  keeper.offer(assignment(2, [service([revision(1), revision(2)])]));
  await keeper.settle(1_000);
  keeper.writeStats(1, { [slotOf(keeper, "v1")]: { inFlight: 1 } });
  keeper.offer(assignment(3, [v2]));
  await keeper.settle(1_000);
  expect(states(keeper)[0]).toBe("v1 draining");
  keeper.offer(assignment(4, [v1]));
  await keeper.settle(1_000);
  expect(states(keeper)[0]).toBe("v1 serving");
  expect(keeper.saidOf("launch").filter(({ process }) => process.env["BATON_VERSION"] === "v1")).toHaveLength(1);
});

test("a crash is restarted with growing, jittered backoff, counted, and its exit told", async () => {
  using keeper = new ScriptedKeeper();
  await serving(keeper);
  const delays: number[] = [];
  for (let crash = 1; crash <= 4; crash++) {
    keeper.exitProcess(keeper.running("v1").spec.id, 3);
    await keeper.settle();
    expect(states(keeper)).toEqual(["v1 failed"]);
    expect(endpoints(keeper)).toEqual([]);
    const from = keeper.clock.monotonic();
    while (keeper.saidOf("launch").length === crash) await keeper.settle(50);
    delays.push(keeper.clock.monotonic() - from);
    await keeper.settle(1_000);
  }
  expect(delays[0]).toBeLessThanOrEqual(550);
  expect(delays[3]).toBeGreaterThan(delays[0]! * 2);
  const [report] = keeper.core.instanceReports();
  expect(report).toMatchObject({ state: "serving", restarts: 4, exit: { code: 3, signal: null } });
  expect(keeper.core.incidents.list().filter(({ kind }) => kind === "instance_exited")).toHaveLength(4);
});

test("a command that can't be executed is the instance's failure, and no rejection", async () => {
  using keeper = new ScriptedKeeper();
  keeper.offer(assignment(1, [v1]));
  await keeper.settle(10);
  const process = keeper.running("v1");
  keeper.tell({
    type: "process",
    process: { ...process, pid: 0, error: "can't execute ./server: no such file (ENOENT)" },
  });
  await keeper.settle(10);
  expect(keeper.core.instanceReports()[0]).toMatchObject({
    state: "failed",
    reason: "can't execute ./server: no such file (ENOENT)",
  });
  expect(keeper.source.rejectedList).toEqual([]);
});

test("panic: failing readiness everywhere does not leave everybody with 503, a dead process does", async () => {
  using keeper = new ScriptedKeeper();
  keeper.offer(assignment(1, [service([revision(1, "serving", { run: run({ count: 2 }) })])]));
  await keeper.settle(1_000);
  expect(endpoints(keeper)).toHaveLength(2);
  keeper.sick.set(30_001, "503");
  await keeper.settle(5_000);
  expect(endpoints(keeper)).toHaveLength(1);
  keeper.sick.set(30_002, "503");
  await keeper.settle(5_000);
  expect(endpoints(keeper)).toHaveLength(2);
  expect(states(keeper)).toEqual(["v1 starting", "v1 starting"]);
  keeper.exitProcess(keeper.running("v1").spec.id, 1);
  await keeper.settle();
  expect(endpoints(keeper)).toHaveLength(1);
});

test("liveness restarts a hung instance, and takes it out first", async () => {
  using keeper = new ScriptedKeeper();
  const both = health({ liveness: probe({ path: "/livez", unhealthyThreshold: 2 }) });
  keeper.offer(assignment(1, [service([revision(1, "serving", { health: both })])]));
  await keeper.settle(1_000);
  keeper.sick.set(30_001, "no answer in 1s");
  await keeper.settle(3_500);
  expect(keeper.saidOf("kill")[0]).toMatchObject({ signal: "SIGTERM" });
  expect(endpoints(keeper)).toEqual([]);
  expect(keeper.core.instanceReports()[0]).toMatchObject({ state: "failed", reason: "liveness: no answer in 1s" });
  keeper.sick.clear();
  await keeper.settle(4_000); // killMs, then backoff
  expect(states(keeper)).toEqual(["v1 serving"]);
});

test("R6: an endpoint that traffic failed on is probed at once, and one failure is enough", async () => {
  using keeper = new ScriptedKeeper();
  keeper.offer(assignment(1, [service([revision(1, "serving", { run: run({ count: 2 }) })])]));
  await keeper.settle(1_000);
  keeper.sick.set(30_001, "connection refused");
  const { id } = keeper.core.instanceReports()[0]!;
  keeper.tell({ type: "relayed", worker: 1, body: { kind: "endpoint-failed", endpoint: id, error: "ECONNREFUSED" } });
  await keeper.settle(1);
  expect(endpoints(keeper)).toHaveLength(1);
});

test("the next core finds instances, slots and workers as they were, and empties no table", async () => {
  using keeper = new ScriptedKeeper();
  await serving(keeper);
  const before = keeper.core.instanceReports()[0]!;
  const [listeners, services] = [keeper.table!.listeners, keeper.table!.services];
  const seq = keeper.core.report().seq;
  keeper.restart();
  await keeper.settle(1);
  expect(keeper.saidOf("launch")).toEqual([]);
  expect(keeper.saidOf("kill")).toEqual([]);
  expect(keeper.saidOf("generation")).toEqual([]);
  for (const { table } of keeper.saidOf("table")) expect(table).toMatchObject({ listeners, services });
  const after = keeper.core.instanceReports()[0]!;
  expect([after.id, after.pid, after.port, after.state]).toEqual([before.id, before.pid, before.port, "serving"]);
  expect(keeper.core.report().seq).toBeGreaterThan(seq);
  expect(keeper.core.incidents.list().map(({ kind }) => kind)).toEqual(["core_started"]);
  expect(keeper.source.appliedList).toHaveLength(1);
});

test("an instance that died while there was no core is started again by the next", async () => {
  using keeper = new ScriptedKeeper();
  await serving(keeper);
  keeper.core.close();
  const process = keeper.running("v1");
  keeper.processes.set(process.spec.id, {
    ...process,
    exit: { code: null, signal: "SIGSEGV", atMs: keeper.clock.now() },
  });
  keeper.start();
  await keeper.settle(10);
  expect(keeper.core.instanceReports()[0]).toMatchObject({ state: "failed", exit: { code: null, signal: "SIGSEGV" } });
  await keeper.settle(1_500);
  expect(states(keeper)).toEqual(["v1 serving"]);
});

test("a core that died between noting and asking for a generation does not leave a listener without workers", async () => {
  using keeper = new ScriptedKeeper();
  keeper.autoServe = false;
  keeper.offer(assignment(1, [v1]));
  await keeper.settle(100);
  keeper.restart(); // the keeper never heard of the generation
  keeper.autoServe = true;
  keeper.offer(assignment(1, [v1]));
  await keeper.settle(1_000);
  expect(keeper.source.appliedList).toHaveLength(1);
});

test("a killed worker's counts stay, what it had in flight is lost by name, and nothing is counted twice", async () => {
  using keeper = new ScriptedKeeper();
  await serving(keeper);
  const slot = slotOf(keeper, "v1");
  keeper.writeStats(1, { [slot]: { started: 10, completed: 6, inFlight: 4 } });
  const shop = () => keeper.core.report().traffic.find(({ endpoint: id }) => id !== "")!;
  expect(shop()).toMatchObject({ started: 10, inFlight: 4 });
  keeper.serve();
  keeper.endWorker(1, true);
  await keeper.settle();
  expect(keeper.saidOf("taken")).toEqual([{ type: "taken", worker: 1 }]);
  const lost = [...shop().lost];
  expect(shop()).toMatchObject({ started: 10, completed: 6, inFlight: 0 });
  expect(lost.reduce((sum, count) => sum + count, 0)).toBe(4);
  expect(keeper.core.incidents.list().at(-1)?.message).toMatch(
    /^worker 1 was killed by SIGKILL; cut: 4 in flight on shop v1 shop-r1-0-/,
  );
  keeper.writeStats(2, { [slot]: { started: 3, completed: 3 } });
  expect(shop()).toMatchObject({ started: 13, completed: 9 });
  // The core died before the keeper took the file away: the next one meets it again.
  keeper.dead.set(1, {
    id: 1,
    generation: 1,
    statsFile: `${keeper.folder}/stats/worker-1`,
    exit: { code: null, signal: "SIGKILL", atMs: 0 },
    died: true,
  });
  keeper.restart();
  await keeper.settle();
  expect(shop()).toMatchObject({ started: 13, completed: 9 });
  expect(keeper.saidOf("taken")).toEqual([{ type: "taken", worker: 1 }]);
});

test("the agent's restart brings the last good assignment back, on the same ports, with no controller", async () => {
  using keeper = new ScriptedKeeper();
  const assigned = service([revision(1)], { listeners: [{ address: "127.0.0.1", port: 0, protocol: "http" }] });
  keeper.offer(assignment(4, [assigned], 2));
  await keeper.settle(1_000);
  const { port } = keeper.core.report().endpoints[0]!;
  reboot(keeper);
  await keeper.settle(1_000);
  expect(keeper.core.assignments.applied).toMatchObject({ epoch: 2, generation: 4 });
  expect(keeper.core.report().endpoints).toMatchObject([{ service: "shop", listener: 0, port }]);
  // Taken by somebody else meanwhile: another one, and said so.
  reboot(keeper);
  keeper.refusePorts.add(`127.0.0.1:${port}`);
  await keeper.settle(1_000);
  expect(keeper.core.report().endpoints[0]?.port).not.toBe(port);
  expect(keeper.core.incidents.list()[0]?.message).toContain("shop now listens on");
});

test("a damaged last-good file is set aside and named, and the agent goes on without it", async () => {
  using keeper = new ScriptedKeeper();
  await serving(keeper);
  keeper.files.content.set(`${keeper.folder}/assignment.json`, "damaged");
  reboot(keeper);
  await keeper.settle(100);
  expect(keeper.files.aside).toEqual([`${keeper.folder}/assignment.json`]);
  expect(keeper.core.incidents.list()[0]).toMatchObject({ kind: "state_set_aside" });
  expect(keeper.core.assignments.current).toBeNull();
  keeper.offer(assignment(2, [v1]));
  await keeper.settle(1_000);
  expect(states(keeper)).toEqual(["v1 serving"]);
});

test("a full disk stops nothing that is live", async () => {
  using keeper = new ScriptedKeeper();
  keeper.files.full = true;
  await serving(keeper);
  expect(keeper.source.appliedList).toHaveLength(1);
});

test("C8: what a full disk did not take is applied all the same, and kept as soon as there is room", async () => {
  using keeper = new ScriptedKeeper();
  await serving(keeper);
  keeper.files.full = true;
  const next = assignment(2, [service([revision(2)])]);
  keeper.offer(next);
  await keeper.settle(1_000);
  expect(keeper.source.appliedList.at(-1)).toMatchObject({ generation: 2 });
  const kept = (): string => keeper.files.content.get(`${keeper.folder}/assignment.json`) ?? "";
  expect(kept()).not.toContain(next.hash);
  keeper.files.full = false;
  await keeper.settle(6_000);
  expect(kept()).toContain(next.hash);
  // I4 over a restart, too: the fence is written with it.
  reboot(keeper);
  await keeper.settle(1_000);
  expect(keeper.core.assignments.applied).toMatchObject({ generation: 2 });
  keeper.offer(assignment(1, [v1]));
  await keeper.settle(1_000);
  expect(keeper.source.rejectedList.at(-1)?.why).toContain("out of date");
});

test("a listener that is no longer wanted is given up only after the table without it is live", async () => {
  using keeper = new ScriptedKeeper();
  await serving(keeper);
  keeper.autoApply = false;
  const moved = service([revision(1)], { listeners: [{ address: "127.0.0.1", port: 8_081, protocol: "http" }] });
  keeper.offer(assignment(2, [moved]));
  await keeper.settle(1_000);
  expect(keeper.saidOf("unbind")).toEqual([]);
  for (const id of keeper.workers.keys()) keeper.apply(id);
  await keeper.settle();
  expect(keeper.saidOf("unbind")).toEqual([{ type: "unbind", names: ["127.0.0.1:8080"] }]);
  expect(keeper.saidOf("generation")).toHaveLength(3); // first, for the new listener, without the old one
});

test("SIGTERM: not ready at once, still serving, then the keeper may drain", async () => {
  using keeper = new ScriptedKeeper();
  await serving(keeper);
  keeper.writeStats(1, { [slotOf(keeper, "v1")]: { inFlight: 1 } });
  keeper.tell({ type: "stopping", signal: "SIGTERM" });
  await keeper.settle(100);
  expect(keeper.saidOf("stopping")).toHaveLength(1);
  expect(keeper.table?.services[0]?.accepting).toBe(false);
  expect(endpoints(keeper)).toEqual(["v1 serving 10000 up"]);
  expect(keeper.saidOf("shutdown")).toEqual([]);
  await keeper.settle(1_500);
  expect(keeper.saidOf("shutdown")).toEqual([{ type: "shutdown", code: 0 }]);
  // The keeper ends the apps now: that is no crash.
  keeper.exitProcess(keeper.running("v1").spec.id, 0);
  await keeper.settle(5_000);
  expect(keeper.saidOf("launch")).toHaveLength(1);
  expect(keeper.core.incidents.list()).toEqual([]);
});

test("a process that no record explains is ended: it must not run beside its successor", async () => {
  using keeper = new ScriptedKeeper();
  await serving(keeper);
  keeper.files.content.set(`${keeper.folder}/memory.json`, "damaged");
  keeper.restart();
  await keeper.settle(1_000);
  expect(keeper.saidOf("kill")[0]).toMatchObject({ signal: "SIGKILL" });
  expect(states(keeper)).toEqual(["v1 serving"]);
});

test("a gateway routes to hosts, and a draining host gets nothing new", async () => {
  using keeper = new ScriptedKeeper();
  const gateway = service([], { endpoints: [endpoint("h1"), endpoint("h2", { mode: "draining" })] });
  keeper.offer(assignment(1, [gateway]));
  await keeper.settle(500);
  expect(keeper.table?.services[0]?.versions).toMatchObject([
    {
      version: "",
      weight: 10_000,
      endpoints: [
        { id: "h1", kind: "agent", mode: "serving" },
        { id: "h2", mode: "draining" },
      ],
    },
  ]);
});

/** The whole agent ends and is started again: a new keeper, nothing running. */
function reboot(keeper: ScriptedKeeper): void {
  keeper.core.close();
  for (const held of [keeper.listeners, keeper.workers, keeper.processes, keeper.dead, keeper.applied]) held.clear();
  keeper.table = null;
  keeper.boot = `${keeper.boot}+`;
  keeper.said.length = 0;
  keeper.start();
}
