import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { NatsLink } from "../../../proto/contract/nats-link.ts";
import { natsNames } from "../../../proto/contract/nats.ts";
import type { NatsOptions } from "../../../proto/contract/nats.ts";
import type { Clock } from "../../../proto/kernel/clock.ts";
import type { Log } from "../../../proto/kernel/log.ts";
import { silentLog } from "../../../proto/kernel/log.ts";
import { openNats } from "../../../proto/runtime/nats.ts";
import { systemClock, systemRandom } from "../../../proto/runtime/system-clock.ts";
import { Api, shopDocument } from "../../support/control.ts";
import { FakeAgent } from "../../support/fake-agent.ts";
import { FakeNatsAgent } from "../../support/fake-nats-agent.ts";
import { startNats } from "../../support/nats.ts";
import type { NatsServers } from "../../support/nats.ts";
import { until } from "../../support/processes.ts";
import { startMember } from "../../support/several.ts";

/** The block of control/NATS.md that begins with this comment, as the server takes it. */
function documented(comment: string): Readonly<Record<string, unknown>> {
  const text = readFileSync(new URL("../../../control/NATS.md", import.meta.url), "utf8");
  const block = text.split("```").find((part) => part.includes(comment)) ?? "";
  const lines = block.split("\n").slice(1);
  return JSON.parse(`{${lines.filter((line) => !line.trim().startsWith("#")).join("\n")}}`) as Record<string, unknown>;
}

const CLUSTER = "prod";
const names = natsNames(CLUSTER);
const folder = mkdtempSync(join(tmpdir(), "baton-nats-permissions-"));
const creds = (user: string): string => join(folder, user);
let nats: NatsServers;
beforeAll(async () => {
  nats = await startNats({ config: documented("# users.conf") });
  for (const user of ["control", "host-1", "host-2"]) writeFileSync(creds(user), `${user}:${user}-secret\n`);
});
afterAll(async () => {
  await nats[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

const as = (user: string): NatsOptions => nats.options({ credsFile: creds(user), cluster: CLUSTER });
const agentLink = (host: string, log: Log = silentLog): Promise<NatsLink> => {
  const ambient = { clock: systemClock, random: systemRandom, log };
  return openNats({ ...ambient, nats: as(host), name: host, inbox: names.agentInbox(host) });
};

test("controllers and agents have all that they need with the permissions that control/NATS.md gives them", async () => {
  const member = (id: string) => startMember(nats, id, "--cluster", CLUSTER, "--nats-creds", creds("control"));
  await using one = await member("c1");
  await until("it leads", async () => (await one.info()).role === "leader", 30_000);
  await using two = await member("c2");
  await until("it follows", async () => (await two.info()).role === "follower", 30_000);
  using agent = new FakeNatsAgent({ nats: as("host-1"), host: "host-1", open: () => agentLink("host-1") });
  await using bridged = new FakeAgent({ controller: two.grpc, host: "host-2" });
  await until("both are heard", async () => {
    const { hosts } = await two.client.call(Api.listHosts, {});
    return hosts.filter(({ live }) => live).length === 2;
  });
  await two.client.apply(shopDocument("v1"));
  expect((await two.client.rolloutWhen("v1 is out", (v) => v.ended, 60_000)).stage).toBe("Succeeded");
  one.process.signal("SIGTERM");
  await one.process.exited;
  await until("the other leads", async () => (await two.info()).role === "leader", 30_000);
  await two.client.apply(shopDocument("v2"));
  expect((await two.client.rolloutWhen("v2 is out", (v) => v.toVersion === "v2" && v.ended, 60_000)).stage).toBe(
    "Succeeded",
  );
  expect(agent.services[0]?.revisions.map(({ version }) => version)).toEqual(["v2"]);
  expect(bridged.service("shop")?.revisions.map(({ version }) => version)).toEqual(["v2"]);
  expect((await two.info()).troubles).toEqual([]);
  for (const { process } of [one, two]) expect(process.stderr).not.toMatch(/permission|forbids/i);

  // A first look at the key, with no controller there.
  two.process.signal("SIGTERM");
  await two.process.exited;
  using again = new FakeNatsAgent({ nats: as("host-1"), host: "host-1", open: () => agentLink("host-1") });
  await until("its key is read", () => again.services.length === 1);
}, 120_000);

test("an agent's user can't speak as another, to another, or as an operator, and hears nothing of others", async () => {
  const logged: string[] = [];
  const link = await agentLink("host-1", { ...silentLog, error: (_fields, text) => void logged.push(text) });
  const { connection } = link;
  const refused = new Set<string>();
  void (async () => {
    for await (const { permissionContext } of connection.status()) {
      if (permissionContext !== undefined) refused.add(`${permissionContext.operation} ${permissionContext.subject}`);
    }
  })();
  const said = [
    ...[names.up("host-2"), names.down("host-1"), names.down("host-2"), names.call, names.operate, names.storeHead],
    ...[names.assignmentSubject("host-1"), names.assignmentSubject("host-2")],
    ...[`$KV.${names.leadBucket}.leader`, `$KV.${names.storeBucket}_head.head`],
    ...[`$JS.API.STREAM.MSG.GET.KV_${names.storeBucket}`, `$JS.API.STREAM.DELETE.KV_${names.storeBucket}`],
    `$JS.API.DIRECT.GET.KV_${names.assignmentsBucket}.${names.assignmentSubject("host-2")}`,
    `${names.controlInbox}.any`,
  ];
  const heard = [
    ...[">", names.everyUp, names.down("host-2"), names.operate, names.storeHead, "_INBOX.>"],
    ...[names.assignmentSubject("*"), `${names.controlInbox}.>`, `${names.agentInbox("host-2")}.>`],
  ];
  for (const subject of said) connection.publish(subject);
  for (const subject of heard) connection.subscribe(subject, { callback: () => undefined });
  const all = [...said.map((subject) => `publish ${subject}`), ...heard.map((subject) => `subscription ${subject}`)];
  await until("all is refused", () => all.every((one) => refused.has(one))).catch(() => undefined);
  expect(all.filter((one) => !refused.has(one))).toEqual([]);
  // Its operator is told each, with the subject.
  const where = `NATS at ${nats.urls[0] ?? ""} forbids this user to`;
  const remedy = "grant it (control/NATS.md), or give the --cluster that this user's permissions are for";
  await until("it is told", () => logged.length === all.length);
  expect(logged).toContain(`${where} publish to ${names.operate} (--cluster prod): ${remedy}`);
  expect(logged).toContain(`${where} subscribe to ${names.everyUp} (--cluster prod): ${remedy}`);
  await link.close();
}, 60_000);

test("a controller whose --cluster was forgotten says so, each refusal once however often it tries", async () => {
  const before = nats.servers[0]!.output.length;
  await using c9 = await startMember(nats, "c9", "--nats-creds", creds("control"));
  const inbox = natsNames("baton").controlInbox;
  const tries = (): number =>
    nats.servers[0]!.output.slice(before).split(/Subscription Violation.*_INBOX\.baton\.baton\.control/).length - 1;
  await until("it has tried often", () => tries() >= 20, 40_000);
  const lines = c9.process.stderr.split("\n").slice(0, -1);
  const said = lines.map((line) => (JSON.parse(line) as { readonly msg: string }).msg);
  expect(said.filter((msg, i) => said.indexOf(msg) !== i)).toEqual([]);
  expect(said.length).toBeLessThan(15);
  expect(c9.process.stderr).not.toMatch(/"stack"|[0-9A-Z]{22}/);
  const why = `forbids this user to subscribe to ${inbox}.> (--cluster baton): grant it`;
  expect(said.find((msg) => msg.includes(why))).toMatch(/or give the --cluster that this user's permissions are for$/);
  for (const trouble of (await c9.info()).troubles) expect(trouble).toContain(why);
}, 60_000);

const mayHear = (permissions: object): Readonly<Record<string, unknown>> => ({
  authorization: { users: [{ user: "a", password: "b", permissions }] },
});

/** A user that may not hear "told", on a server of its own. */
async function denied(clock: Clock) {
  const server = await startNats({ config: mayHear({ subscribe: { deny: ["told"] } }) });
  writeFileSync(creds("a"), "a:b\n");
  const logged: string[] = [];
  const log = { ...silentLog, error: (_fields: unknown, text: string) => void logged.push(text) };
  const nats = server.options({ credsFile: creds("a") });
  const link = await openNats({ clock, random: systemRandom, log, nats, name: "a" });
  return { server, link, logged };
}

test("what a user may not hear, it hears once that is granted: nothing is restarted", async () => {
  const { server, link, logged } = await denied(systemClock);
  await using _server = server;
  const heard: string[] = [];
  const stop = link.listen("told", (message) => void heard.push(message.string()));
  await until("it is refused", () => logged.length === 1);
  expect(logged[0]).toMatch(/forbids this user to subscribe to told \(--cluster baton\): grant it/);
  await server.servers[0]!.reload(mayHear({}));
  await until("it is heard", () => {
    if (link.connected) link.connection.publish("told", "a");
    return heard.includes("a");
  });
  stop();
  link.connection.publish("told", "b");
  await link.connection.flush();
  expect(heard).not.toContain("b");
  await link.close();
});

test("what stays refused is told again after a minute and after a reconnect, and not with each try", async () => {
  let ahead = 0;
  const waiting: (() => void)[] = [];
  const after: Clock["after"] = (delay, fn, options) => {
    if (options?.background === true) waiting.push(fn);
    return systemClock.after(delay, options?.background === true ? () => undefined : fn, options);
  };
  const monotonic = (): number => systemClock.monotonic() + ahead;
  const { server, link, logged } = await denied({ ...systemClock, after, monotonic });
  await using _server = server;
  link.listen("told", () => undefined);
  const isRefused = (): Promise<void> => until("it is refused", () => waiting.length === 1);
  const tryAgain = async (): Promise<void> => {
    await isRefused();
    waiting.pop()!();
    await isRefused();
    await link.connection.flush();
  };
  for (let i = 0; i < 5; i++) await tryAgain();
  expect(logged.length).toBe(1);
  ahead = 60_000;
  for (let i = 0; i < 5; i++) await tryAgain();
  expect(logged.length).toBe(2);
  await server.servers[0]!.restart();
  await until("it is connected again", () => link.connected);
  for (let i = 0; i < 5; i++) await tryAgain();
  expect(logged.length).toBe(3);
  await link.close();
});

test("a link that is closed while it waits to be allowed something asks for it no more", async () => {
  const waiting: (() => void)[] = [];
  const after: Clock["after"] = (delay, fn, options) => {
    if (options?.background === true) waiting.push(fn);
    return systemClock.after(delay, fn, options);
  };
  const { server, link } = await denied({ ...systemClock, after });
  await using _server = server;
  link.listen("told", () => undefined);
  await until("it is refused", () => waiting.length === 1);
  await link.close();
  expect(() => waiting[0]!()).not.toThrow();
});
