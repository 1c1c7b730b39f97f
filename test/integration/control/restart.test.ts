import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { Api, Client, Folder, inProcess, realProcess, shopDocument } from "../../support/control.ts";
import { FakeAgent } from "../../support/fake-agent.ts";
import { listening, startNode, until } from "../../support/processes.ts";

const hosts = (controller: string): FakeAgent[] =>
  ["host-1", "host-2", "host-3"].map((host) => new FakeAgent({ controller, host }));
const gateway = (controller: string): FakeAgent => new FakeAgent({ controller, host: "gateway-1", role: "gateway" });
const joined = (agents: readonly FakeAgent[]): Promise<void> =>
  until("all agents have been welcomed", () => agents.every((agent) => agent.welcomes.length > 0));

test("a controller killed by SIGKILL in mid-rollout goes on with it under a higher epoch, to the end", async () => {
  using state = new Folder();
  const first = await realProcess(state.path);
  const agents = [...hosts(first.grpc), gateway(first.grpc)];
  await using stack = new AsyncDisposableStack();
  for (const agent of agents) stack.use(agent);
  await joined(agents);
  {
    using client = new Client(first.grpc);
    await client.apply(shopDocument("v1"));
    await client.rolloutWhen("v1 is out", (view) => view.ended);
    await client.apply(shopDocument("v2", { minHealthyTime: "300ms" }));
    await client.rolloutWhen("one host is over", (view) => view.step >= 1 && !view.ended);
  }
  first.process.signal("SIGKILL");
  await first.process.exited;
  const before = agents[0]!.epoch;
  const running = agents.map((agent) => agent.instances.filter((i) => i.state === "serving").length);
  expect(running.slice(0, 3).every((count) => count > 0)).toBe(true);

  const second = await realProcess(state.path);
  stack.use(second.process);
  for (const agent of agents) agent.moveTo(second.grpc);
  using client = new Client(second.grpc);
  const view = await client.rolloutWhen("v2 is out", (v) => v.ended && v.toVersion === "v2");
  expect(view.stage).toBe("Succeeded");
  expect(new Set(view.transitions.map((t) => Number(t.epoch)))).toEqual(new Set([before, before + 1]));
  expect(agents.every((agent) => agent.epoch === before + 1)).toBe(true);
  // No agent was ever told less than it had.
  for (const agent of agents.slice(0, 3)) {
    const fences = agent.assignments.map((a) => a.epoch * 1e6 + a.generation);
    expect(fences).toEqual(fences.toSorted((a, b) => a - b));
    const moving = agent.assignments.map((a) => a.services[0]).filter((s) => s?.rollout === view.id);
    expect(moving.length).toBeGreaterThan(0);
    expect(moving.every((service) => service?.revisions.some((r) => r.mode === "serving"))).toBe(true);
  }
});

// SIGHUP: the terminal that it was started in was closed.
test.each(["SIGTERM", "SIGHUP"] as const)(
  "%s tells agents to come back, and leaves a store that the next one opens",
  async (signal) => {
    using state = new Folder();
    await using control = await realProcess(state.path).then(({ process, grpc }) => {
      return { process, grpc, [Symbol.asyncDispose]: () => process[Symbol.asyncDispose]() };
    });
    await using agent = new FakeAgent({ controller: control.grpc, host: "host-1" });
    await joined([agent]);
    control.process.signal(signal);
    expect(await control.process.exited).toEqual({ code: 0, signal: null });
    expect(agent.reconnects).toEqual([`the controller stops (${signal})`]);
    await using again = await inProcess(state.path);
    expect(again.controller.epoch).toBe(2);
  },
);

describe("a controller that knows less than its agents", () => {
  async function rolledOut(state: string, version: string) {
    const control = await inProcess(state);
    const agents = [...hosts(control.controller.grpc), gateway(control.controller.grpc)];
    await joined(agents);
    await control.client.apply(shopDocument("v1"));
    await control.client.rolloutWhen("v1 is out", (view) => view.ended);
    if (version !== "v1") {
      await control.client.apply(shopDocument(version));
      await control.client.rolloutWhen(`${version} is out`, (v) => v.ended && v.toVersion === version);
    }
    await until("all are synced", async () => {
      const views = await Promise.all(agents.map((agent) => control.client.host(agent.host)));
      return views.every((view) => view?.sync === "SYNCED");
    });
    return { control, agents };
  }

  test("a damaged store is set aside, the new one takes nothing down, and the same document takes the fleet over", async () => {
    using state = new Folder();
    const { control, agents } = await rolledOut(state.path, "v2");
    await using stack = new AsyncDisposableStack();
    for (const agent of agents) stack.use(agent);
    await control[Symbol.asyncDispose]();
    writeFileSync(join(state.path, "controller.db"), "what a disk leaves of a database when it dies");

    await using second = await inProcess(state.path);
    const sent = agents.map((agent) => agent.assignments.length);
    for (const agent of agents) agent.moveTo(second.controller.grpc);
    for (const agent of agents) {
      await until(`${agent.host} is held`, async () => {
        const view = await second.client.host(agent.host);
        return view?.sync === "STALE" && view.syncReason.includes("which this controller does not know");
      });
    }
    await new Promise((later) => setTimeout(later, 500));
    expect(agents.map((agent) => agent.assignments.length)).toEqual(sent);
    expect(readdirSync(state.path).some((name) => name.includes("damaged"))).toBe(true);
    const kinds = await events(second.client);
    expect(kinds).toContain("store_set_aside");
    expect(kinds).toContain("host_held");
    // An agent has seen a higher epoch than a new store knows.
    expect(agents.every((agent) => agent.epoch > control.controller.epoch)).toBe(true);

    await expect(second.client.apply(shopDocument("v3"))).rejects.toThrow(/apply the document of v2 first/);
    const { results } = await second.client.apply(shopDocument("v2"));
    expect(results).toMatchObject([{ outcome: "created", revision: 2, version: "v2", rollout: "" }]);
    for (const agent of agents) {
      await until(`${agent.host} is synced`, async () => (await second.client.host(agent.host))?.sync === "SYNCED");
    }
    for (const agent of agents.slice(0, 3)) {
      expect(agent.instances.map((i) => [i.id, i.state])).toEqual([[`shop-r2-0-${agent.host}`, "serving"]]);
    }
    expect(agents[3]!.service("shop")?.endpoints).toHaveLength(3);

    await second.client.apply(shopDocument("v3"));
    const view = await second.client.rolloutWhen("v3 is out", (v) => v.ended);
    expect(view).toMatchObject({ stage: "Succeeded", fromRevision: 2, toRevision: 3 });
  });

  test("a gateway that comes alone keeps its endpoints until a host has been heard of", async () => {
    using state = new Folder();
    using other = new Folder();
    const { control, agents } = await rolledOut(state.path, "v1");
    await using stack = new AsyncDisposableStack();
    for (const agent of agents) stack.use(agent);
    await control[Symbol.asyncDispose]();
    await using second = await inProcess(other.path);
    agents[3]!.moveTo(second.controller.grpc);
    await until("it is held", async () => (await second.client.host("gateway-1"))?.sync === "STALE");
    const sent = agents[3]!.assignments.length;
    await second.client.apply(shopDocument("v1"), { deploy: false });
    await until("it waits for a host", async () => {
      return (await second.client.host("gateway-1"))?.syncReason.includes("no host of shop has reported") === true;
    });
    expect(agents[3]!.assignments.length).toBe(sent);
    expect(agents[3]!.service("shop")?.endpoints).toHaveLength(3);
  });

  test("deleting what it does not know is how to stop it on purpose", async () => {
    using state = new Folder();
    using other = new Folder();
    const { control, agents } = await rolledOut(state.path, "v1");
    await using stack = new AsyncDisposableStack();
    for (const agent of agents) stack.use(agent);
    await control[Symbol.asyncDispose]();
    await using second = await inProcess(other.path);
    for (const agent of agents) agent.moveTo(second.controller.grpc);
    await until("all are held", async () => {
      const views = await Promise.all(agents.map((agent) => second.client.host(agent.host)));
      return views.every((view) => view?.sync === "STALE");
    });
    await second.client.call(Api.deleteService, { name: "shop" });
    await until("nothing runs any more", () => agents.every((agent) => agent.services.length === 0));
    await until("it is forgotten", async () => (await events(second.client)).includes("service_deleted"));
  });
});

async function events(client: Client): Promise<string[]> {
  const stream = client.stream(Api.events, { afterSeq: 0n, follow: false, service: "", limit: 0 });
  return (await Array.fromAsync(stream as AsyncIterable<{ kind: string }>)).map((event) => event.kind);
}

describe("starting", () => {
  const start = (state: string, ...args: string[]) =>
    startNode("control/main.ts", {
      args: ["--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--log-level", "silent", "--state", state, ...args],
    });

  test("a port in use is named in one line, exit 1", async () => {
    using state = new Folder();
    using other = new Folder();
    await using control = await inProcess(other.path);
    const { grpc, http } = control.controller;
    await listening("127.0.0.1", Number(grpc.split(":")[1]));
    for (const [option, address] of [
      ["--grpc", grpc],
      ["--http", http],
    ] as const) {
      await using second = start(state.path, option, address);
      expect((await second.exited).code).toBe(1);
      expect(second.stderr).toBe(
        `baton control: ${option} ${address} is in use by another program; end that one, or name another address\n`,
      );
      expect(second.stdout).toBe("");
    }
  });

  test("a second controller on one store is refused, and told by whom it is held", async () => {
    using state = new Folder();
    await using _ = await inProcess(state.path);
    await using second = start(state.path);
    expect((await second.exited).code).toBe(1);
    expect(second.stderr).toBe(
      `baton control: another controller (pid ${process.pid}) uses the state folder ${state.path}\n`,
    );
  });

  test("an unwritable state folder, a missing token beyond loopback, a short token: one line each, exit 1", async () => {
    using state = new Folder();
    writeFileSync(join(state.path, "file"), "");
    writeFileSync(join(state.path, "short"), "short");
    for (const [args, line] of [
      [["--state", join(state.path, "file")], /^baton control: the state folder .*\/file can't be used: .*\n$/],
      [["--grpc", "0.0.0.0:0"], /^baton control: 0\.0\.0\.0:0 is beyond loopback, .* give --token-file.*\n$/],
      [["--token-file", join(state.path, "short")], /is shorter than 16 characters\n$/],
      [["--token-file", join(state.path, "none")], /^baton control: the token file can't be read: ENOENT.*\n$/],
    ] as const) {
      await using control = start(state.path, ...args);
      expect((await control.exited).code).toBe(1);
      expect(control.stderr).toMatch(line);
    }
  });

  test("a mistyped option is named with the one that was meant, exit 2", async () => {
    await using control = startNode("control/main.ts", { args: ["--stat", "x"] });
    expect((await control.exited).code).toBe(2);
    expect(control.stderr).toBe(
      "baton control: unknown option --stat; did you mean --state?; see baton control --help\n",
    );
  });
});
