/** The admin server and the network probes over real sockets; the keeper behind the core is scripted. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer as createHttp, request } from "node:http";
import { createServer } from "node:net";
import type { AddressInfo, Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Admin } from "../../../agent/core/admin/server.ts";
import { networkCheck } from "../../../agent/core/probes/check.ts";
import type { AgentOptions } from "../../../agent/keeper/protocol.ts";
import { silentLog } from "../../../proto/kernel/log.ts";
import { systemClock } from "../../../proto/runtime/system-clock.ts";
import { assignment, revision, service } from "../../support/core/assignments.ts";
import { ScriptedKeeper } from "../../support/core/scripted-keeper.ts";
import { until } from "../../support/processes.ts";

interface Answer {
  readonly status: number;
  readonly text: string;
  readonly headers: Readonly<Record<string, unknown>>;
}

class Served implements Disposable {
  readonly keeper: ScriptedKeeper;
  readonly #admin: Admin;

  constructor(options: Partial<AgentOptions> = {}) {
    this.keeper = new ScriptedKeeper({ options });
    this.#admin = new Admin({ core: this.keeper.core, software: "0.0.1", clock: systemClock, log: silentLog });
    this.#admin.listen();
  }

  async ask(path: string, method = "GET", headers: Record<string, string> = {}): Promise<Answer> {
    await until("the admin listens", () => this.keeper.core.keptPort("admin") > 0);
    const port = this.keeper.core.keptPort("admin");
    return new Promise((done, fail) => {
      const sent = request({ host: "127.0.0.1", port, path, method, headers, agent: false }, (response) => {
        let text = "";
        response.on("data", (part: Buffer) => (text += part.toString("utf8")));
        response.on("end", () => done({ status: response.statusCode ?? 0, text, headers: response.headers }));
      });
      sent.on("error", fail);
      sent.end();
    });
  }

  async serving(): Promise<this> {
    this.keeper.offer(assignment(1, [service([revision(1)])]));
    await this.keeper.settle(1_000);
    return this;
  }

  [Symbol.dispose](): void {
    this.#admin.close();
    this.keeper[Symbol.dispose]();
  }
}

test("not ready without an assignment, ready when it is live, not ready when drained by hand or stopping", async () => {
  using served = new Served();
  const reasons = async () => (JSON.parse((await served.ask("/readyz")).text) as { reasons: string[] }).reasons;
  expect((await served.ask("/healthz")).status).toBe(200);
  expect((await served.ask("/readyz")).status).toBe(503);
  expect(await reasons()).toEqual(["no assignment has been applied"]);
  await served.serving();
  expect((await served.ask("/readyz")).status).toBe(200);
  expect((await served.ask("/drain", "POST")).status).toBe(200);
  await served.keeper.settle();
  expect(served.keeper.table?.services[0]?.accepting).toBe(false);
  expect(await reasons()).toEqual(["the agent was drained by hand; POST /undrain takes it back"]);
  served.keeper.restart(); // the next core knows
  await served.keeper.settle(1_000);
  expect(served.keeper.core.accepting).toBe(false);
});

test("undrain takes it back", async () => {
  using served = await new Served().serving();
  await served.ask("/drain", "POST");
  await served.ask("/undrain", "POST");
  await served.keeper.settle();
  expect((await served.ask("/readyz")).status).toBe(200);
  expect(served.keeper.table?.services[0]?.accepting).toBe(true);
});

test("metrics are Prometheus', from the workers' own counts, with a true histogram", async () => {
  using served = await new Served().serving();
  served.keeper.writeStats(1, { 1: { started: 12, completed: 10, inFlight: 2, status2xx: 10 } });
  const { text, headers } = await served.ask("/metrics");
  expect(headers["content-type"]).toContain("text/plain");
  expect(text).toContain('baton_requests_started_total{service="shop",version="v1"} 12');
  expect(text).toContain('baton_requests_in_flight{service="shop",version="v1"} 2');
  expect(text).toContain('baton_responses_total{service="shop",version="v1",class="2xx"} 10');
  expect(text).toContain('baton_requests_lost_total{service="shop",version="v1",cause="worker_killed"} 0');
  expect(text).toContain('baton_instances{service="shop",version="v1",state="serving"} 1');
  expect(text).toContain("# TYPE baton_time_to_head_seconds histogram");
  expect(text).toContain("baton_ready 1");
});

test("connections are asked of each worker, and one that does not answer holds nobody up", async () => {
  using served = await new Served({ workers: 2 }).serving();
  const { keeper } = served;
  keeper.onSaid = (message) => {
    if (message.type !== "relay" || message.worker !== 1) return;
    const { request: number } = message.body as { request: number };
    const list = [{ client: "127.0.0.1:5" }, { client: "127.0.0.1:6" }];
    keeper.tell({ type: "relayed", worker: 1, body: { kind: "connections", request: number, list } });
  };
  const { text } = await served.ask("/connections?limit=1");
  expect(JSON.parse(text)).toMatchObject({
    limit: 1,
    workers: [
      { worker: 1, answered: true, connections: [{ client: "127.0.0.1:5" }] },
      { worker: 2, answered: false, connections: [] },
    ],
  });
});

test("config shows what is applied; unknown paths and methods are told so", async () => {
  using served = await new Served().serving();
  const config = JSON.parse((await served.ask("/config")).text) as Record<string, unknown>;
  expect(config).toMatchObject({
    software: "0.0.1",
    applied: { generation: 1 },
    table: { services: [{ name: "shop" }] },
  });
  expect((await served.ask("/nowhere")).status).toBe(404);
  const wrong = await served.ask("/drain");
  expect([wrong.status, wrong.headers["allow"]]).toEqual([405, "POST"]);
  expect((await served.ask("/healthz", "HEAD")).text).toBe("");
});

test("a web page can't drain an agent on loopback, by its own name or by another's", async () => {
  using served = await new Served().serving();
  expect((await served.ask("/drain", "POST", { origin: "http://evil.test" })).status).toBe(403);
  expect((await served.ask("/config", "GET", { host: "evil.test:80" })).status).toBe(403);
  expect(served.keeper.core.accepting).toBe(true);
});

test("beyond loopback there is no admin without a token, and with one only for who has it", async () => {
  using bare = new Served({ admin: { host: "0.0.0.0", port: 0 } });
  expect(bare.keeper.failures[0]).toContain("--admin 0.0.0.0:0: beyond loopback the admin server wants a --token-file");
  const folder = mkdtempSync(join(tmpdir(), "baton-admin-"));
  try {
    const tokenFile = join(folder, "token");
    writeFileSync(tokenFile, "secret\n");
    using served = await new Served({ admin: { host: "0.0.0.0", port: 0 }, tokenFile }).serving();
    expect((await served.ask("/readyz")).status).toBe(200);
    expect((await served.ask("/config")).status).toBe(401);
    expect((await served.ask("/config", "GET", { authorization: "Bearer wrong" })).status).toBe(401);
    expect((await served.ask("/config", "GET", { authorization: "Bearer secret" })).status).toBe(200);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("a probe tells what is wrong in a few words, whatever the app does to it", async () => {
  const check = networkCheck(systemClock);
  const ask = (server: Server, kind: "http" | "tcp" = "http") =>
    check({
      kind,
      path: "/healthz",
      address: "127.0.0.1",
      port: (server.address() as AddressInfo).port,
      timeoutMs: 200,
    });
  const listen = async (server: Server): Promise<Server & Disposable> => {
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    return Object.assign(server, { [Symbol.dispose]: () => void server.close() });
  };
  using silent = await listen(createServer(() => undefined));
  expect(await ask(silent)).toEqual({ ok: false, why: "no answer in 200ms" });
  expect(await ask(silent, "tcp")).toEqual({ ok: true });
  using rude = await listen(createServer((socket) => socket.destroy()));
  expect((await ask(rude)).ok).toBe(false);
  using talkative = await listen(
    createHttp((_, response) => {
      const more = (): boolean => response.write("x".repeat(65_536)) && more();
      response.on("drain", more);
      more();
    }),
  );
  expect(await ask(talkative)).toEqual({ ok: true });
  using redirecting = await listen(createHttp((_, response) => void response.writeHead(302).end()));
  expect(await ask(redirecting)).toEqual({ ok: true });
  using failing = await listen(createHttp((_, response) => void response.writeHead(500).end()));
  expect(await ask(failing)).toEqual({ ok: false, why: "500" });
  const gone = createServer();
  await new Promise<void>((done) => gone.listen(0, "127.0.0.1", done));
  const { port } = gone.address() as AddressInfo;
  await new Promise((done) => gone.close(done));
  expect(await check({ kind: "tcp", path: "", address: "127.0.0.1", port, timeoutMs: 200 })).toEqual({
    ok: false,
    why: "connection refused",
  });
});
