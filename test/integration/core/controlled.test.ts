/** Real agents, a gateway and a host, behind a scripted controller: the command path's lower half on real sockets. */
import { mkdtempSync, rmSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { expect, test } from "vitest";
import type { AssignedRevision, AssignedService } from "../../../proto/contract/assignment.ts";
import { serviceHash } from "../../../proto/contract/canonical.ts";
import type { Report } from "../../../proto/contract/report.ts";
import { EVERY_REQUEST } from "../../../proto/contract/spec/types.ts";
import { assignment, health, probe, revision, run, service } from "../../support/core/assignments.ts";
import { ScriptedController } from "../../support/core/scripted-controller.ts";
import type { AgentSession } from "../../support/core/scripted-controller.ts";
import { startClients } from "../../support/keeper/steady-client.ts";
import { ROOT, startNode, until } from "../../support/processes.ts";
import type { RunningProcess } from "../../support/processes.ts";

const APP = resolve(ROOT, "test/support/core/tiny-app.ts");
const quick = health({ readiness: probe({ intervalMs: 300, healthyThreshold: 1 }) });
const rev = (number: number, mode: AssignedRevision["mode"]): AssignedRevision =>
  revision(number, mode, { run: run({ command: [process.execPath, APP], cwd: ROOT, env: {} }), health: quick });
const listeners = [{ address: "127.0.0.1", port: 0, protocol: "http" as const }];

class Agents implements AsyncDisposable {
  readonly folder = mkdtempSync(join(tmpdir(), "baton-controlled-"));
  readonly processes: RunningProcess[] = [];
  readonly #controller: number;

  constructor(controller: ScriptedController) {
    this.#controller = controller.port;
  }

  start(name: string, role: string): RunningProcess {
    const own = ["--name", name, "--role", role, "--state", join(this.folder, name), "--admin", "127.0.0.1:0"];
    const args = [...own, "--controller", `127.0.0.1:${this.#controller}`, "--inbound-ports", "assigned"];
    const started = startNode("agent/main.ts", { args, graceMs: 20_000 });
    this.processes.push(started);
    return started;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.processes.map((one) => one.stop()));
    rmSync(this.folder, { recursive: true, force: true });
  }
}

const newest = (session: AgentSession): Report | undefined =>
  session.messages.findLast((message) => message.kind === "report")?.report;

async function reported(
  session: AgentSession,
  what: string,
  probeReport: (report: Report) => boolean,
): Promise<Report> {
  await until(`${session.hello.host} reports ${what}`, () => {
    const report = newest(session);
    return report !== undefined && probeReport(report);
  });
  return newest(session)!;
}

async function assign(
  controller: ScriptedController,
  session: AgentSession,
  generation: number,
  assigned: AssignedService,
): Promise<void> {
  controller.assign(session, assignment(generation, [assigned]));
  const { applied } = await controller.heard(session, "applied", (one) => one.applied.generation === generation);
  expect(applied.services).toEqual({ shop: serviceHash(assigned) });
}

const state = (report: Report, version: string): string =>
  report.instances.find((one) => one.version === version)?.state ?? "absent";

test("a host rolls v1 → v2 behind a gateway, step by confirmed step, and no client sees it; the controller's death changes nothing", async () => {
  const controller = await new ScriptedController().listen();
  await using agents = new Agents(controller);
  agents.start("host-1", "host");
  const host = await controller.session(0);
  agents.start("gateway", "gateway");
  const gateway = await controller.session(1);

  await assign(controller, host, 1, service([rev(1, "serving")], { listeners }));
  const { endpoints } = await reported(host, "v1 serving", (report) => state(report, "v1") === "serving");
  const inbound = endpoints[0]!.port;
  const entry = service([], {
    listeners,
    endpoints: [{ host: "host-1", address: "127.0.0.1", port: inbound, mode: "serving" }],
  });
  await assign(controller, gateway, 1, entry);
  const { endpoints: outside } = await reported(gateway, "its port", (report) => report.endpoints.length === 1);
  const clients = startClients(`127.0.0.1:${outside[0]!.port}`, { clients: 6, keepAlive: true, pauseMs: 10 });

  await assign(controller, host, 2, service([rev(1, "serving"), rev(2, "standby")], { listeners }));
  await reported(host, "v2 ready", (report) => state(report, "v2") === "ready");
  await assign(controller, host, 3, service([rev(1, "draining"), rev(2, "serving")], { listeners }));
  const shifted = await reported(host, "v2 serving", (report) => state(report, "v2") === "serving");
  expect(state(shifted, "v1")).toBe("draining");
  await assign(controller, host, 4, service([rev(2, "serving")], { listeners }));
  await reported(host, "v1 stopped", (report) => state(report, "v1") === "stopped");

  // C1
  controller.kill();
  await new Promise((wait) => setTimeout(wait, 1_000));
  const { failures, answered, by } = await clients.stop();
  expect(failures).toEqual([]);
  expect(answered).toBeGreaterThan(100);
  expect(new Set([...by.keys()].map((text) => text.split(" ")[0]))).toEqual(new Set(["v1", "v2"]));
});

test("a preview without a share is reached by its route and its copies alone, then by its sticky share of callers", async () => {
  const controller = await new ScriptedController().listen();
  await using agents = new Agents(controller);
  const process = agents.start("host-1", "host");
  const host = await controller.session(0);
  const version = (number: number, weight: number): AssignedRevision => ({ ...rev(number, "serving"), weight });
  const preview = { ...EVERY_REQUEST, headers: [{ type: "Exact" as const, name: "x-preview", value: "1" }] };
  const split: Partial<AssignedService> = {
    listeners,
    sticky: { kind: "cookie", name: "who", maxAgeMs: 60_000 },
    routes: [{ name: "preview", revision: 2, matches: [preview] }],
    mirrors: [{ name: "shadow", revision: 2, matches: [EVERY_REQUEST], percentage: 10_000 }],
  };
  await assign(controller, host, 1, service([version(1, 10_000), version(2, 0)], split));
  // The next step waits for this: what is asked for nothing but its route serves all the same.
  const { endpoints } = await reported(host, "both serving", (report) =>
    ["v1", "v2"].every((one) => state(report, one) === "serving"),
  );
  const { port } = endpoints[0]!;
  const ask = async (headers: Record<string, string>): Promise<{ version: string; cookie: string }> => {
    const answer = await fetch(`http://127.0.0.1:${port}/`, { headers });
    await answer.text();
    return { version: answer.headers.get("x-version") ?? "", cookie: answer.headers.get("set-cookie") ?? "" };
  };
  for (let i = 0; i < 20; i++) expect((await ask({})).version).toBe("v1");
  expect((await ask({ "x-preview": "1" })).version).toBe("v2");
  const mine = (report: Report, one: string) => report.traffic.filter(({ version }) => version === one);
  // A report may have been made just before the last of them.
  const done = (report: Report, one: string): number | undefined => mine(report, one)[0]?.completed;
  const counted = await reported(host, "its counts", (report) => done(report, "v1") === 20 && done(report, "v2") === 1);
  expect(mine(counted, "v2").map(({ started, completed, lost }) => [started, completed, Math.max(...lost)])).toEqual([
    [1, 1, 0],
  ]);
  const [, admin = ""] = await process.line(/admin on (http:\/\/127\.0\.0\.1:\d+)/);
  await until("the copies are counted, apart from requests", async () => {
    const metrics = await (await fetch(`${admin}/metrics`)).text();
    return metrics.includes('baton_mirrored_requests_total{service="shop",version="v2"} 20\n');
  });

  await assign(controller, host, 2, service([version(1, 5_000), version(2, 5_000)], { ...split, mirrors: [] }));
  const callers = await Promise.all(Array.from({ length: 20 }, () => ask({})));
  expect(new Set(callers.map((one) => one.version))).toEqual(new Set(["v1", "v2"]));
  await assign(controller, host, 3, service([version(1, 2_000), version(2, 8_000)], { ...split, mirrors: [] }));
  for (const { version: before, cookie } of callers) {
    const now = await ask({ cookie: cookie.split(";")[0]! });
    expect(now.cookie).toBe("");
    if (before === "v2") expect(now.version).toBe("v2");
  }
});

test("an agent that is killed whole comes back with no controller, and leaves no app behind", async () => {
  const controller = await new ScriptedController().listen();
  await using agents = new Agents(controller);
  const first = agents.start("host-1", "host");
  const session = await controller.session();
  await assign(controller, session, 1, service([rev(1, "serving")], { listeners }));
  const before = await reported(session, "v1 serving", (report) => state(report, "v1") === "serving");
  const { port } = before.endpoints[0]!;
  const { pid } = before.instances[0]!;
  controller.kill();
  first.signal("SIGKILL");
  await first.exited;
  agents.start("host-1", "host");
  await until("it serves on the same port, from another process", async () => {
    const text = await ask(port);
    return text.startsWith("v1 ") && text !== `v1 ${pid}`;
  });
  await until("the old app is gone", () => !alive(pid));
});

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

function ask(port: number): Promise<string> {
  return new Promise((done) => {
    const sent = request({ host: "127.0.0.1", port, agent: false }, (response) => {
      let text = "";
      response.on("data", (part: Buffer) => (text += part.toString("utf8")));
      response.on("end", () => done(text));
    });
    sent.on("error", () => done(""));
    sent.end();
  });
}
