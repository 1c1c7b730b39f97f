/** `baton host status`, and what else the command line says of hosts and controllers: real controller, real command. */
import { expect, test } from "vitest";
import type { HostView } from "../../../proto/gen/baton/v1/operator.ts";
import { EXIT } from "../../../proto/contract/limits.ts";
import { Api, Folder, inProcess, shopDocument } from "../../support/control.ts";
import { FakeAgent } from "../../support/fake-agent.ts";
import { startNode, until } from "../../support/processes.ts";

interface Said {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

async function baton(controller: string, ...args: readonly string[]): Promise<Said> {
  const env = { BATON_CONTROLLER: controller, NO_COLOR: "1" };
  const process = startNode("control/cli/main.ts", { args, env });
  const { code } = await process.exited;
  return { code, out: process.stdout, err: process.stderr };
}

const rowOf = (table: string, host: string): string =>
  table.split("\n").find((line) => line.startsWith(`${host} `)) ?? `no row of ${host}`;

test(
  "each of the four states, with what was asked, what is applied, since when and why; 0 only when all are SYNCED",
  { timeout: 60_000 },
  async () => {
    using state = new Folder();
    await using control = await inProcess(state.path, { leaseMs: 10_000 });
    const { client } = control;
    const controller = control.controller.grpc;
    const agent = (host: string): FakeAgent => new FakeAgent({ controller, host });
    await using good = agent("host-1");
    await until("the first is there", () => good.welcomes.length === 1);
    await client.apply(shopDocument("v1"));
    await client.rolloutWhen("v1 is out", (view) => view.ended);
    const synced = async (name: string): Promise<boolean> => (await client.host(name))?.sync === "SYNCED";
    await until("it is in sync", () => synced("host-1"));
    const well = await baton(controller, "host", "status");
    expect(well).toMatchObject({ code: EXIT.done, err: "" });
    expect(rowOf(well.out, "host-1")).toMatch(
      /^host-1 +host +SYNCED +\S+ s ago +(\d+\.\d+) +\1 +\S+ s ago +127\.0\.0\.1:\d+ +fake +–$/,
    );

    await using silent = agent("host-2");
    silent.decide = () => "silence";
    await using refusing = agent("host-3");
    refusing.decide = () => "the port is taken";
    await using mute = agent("host-4");
    mute.talking = false; // hello was said
    const at = async (name: string, sync: string): Promise<HostView> => {
      await until(`${name} is ${sync}`, async () => (await client.host(name))?.sync === sync);
      return (await client.host(name))!;
    };
    // Before it is sent anything it is stale too, for a moment.
    await until("host-2 was sent something", async () => ((await client.host("host-2"))?.askedGeneration ?? 0n) > 0n);
    const [stale, rejected, unsent] = [
      await at("host-2", "STALE"),
      await at("host-3", "REJECTED"),
      await at("host-4", "NOT_SENT"),
    ];
    expect(stale).toMatchObject({ askedEpoch: BigInt(silent.epoch), generation: 0n, held: "", refused: "" });
    expect(stale.askedGeneration).toBe(BigInt(silent.assignments.at(-1)?.generation ?? -1));
    expect(rejected).toMatchObject({ refused: "the port is taken", syncReason: "the port is taken", generation: 0n });
    expect(rejected.syncSinceMs).toBeGreaterThan((await at("host-1", "SYNCED")).syncSinceMs);
    expect(unsent).toMatchObject({ askedGeneration: 0n, generation: 0n, live: false });

    const all = await baton(controller, "host", "status");
    expect(all.code).toBe(EXIT.failed);
    expect(rowOf(all.out, "host-1")).toMatch(/ SYNCED /);
    expect(rowOf(all.out, "host-2")).toMatch(
      / STALE +\S+ s ago +\d+\.\d+ +– .* generation \d+ was sent \S+ s ago and is not confirmed/,
    );
    expect(rowOf(all.out, "host-3")).toMatch(/ REJECTED +\S+ s ago +\d+\.\d+ +– .* the port is taken$/);
    expect(rowOf(all.out, "host-4")).toMatch(/ NOT SENT +\S+ s ago +– +– .* its first report is awaited$/);

    const one = await baton(controller, "host", "status", "host-1", "-o", "json");
    expect(one).toMatchObject({ code: EXIT.done, err: "" });
    expect(JSON.parse(one.out)).toMatchObject([{ name: "host-1", sync: "SYNCED", syncReason: "" }]);
    const late = await baton(controller, "host", "status", "--wait", "--timeout", "300ms");
    expect(late.code).toBe(EXIT.timeout);
    expect(late.err).toMatch(
      /^1 of 4 SYNCED; waiting for host-2 \(STALE\), host-3 \(REJECTED\), host-4 \(NOT SENT\)$/m,
    );
    expect(await baton(controller, "host", "status", "hots-1")).toMatchObject({
      code: EXIT.usage,
      err: "baton: no host hots-1; did you mean host-1?\n",
    });

    // Mended, they are waited for.
    const waiting = baton(controller, "host", "status", "--wait");
    for (const mended of [silent, refusing]) {
      mended.decide = () => null;
      mended.cut();
    }
    mute.talking = true;
    mute.cut();
    expect(await waiting).toMatchObject({ code: EXIT.done });
  },
);

test("a host that confirmed everything and is heard of no more is STALE, not SYNCED", async () => {
  using state = new Folder();
  await using control = await inProcess(state.path, { leaseMs: 300 });
  const { client } = control;
  await using agent = new FakeAgent({ controller: control.controller.grpc, host: "host-1" });
  await until("it is there", () => agent.welcomes.length === 1);
  await client.apply(shopDocument("v1"));
  await client.rolloutWhen("v1 is out", (view) => view.ended);
  agent.talking = false;
  await until("its lease is over", async () => (await client.host("host-1"))?.sync === "STALE");
  const view = await client.host("host-1");
  expect(view?.syncReason).toBe("nothing is heard of it any more");
  expect(view?.syncSinceMs).toBe(view?.heardAtMs);
});

test(
  "of several controllers, those that are gone are passed by, and named in one line",
  { timeout: 60_000 },
  async () => {
    using state = new Folder();
    await using control = await inProcess(state.path);
    const real = control.controller.grpc;
    const gone = "127.0.0.1:1";
    const listed = await baton(`${gone},${real}`, "get", "hosts");
    expect(listed).toMatchObject({
      code: EXIT.done,
      err: `the controller at ${gone} can't be reached (nothing listens there (ECONNREFUSED)); asking ${real}\n`,
    });
    const controllers = await baton(`${gone},${real}`, "get", "controllers");
    expect(controllers.code).toBe(EXIT.done);
    expect(rowOf(controllers.out, gone)).toMatch(/ not reached: nothing listens there \(ECONNREFUSED\)$/);
    expect(rowOf(controllers.out, real)).toMatch(/ leader .* test .* –$/);
    const versions = await baton(`${gone},${real}`, "version");
    expect(versions.out).toMatch(new RegExp(`^controller {2}test .* at ${real}$`, "m"));
    expect(versions.err).toBe(`controller  not reached at ${gone}: nothing listens there (ECONNREFUSED)\n`);
    expect(await baton(`${gone},127.0.0.1:2`, "get", "hosts")).toMatchObject({ code: EXIT.unreachable, out: "" });
    expect((await baton(`${gone},nonsense`, "get", "hosts")).code).toBe(EXIT.usage);
    const { services } = await control.client.call(Api.listServices, {});
    expect(services).toEqual([]);
  },
);
