import { writeFileSync } from "node:fs";
import { request as httpRequest } from "node:http";
import { join } from "node:path";
import { status } from "@grpc/grpc-js";
import { describe, expect, test } from "vitest";
import { LIMITS } from "../../../proto/contract/limits.ts";
import type { Event, RolloutView } from "../../../proto/gen/baton/v1/operator.ts";
import { Api, Client, Folder, inProcess, shopDocument } from "../../support/control.ts";
import { FakeAgent } from "../../support/fake-agent.ts";
import { until } from "../../support/processes.ts";
import { traffic } from "../../support/samples.ts";

async function small(state: string, options: { readonly gateway?: boolean } = {}) {
  const control = await inProcess(state);
  const controller = control.controller.grpc;
  const host = new FakeAgent({ controller, host: "host-1" });
  const gateway = options.gateway === true ? new FakeAgent({ controller, host: "gateway-1", role: "gateway" }) : null;
  await until("the agents have been welcomed", () => host.welcomes.length > 0 && gateway?.welcomes.length !== 0);
  return {
    ...{ control, client: control.client, host, gateway },
    async [Symbol.asyncDispose]() {
      await host[Symbol.asyncDispose]();
      await gateway?.[Symbol.asyncDispose]();
      await control[Symbol.asyncDispose]();
    },
  };
}

const refusal = (code: status, details: RegExp): unknown =>
  expect.objectContaining({ code, details: expect.stringMatching(details) as unknown });

test("a list of hosts that is longer than a session's message comes whole", async () => {
  using state = new Folder();
  await using control = await inProcess(state.path);
  const long = (n: number): string => `label-${n}`.padEnd(LIMITS.nameLength, "x");
  const labels = Object.fromEntries(Array.from({ length: LIMITS.labels }, (_, n) => [long(n), long(n)]));
  const agents = Array.from(
    { length: Math.ceil(LIMITS.messageBytes / (LIMITS.labels * LIMITS.nameLength * 2)) },
    (_, n) => {
      return new FakeAgent({ controller: control.controller.grpc, host: `host-${n}`, labels });
    },
  );
  const listed = async (): Promise<number> => (await control.client.call(Api.listHosts, {})).hosts.length;
  await until("all are listed", async () => (await listed()) === agents.length);
  for (const agent of agents) await agent[Symbol.asyncDispose]();
});

describe("apply", () => {
  test("every problem of every document comes back with file, line and column, and nothing is stored", async () => {
    using state = new Folder();
    await using all = await small(state.path);
    const bad = shopDocument("v1").replace("maxSurge", "maxSurg").replace("timeout: 100ms", "timeout: soon");
    const failed = all.client.apply(bad);
    await expect(failed).rejects.toEqual(refusal(status.INVALID_ARGUMENT, /^shop\.yaml:\d+:\d+: /));
    await expect(failed).rejects.toEqual(refusal(status.INVALID_ARGUMENT, /did you mean maxSurge\?/));
    await expect(failed).rejects.toEqual(refusal(status.INVALID_ARGUMENT, /\n/));
    expect((await all.client.call(Api.listServices, {})).services).toEqual([]);
  });

  test("a dry run stores nothing; the same document twice is unchanged; a changed one is the next revision", async () => {
    using state = new Folder();
    await using all = await small(state.path);
    const dry = await all.client.apply(shopDocument("v1"), { dryRun: true });
    expect(dry.results).toMatchObject([{ outcome: "created", revision: 1, rollout: "" }]);
    expect((await all.client.call(Api.listServices, {})).services).toEqual([]);
    await all.client.apply(shopDocument("v1"));
    await all.client.rolloutWhen("v1 is out", (v) => v.ended);
    const again = await all.client.apply(shopDocument("v1"));
    expect(again.results).toMatchObject([{ outcome: "unchanged", revision: 1, rollout: "" }]);
    const next = await all.client.apply(shopDocument("v2"), { deploy: false });
    expect(next.results).toMatchObject([{ outcome: "configured", revision: 2, rollout: "" }]);
    const { revisions } = await all.client.call(Api.getService, { name: "shop" });
    expect(revisions.map((r) => r.version)).toEqual(["v1", "v2"]);
    expect(revisions[1]!.document).toContain("version: v2");
  });

  test("a second service on the first one's listener is refused with where and why", async () => {
    using state = new Folder();
    await using all = await small(state.path);
    await all.client.apply(shopDocument("v1"));
    await expect(all.client.apply(shopDocument("v1", { name: "cart" }))).rejects.toEqual(
      refusal(status.INVALID_ARGUMENT, /^shop\.yaml:\d+:1: spec\.listen\[0\]: service shop already takes/),
    );
  });
});

describe("rollouts by command", () => {
  test("deploy, undo, retry and what refuses them", async () => {
    using state = new Folder();
    await using all = await small(state.path);
    const { client, host } = all;
    const actor = "ann";
    await expect(client.call(Api.getService, { name: "shpo" })).rejects.toEqual(
      refusal(status.NOT_FOUND, /^no service shpo; there are no services yet$/),
    );
    await client.apply(shopDocument("v1"));
    await client.rolloutWhen("v1 is out", (v) => v.ended);
    await expect(client.call(Api.getService, { name: "shpo" })).rejects.toEqual(
      refusal(status.NOT_FOUND, /did you mean shop\?/),
    );
    await expect(client.call(Api.undo, { service: "shop", toRevision: 0, actor })).rejects.toEqual(
      refusal(status.FAILED_PRECONDITION, /no stable revision before/),
    );
    await client.apply(shopDocument("v2"), { deploy: false });
    const deployed = await client.call(Api.deploy, { service: "shop", version: "v2", revision: 0, actor });
    expect(deployed).toMatchObject({ toVersion: "v2", ended: false });
    expect(deployed.transitions[0]).toMatchObject({ actor });
    await expect(client.call(Api.retry, { service: "shop", reason: "", actor })).rejects.toEqual(
      refusal(status.FAILED_PRECONDITION, /is under way; `baton rollout status shop`/),
    );
    // A pipeline that is run twice gets the rollout that does it.
    const again = await client.call(Api.deploy, { service: "shop", version: "v2", revision: 0, actor });
    expect(again.id).toBe(deployed.id);
    await client.rolloutWhen("v2 is out", (v) => v.ended);
    await expect(client.call(Api.deploy, { service: "shop", version: "v2", revision: 0, actor })).rejects.toEqual(
      refusal(status.FAILED_PRECONDITION, /^shop serves v2 \(r2\) already; `baton rollout history shop`/),
    );
    await expect(client.call(Api.deploy, { service: "shop", version: "v9", revision: 0, actor })).rejects.toEqual(
      refusal(status.NOT_FOUND, /has no version v9; it has v1 \(revision 1\), v2 \(revision 2\)/),
    );
    await client.call(Api.undo, { service: "shop", toRevision: 0, actor });
    const undone = await client.rolloutWhen("it is undone", (v) => v.ended && v.toVersion === "v1");
    expect(undone.stage).toBe("Succeeded");
    await until("v1 alone runs", () => host.instances.length === 1 && host.instances[0]?.version === "v1");
  });

  test("the same document deployed again is rolled out unless it is served, and joins what is under way", async () => {
    using state = new Folder();
    await using all = await small(state.path);
    const { client, host } = all;
    const v2 = shopDocument("v2", { healthyDeadline: "1s" });
    await client.apply(shopDocument("v1"));
    await client.rolloutWhen("v1 is out", (v) => v.ended);
    expect((await client.apply(shopDocument("v1"))).results).toMatchObject([
      { outcome: "unchanged", revision: 1, rollout: "" },
    ]);
    host.neverReady.add("v2");
    const [first] = (await client.apply(v2)).results;
    const [joined] = (await client.apply(v2)).results;
    expect(joined).toMatchObject({ outcome: "unchanged", revision: 2, rollout: first?.rollout });
    await expect(client.apply(shopDocument("v1"))).rejects.toEqual(
      refusal(status.FAILED_PRECONDITION, /is moving shop away from v1; `baton rollout abort shop` goes back/),
    );
    await client.rolloutWhen("v2 is taken back", (v) => v.ended && v.stage === "RolledBack");
    // What the service rests on gets no new number, whatever is stored since.
    expect((await client.apply(shopDocument("v1"))).results).toMatchObject([{ revision: 1, rollout: "" }]);
    host.neverReady.delete("v2");
    expect((await client.apply(v2, { deploy: false })).results).toMatchObject([{ revision: 2, rollout: "" }]);
    const [retried] = (await client.apply(v2)).results;
    expect(retried).toMatchObject({ outcome: "unchanged", revision: 2 });
    expect(retried?.rollout).not.toMatch(new RegExp(`^(${first?.rollout ?? ""})?$`));
    await client.rolloutWhen("v2 is out", (v) => v.ended && v.id === retried?.rollout && v.stage === "Succeeded");
    await client.call(Api.undo, { service: "shop", toRevision: 0, actor: "ann" });
    await client.rolloutWhen("it is undone", (v) => v.ended && v.toVersion === "v1");
    const [again] = (await client.apply(v2)).results;
    expect(again).toMatchObject({ outcome: "unchanged", revision: 2, rollout: expect.stringMatching(/./) as unknown });
    await client.rolloutWhen("v2 is out again", (v) => v.ended && v.id === again?.rollout && v.stage === "Succeeded");
  });

  test("pause holds, resume goes on; a newer deploy supersedes", async () => {
    using state = new Folder();
    await using all = await small(state.path);
    const { client, host } = all;
    await client.apply(shopDocument("v1"));
    await client.rolloutWhen("v1 is out", (v) => v.ended);
    host.neverReady.add("v2");
    await client.apply(shopDocument("v2", { healthyDeadline: "20s", progressDeadline: "30s" }));
    const said = { service: "shop", reason: "lunch", actor: "ann" };
    const paused = await client.call(Api.pause, said);
    expect(paused).toMatchObject({ phase: "Paused", reason: "Manual", exitCode: 3 });
    await expect(client.call(Api.pause, said)).rejects.toEqual(
      refusal(status.FAILED_PRECONDITION, /is paused already; `baton rollout resume shop`/),
    );
    expect(await client.call(Api.resume, said)).toMatchObject({ phase: "Progressing" });
    const old = await client.rollout();
    await until("v2 starts", () => host.instances.some((instance) => instance.version === "v2"));
    await client.apply(shopDocument("v3"));
    // What the superseded rollout left is there for a while, and shown.
    const [now] = (await client.call(Api.listRollouts, { service: "shop" })).rollouts;
    expect(now?.versions.map(({ version }) => version)).toEqual(["v1", "v2", "v3"]);
    const view = await client.rolloutWhen("v3 is out", (v) => v.ended && v.toVersion === "v3");
    expect(view.stage).toBe("Succeeded");
    const was = await client.call(Api.getRollout, { service: "", rollout: old.id });
    expect(was).toMatchObject({ stage: "Superseded", phase: "Degraded", exitCode: 6, ended: true });
    const { rollouts } = await client.call(Api.listRollouts, { service: "shop" });
    expect(rollouts.map(({ toVersion }) => toVersion)).toEqual(["v3", "v2", "v1"]);
    await until("v3 alone runs", () => host.instances.length === 1 && host.instances[0]?.version === "v3");
  });

  test("a host is drained and taken back", async () => {
    using state = new Folder();
    await using all = await small(state.path);
    const { client, host } = all;
    await client.apply(shopDocument("v1"));
    await client.rolloutWhen("v1 is out", (v) => v.ended);
    await expect(client.call(Api.drain, { host: "hots-1", actor: "" })).rejects.toEqual(
      refusal(status.NOT_FOUND, /did you mean host-1\?/),
    );
    expect(await client.call(Api.drain, { host: "host-1", actor: "ann" })).toMatchObject({ adminState: "drain" });
    await until("it takes nothing new", () => host.service("shop")?.accepting === false);
    await client.call(Api.undrain, { host: "host-1", actor: "ann" });
    await until("it takes traffic again", () => host.service("shop")?.accepting === true);
  });

  test("a service is deleted from the gateway first, then from the host, then forgotten; it may come again", async () => {
    using state = new Folder();
    await using all = await small(state.path, { gateway: true });
    const { client, host, gateway } = all;
    await client.apply(shopDocument("v1"));
    await client.rolloutWhen("v1 is out", (v) => v.ended);
    await until("the gateway sends to it", () => gateway?.service("shop")?.endpoints.length === 1);
    gateway!.traffic = [traffic("host-1", { inFlight: 3, started: 3 })];
    gateway!.report();
    await client.call(Api.deleteService, { name: "shop" });
    await until("the gateway has let go", () => gateway?.services.length === 0);
    expect(await client.call(Api.getService, { name: "shop" })).toMatchObject({ phase: "Deleting" });
    expect(host.services).toHaveLength(1);
    await until("the host has let go", () => host.services.length === 0);
    await until("it is forgotten", async () => (await client.call(Api.listServices, {})).services.length === 0);
    await client.apply(shopDocument("v1"));
    expect(await client.rolloutWhen("v1 is out again", (v) => v.ended)).toMatchObject({ stage: "Succeeded" });
  });
});

describe("the ledger over the wire", () => {
  test("an unexplained loss at the edge halts the rollout; the explained one does not", async () => {
    using state = new Folder();
    await using all = await small(state.path, { gateway: true });
    const { client, host, gateway } = all;
    await client.apply(shopDocument("v1"));
    await client.rolloutWhen("v1 is out", (v) => v.ended);
    host.neverReady.add("v2");
    await client.apply(shopDocument("v2", { healthyDeadline: "20s", progressDeadline: "30s" }));
    await client.rolloutWhen("it is under way", (v) => v.stage === "Step");

    host.incident("worker_died", "", "worker 1 was killed (SIGKILL)");
    host.report();
    gateway!.traffic = [traffic("host-1", { started: 10, completed: 8, lost: { response_cut: 2 } })];
    const explained = await client.rolloutWhen("it is explained", (v) => v.ledger?.notes.length === 1);
    expect(explained.ledger).toMatchObject({
      edge: "gateway",
      requests: 10n,
      carried: 8n,
      lostTotal: 2n,
      unexplained: 0n,
    });
    expect(explained.ledger?.notes[0]?.explanation).toBe("host-1: worker 1 was killed (SIGKILL)");
    expect(explained.phase).toBe("Progressing");

    gateway!.traffic = [traffic("host-1", { started: 12, completed: 9, lost: { response_cut: 2, internal: 1 } })];
    const halted = await client.rolloutWhen("it is halted", (v) => v.phase === "Paused");
    expect(halted).toMatchObject({ reason: "UnexplainedLoss", ledger: { lostTotal: 3n, unexplained: 1n } });
    const service = await client.call(Api.getService, { name: "shop" });
    expect(service.ledger).toMatchObject({ requests: 12n, lost: { response_cut: 2n, internal: 1n } });
  });
});

describe("streams", () => {
  test("a watch shows the rollout change, at most every 200 ms, and ends with it", async () => {
    using state = new Folder();
    await using all = await small(state.path);
    await all.client.apply(shopDocument("v1", { minHealthyTime: "600ms" }));
    const seen: { readonly view: RolloutView; readonly at: number }[] = [];
    const stream = all.client.stream(Api.watchRollout, { service: "shop", rollout: "" });
    for await (const view of stream as AsyncIterable<RolloutView>) seen.push({ view, at: performance.now() });
    expect(seen.length).toBeGreaterThan(1);
    expect(seen.at(-1)!.view).toMatchObject({ ended: true, stage: "Succeeded" });
    expect(seen.slice(0, -1).every(({ view }) => !view.ended)).toBe(true);
    const gaps = seen.slice(1).map(({ at }, i) => at - seen[i]!.at);
    expect(Math.min(...gaps)).toBeGreaterThan(100);
  });

  test("events are followed without a gap from any number on, until the client goes", async () => {
    using state = new Folder();
    await using all = await small(state.path);
    await all.client.apply(shopDocument("v1"));
    await all.client.rolloutWhen("v1 is out", (v) => v.ended);
    const seen: Event[] = [];
    const stream = all.client.stream(Api.events, { afterSeq: 1n, follow: true, service: "", limit: 1_000 });
    stream.on("data", (event: Event) => seen.push(event)).on("error", () => undefined);
    await until("the past is there", () => seen.some((event) => event.kind === "rollout_started"));
    await all.client.call(Api.drain, { host: "host-1", actor: "ann" });
    await until("the present is there", () =>
      seen.some((event) => event.kind === "host_drained" && event.actor === "ann"),
    );
    stream.cancel();
    const numbers = seen.map((event) => Number(event.seq));
    expect(numbers).toEqual(numbers.map((_, i) => i + 2));
  });

  test("a watch of what is not there is refused", async () => {
    using state = new Folder();
    await using all = await small(state.path);
    const stream = all.client.stream(Api.watchRollout, { service: "shop", rollout: "" });
    await expect(Array.fromAsync(stream as AsyncIterable<RolloutView>)).rejects.toEqual(
      refusal(status.NOT_FOUND, /^no service shop/),
    );
  });
});

describe("tokens", () => {
  test("operators and agents each need their own; health is asked without", async () => {
    using state = new Folder();
    const files = { agent: "a".repeat(20), operator: "o".repeat(20) };
    for (const [name, token] of Object.entries(files)) writeFileSync(join(state.path, name), `${token}\n`);
    await using control = await inProcess(
      state.path,
      { agentTokenFile: join(state.path, "agent"), operatorTokenFile: join(state.path, "operator") },
      files.operator,
    );
    const address = control.controller.grpc;
    expect(await control.client.call(Api.getInfo, {})).toMatchObject({ software: "test", epoch: 1n });
    for (const token of [undefined, files.agent, `${files.operator}x`, ""]) {
      using client = new Client(address, token);
      await expect(client.call(Api.getInfo, {})).rejects.toEqual(refusal(status.UNAUTHENTICATED, /--token-file/));
      const stream = client.stream(Api.events, { afterSeq: 0n, follow: true, service: "", limit: 0 });
      await expect(Array.fromAsync(stream as AsyncIterable<Event>)).rejects.toMatchObject({
        code: status.UNAUTHENTICATED,
      });
    }
    await using stranger = new FakeAgent({ controller: address, host: "host-1", token: files.operator });
    await until("it is turned away", () => stranger.ends.includes("this controller asks agents for a token"));
    expect(stranger.welcomes).toEqual([]);
    await using friend = new FakeAgent({ controller: address, host: "host-1", token: files.agent });
    await until("it is welcomed", () => friend.welcomes.length > 0);
  });
});

describe("sessions at the edge", () => {
  test("another protocol version, a name that is none and a missing hello are told why", async () => {
    using state = new Folder();
    await using control = await inProcess(state.path);
    const controller = control.controller.grpc;
    await using newer = new FakeAgent({ controller, host: "host-1", hello: { protocolVersion: 2 } });
    await until("it is told", () => newer.ends.includes("agent host-1 speaks protocol 2, this controller 1"));
    await using nameless = new FakeAgent({ controller, host: "Host 1" });
    await until("it is told", () => nameless.ends.some((why) => /a message breaks the protocol: host: /.test(why)));
    expect((await control.client.call(Api.listHosts, {})).hosts).toEqual([]);
  });
});

test("HTTP answers health, readiness and metrics, and nothing else", async () => {
  using state = new Folder();
  await using all = await small(state.path);
  await all.client.apply(shopDocument("v1"));
  await all.client.rolloutWhen("v1 is out", (v) => v.ended);
  const get = (path: string, method = "GET"): Promise<{ readonly code: number; readonly text: string }> =>
    new Promise((resolve, reject) => {
      httpRequest(`http://${all.control.controller.http}${path}`, { method }, (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (part: string) => (text += part));
        response.on("end", () => resolve({ code: response.statusCode ?? 0, text }));
      })
        .on("error", reject)
        .end();
    });
  expect(await get("/healthz")).toEqual({ code: 200, text: "ok\n" });
  expect(await get("/readyz")).toEqual({ code: 200, text: "ready\n" });
  const { text } = await get("/metrics");
  expect(text).toContain('baton_control_rollouts{phase="Healthy"} 1');
  expect(text).toContain('baton_control_hosts{role="host",lease="live"} 1');
  expect(text).toMatch(/baton_control_reconcile_seconds_count [1-9]/);
  expect((await get("/")).code).toBe(404);
  expect((await get("/healthz", "POST")).code).toBe(405);
});

describe("a plan", () => {
  const canary = (version: string): string =>
    shopDocument(version).replace(
      /rolling:\n/,
      "canary:\n      steps: [{ setWeight: 25 }, { pause: {} }, { setWeight: 50 }, { pause: { duration: 10m } }]\n",
    );

  test("of a document tells its steps and what they do to capacity, and stores and asks nothing", async () => {
    using state = new Folder();
    await using all = await small(state.path, { gateway: true });
    const { client, host } = all;
    await client.apply(shopDocument("v1"));
    await client.rolloutWhen("v1 is out", (v) => v.ended);
    const asked = host.assignments.length;
    const documents = [{ file: "shop.yaml", text: canary("v2"), baseDir: "/srv" }];
    const { plans } = await client.call(Api.plan, { documents, service: "", version: "", revision: 0 });
    expect(plans).toMatchObject([
      { service: "shop", fromVersion: "v1", toVersion: "v2", toRevision: 0, strategy: "canary", outcome: "Succeeded" },
    ]);
    const [plan] = plans;
    expect(plan?.steps.filter(({ text }) => text.startsWith("step")).map(({ weight }) => weight)).toEqual([
      2_500, 2_500, 5_000, 5_000, 10_000,
    ]);
    expect(plan?.steps.find(({ text }) => text.endsWith(": pause"))?.waitsFor).toBe(
      "an operator: `baton rollout promote shop`",
    );
    expect(plan).toMatchObject({ minCapacityPercent: 100, maxInstances: 2, maxHostsOut: 0, refusals: [] });
    expect(Number(plan?.lastsMs)).toBeGreaterThanOrEqual(600_000);
    const { revisions } = await client.call(Api.getService, { name: "shop" });
    expect(revisions).toHaveLength(1);
    expect((await client.rollout()).toVersion).toBe("v1");
    expect(host.assignments.length).toBe(asked);
  });

  test("of a stored version says why it would be refused, and what becomes of one that is under way", async () => {
    using state = new Folder();
    await using all = await small(state.path);
    const { client, host } = all;
    await client.apply(shopDocument("v1"));
    await client.rolloutWhen("v1 is out", (v) => v.ended);
    const of = async (version: string) => {
      const { plans } = await client.call(Api.plan, { documents: [], service: "shop", version, revision: 0 });
      return plans[0];
    };
    expect((await of("v1"))?.refusals[0]).toMatch(/^shop serves v1 \(r1\) already; `baton rollout history shop`/);
    await expect(of("v9")).rejects.toEqual(refusal(status.NOT_FOUND, /has no version v9/));
    host.neverReady.add("v2");
    await client.apply(shopDocument("v2", { healthyDeadline: "20s", progressDeadline: "30s" }));
    const { id } = await client.rollout();
    expect((await of("v1"))?.refusals[0]).toMatch(/is moving shop away from v1; `baton rollout abort shop` goes back/);
    expect((await of("v2"))?.refusals[0]).toMatch(/takes shop to v2 already; `baton rollout watch shop`/);
    await client.apply(canary("v3"), { deploy: false });
    const third = await of("v3");
    expect(third).toMatchObject({ toRevision: 3, refusals: [], outcome: "Succeeded" });
    expect(third?.warnings[0]).toBe(`${id} is under way, and is superseded where it stands`);
    expect((await client.rollout()).id).toBe(id);
  });
});
