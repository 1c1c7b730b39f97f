/**
 * From a source's answer to what becomes of the rollout: a real controller with agents on the wire, a real Prometheus,
 * webhooks and commands. One canary each, with one analysis between its weights.
 */
import { createServer } from "node:http";
import type { Server, ServerResponse } from "node:http";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { RolloutView } from "../../../proto/gen/baton/v1/operator.ts";
import { Api, Folder, inProcess } from "../../support/control.ts";
import type { InProcess } from "../../support/control.ts";
import { FakeAgent } from "../../support/fake-agent.ts";
import { until } from "../../support/processes.ts";
import type { PrometheusServer } from "../../support/prometheus.ts";
import { listen, startPrometheus } from "../../support/prometheus.ts";

let prometheus: PrometheusServer;
beforeAll(async () => {
  prometheus = await startPrometheus({ 'success_ratio{version="v2"}': "0.99", 'success_ratio{version="v3"}': "0.4" });
  await prometheus.scraped('success_ratio{version="v3"}', "0.4");
});
afterAll(() => prometheus[Symbol.asyncDispose]());

/** `metric` is the source and condition of the one metric, in flow style. */
const shop = (version: string, metric: string): string => `
apiVersion: baton/v1
kind: Service
metadata: { name: shop }
spec:
  version: ${version}
  listen: [{ address: 127.0.0.1, port: 8080, protocol: http }]
  run: { process: { command: ["node", "server.js"], cwd: "." } }
  health: { path: /healthz, interval: 100ms, timeout: 100ms, healthyThreshold: 1, unhealthyThreshold: 2 }
  drain: { timeout: 500ms, kill: 500ms }
  strategy:
    canary:
      minHealthyTime: 50ms
      healthyDeadline: 5s
      progressDeadline: 30s
      analysis: { metrics: [] }
      steps:
        - setWeight: 20
        - analysis:
            metrics: [{ name: gate, count: 1, interval: 100ms, inconclusiveLimit: 0, consecutiveErrorLimit: 0, ${metric} }]
`;

const asksPrometheus = (): string =>
  `prometheus: { address: "${prometheus.address}", query: 'success_ratio{version="{{canary}}"}' }, successCondition: result >= 0.95`;
const asksHook = (url: string): string =>
  `webhook: { url: "${url}", method: POST, jsonPath: $.value, timeout: 10s }, successCondition: result == 1`;
const asksCommand = `command: { command: [/bin/sh, -c, 'test "$BATON_STABLE $1" = "v1 v2" && echo 1', sh, "{{canary}}"] }, successCondition: result == 1`;

interface Fleet extends AsyncDisposable {
  readonly control: InProcess;
  readonly agents: readonly FakeAgent[];
  /** The rollout once it has ended or waits for a person. */
  settled(version: string): Promise<RolloutView>;
}

/** v1 is out on two hosts behind a gateway. */
async function fleet(state: string, options: Parameters<typeof inProcess>[1] = {}): Promise<Fleet> {
  const control = await inProcess(state, options);
  const { grpc } = control.controller;
  const agents = [
    new FakeAgent({ controller: grpc, host: "host-1" }),
    new FakeAgent({ controller: grpc, host: "host-2" }),
    new FakeAgent({ controller: grpc, host: "gateway-1", role: "gateway" }),
  ];
  const { client } = control;
  await until("all agents have been welcomed", () => agents.every((agent) => agent.welcomes.length > 0));
  await client.apply(shop("v1", asksPrometheus()));
  await client.rolloutWhen("v1 is out", (view) => view.ended);
  return {
    ...{ control, agents },
    settled: (version) =>
      client.rolloutWhen(
        `${version} has ended or pauses`,
        (view) => view.toVersion === version && (view.ended || view.phase === "Paused"),
      ),
    async [Symbol.asyncDispose]() {
      for (const agent of agents) await agent[Symbol.asyncDispose]();
      await control[Symbol.asyncDispose]();
    },
  };
}

const gateOf = (view: RolloutView) => view.analyses.find(({ id }) => id === "step 2");

async function hook(
  answer: (response: ServerResponse, body: string) => void,
): Promise<{ url: string; server: Server }> {
  const server = createServer((request, response) => {
    let body = "";
    request.on("data", (chunk) => (body += String(chunk)));
    request.on("end", () => answer(response, body));
  });
  return { url: `http://${await listen(server)}/gate`, server };
}

test("what Prometheus says lets one version through and takes the other one back, with the figure in the reason", async () => {
  using state = new Folder();
  await using shopFleet = await fleet(state.path);
  const { client } = shopFleet.control;
  await client.apply(shop("v2", asksPrometheus()));
  const through = await shopFleet.settled("v2");
  expect(through, through.message).toMatchObject({ stage: "Succeeded", exitCode: 0 });
  expect(gateOf(through)).toMatchObject({ phase: "successful", message: expect.stringContaining("0.99") as string });

  await client.apply(shop("v3", asksPrometheus()));
  const back = await client.rolloutWhen("v3 is back", (view) => view.toVersion === "v3" && view.ended);
  expect(back).toMatchObject({ stage: "RolledBack", exitCode: 1 });
  expect(back.message).toMatch(/metric gate failed: prometheus says 0\.4: result >= 0\.95 does not hold/);
});

test("no data is inconclusive and pauses; once there is data, resume measures anew and goes on", async () => {
  using state = new Folder();
  await using shopFleet = await fleet(state.path);
  const { client } = shopFleet.control;
  await client.apply(shop("v4", asksPrometheus()));
  const paused = await shopFleet.settled("v4");
  expect(paused).toMatchObject({ phase: "Paused", reason: "Inconclusive" });
  expect(gateOf(paused)).toMatchObject({ phase: "inconclusive" });
  expect(paused.message).toContain("the query gives no series");

  prometheus.values.set('success_ratio{version="v4"}', "1");
  await prometheus.scraped('success_ratio{version="v4"}', "1");
  await client.call(Api.resume, { service: "shop", reason: "", actor: "ann" });
  const ended = await client.rolloutWhen("v4 is out", (view) => view.ended);
  expect(ended, ended.message).toMatchObject({ stage: "Succeeded" });
});

test("a source that can't be asked pauses as an error, in words that say which and why", async () => {
  using state = new Folder();
  await using shopFleet = await fleet(state.path);
  const gone = await hook(() => undefined);
  await new Promise((closed) => gone.server.close(closed));
  await shopFleet.control.client.apply(shop("v2", asksHook(gone.url)));
  const paused = await shopFleet.settled("v2");
  expect(paused).toMatchObject({ phase: "Paused", reason: "Inconclusive" });
  expect(gateOf(paused)).toMatchObject({ phase: "error" });
  expect(paused.message).toContain(`${gone.url} can't be reached: nothing listens there (ECONNREFUSED)`);
});

test("commands are run with leave, and without it the pause names the option that gives it", async () => {
  for (const analysisCommands of [false, true]) {
    using state = new Folder();
    await using shopFleet = await fleet(state.path, { analysisCommands });
    await shopFleet.control.client.apply(shop("v2", asksCommand));
    const view = await shopFleet.settled("v2");
    if (analysisCommands) expect(view, view.message).toMatchObject({ stage: "Succeeded" });
    else {
      expect(view).toMatchObject({ phase: "Paused" });
      expect(view.message).toContain("--analysis-commands");
    }
  }
});

test("a controller that ends while a webhook hangs waits for nothing; the next one asks anew and goes on", async () => {
  const asked: { body: string; response: ServerResponse }[] = [];
  let hangs = true;
  const gate = await hook((response, body) => {
    asked.push({ body, response });
    if (!hangs) response.end('{"value":1}');
  });
  try {
    using state = new Folder();
    await using first = await fleet(state.path);
    await first.control.client.apply(shop("v2", asksHook(gate.url)));
    await until("the webhook is asked", () => asked.length > 0);
    let cut = false;
    asked[0]?.response.once("close", () => (cut = true));
    const began = performance.now();
    await first.control.controller.stop("the test goes on with another");
    expect(performance.now() - began).toBeLessThan(8_000);
    await until("the request is given up", () => cut);

    hangs = false;
    await using second = await inProcess(state.path);
    for (const agent of first.agents) agent.moveTo(second.controller.grpc);
    const view = await second.client.rolloutWhen("v2 is out", ({ ended }) => ended);
    expect(view, view.message).toMatchObject({ stage: "Succeeded" });
    expect(asked).toHaveLength(2);
    for (const { body } of asked) {
      expect(JSON.parse(body)).toEqual({
        service: "shop",
        rollout: view.id,
        canary: "v2",
        stable: "v1",
        metric: "gate",
      });
    }
  } finally {
    gate.server.closeAllConnections();
    gate.server.close();
  }
});
