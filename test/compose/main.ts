/**
 * `npm run compose:test`: the fleet of docker-compose.yml on the real engine, under traffic all the while. It is rolled,
 * a sidecar's container is replaced, a controller, a NATS server and an agent are killed, a host is cut off; then two
 * ledgers are read, the client's and Baton's.
 *
 * Passes  when every rollout has ended well and without loss, and the client lost nothing but what was in flight on the
 *         agent that was killed, at the very moment. Exit 0, else 1; interrupted 130. It takes away all that it made, but
 *         what cargo and Docker keep to build sooner the next time.
 */
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { connect } from "node:net";
import { setTimeout as wait } from "node:timers/promises";
import { systemClock, systemRandom } from "../../proto/runtime/system-clock.ts";
import type { ClientLedger, LossRecord } from "../loss/ledger.ts";
import { table } from "../loss/table.ts";
import { startTraffic } from "../loss/traffic.ts";
import type { Traffic } from "../loss/traffic.ts";
import { ensurePrograms } from "../support/debian.ts";
import { until } from "../support/processes.ts";
import { ComposeCluster } from "./cluster.ts";
import { attempt, run } from "./command.ts";
import { buildImages } from "./images.ts";

const GATEWAY_RATE = 40;
const DIRECT_RATE = 15;
const ROLLOUT_MS = 120_000;
/** A partition that outlasts every lease of a small fleet. */
const CUT_MS = 12_000;

const startedAt = performance.now();
const say = (line: string): void => {
  process.stdout.write(`${((performance.now() - startedAt) / 1_000).toFixed(1).padStart(6)} s  ${line}\n`);
};

const cluster = new ComposeCluster(`baton${randomBytes(3).toString("hex")}`);
const traffics: Traffic[] = [];
const wrong: string[] = [];
const expect = (what: string, holds: boolean): void => {
  if (holds) return;
  wrong.push(what);
  say(`WRONG: ${what}`);
};

function traffic(host: string, port: number, rate: number): Traffic {
  const started = startTraffic({
    ...{ target: { host, port }, rate, resend: true, clock: systemClock, random: systemRandom },
    onLoss: (loss) =>
      say(`lost: ${loss.kind} ${loss.cause} ${loss.detail}, begun ${Math.round(loss.afterMs)} ms before`),
  });
  traffics.push(started);
  return started;
}

async function roll(version: "v1" | "v2", by: string, meanwhile: () => Promise<void> = () => Promise.resolve()) {
  const from = performance.now();
  await cluster.deploy(by, version);
  await meanwhile();
  const { ledger } = await cluster.rolledOut(by, version, ROLLOUT_MS);
  const seconds = ((performance.now() - from) / 1_000).toFixed(1);
  say(`rolled to ${version} in ${seconds} s; Baton's ledger: ${ledger.requests} requests, ${ledger.lostTotal} lost`);
  expect(`the ledger of the rollout to ${version} names ${ledger.lostTotal} lost`, ledger.lostTotal === 0);
}

async function scenario(): Promise<void> {
  await buildImages(cluster.images, say);
  await cluster.up();
  say("up: 3 NATS servers, 2 controllers, a gateway, 3 hosts, all in step");
  await roll("v1", "controller1");

  const { host, port } = await cluster.published("gateway", 8080);
  await accepting(host, port);
  const through = traffic(host, port, GATEWAY_RATE);
  const straight = traffic(await cluster.address("host1"), 8080, DIRECT_RATE);
  await wait(2_000);
  await roll("v2", "controller2");

  const before = { apps: await cluster.apps("host1"), agent: await id("agent1") };
  await cluster.compose("up", "-d", "--no-deps", "--force-recreate", "agent1");
  await cluster.settled("controller1");
  expect("agent1 is another container", (await id("agent1")) !== before.agent);
  expect("host1's app containers are the same", String(await cluster.apps("host1")) === String(before.apps));
  await wait(3_000);
  const direct = await straight.stop();
  say(`agent1's container replaced; straight to its host ${brief(direct)}`);
  expect(`${direct.total.lost} lost straight to host1`, direct.clean);

  const leader = await leads();
  const other = leader === "controller1" ? "controller2" : "controller1";
  await roll("v1", other, async () => {
    await wait(2_000);
    await kill(leader);
    say(`${leader}, which led, and nats1 are killed in mid-rollout`);
    await kill("nats1");
  });
  await run("docker", ["start", cluster.container(leader), cluster.container("nats1")]);
  await cluster.settled(other);

  await roll("v2", other, async () => {
    await wait(1_000);
    const address = await cluster.address("host2");
    await run("docker", ["network", "disconnect", "--force", cluster.network, cluster.container("host2")]);
    say("host2 is cut off in mid-rollout");
    await wait(CUT_MS);
    await run("docker", ["network", "connect", "--alias", "host2", cluster.network, cluster.container("host2")]);
    expect("host2 has its address again", (await cluster.address("host2")) === address);
    say("host2 is back");
  });

  expect(`${through.snapshot().total.lost} lost through the gateway so far`, through.snapshot().total.lost === 0);
  const killing = systemClock.now();
  await kill("agent3");
  const killed = systemClock.now();
  say("agent3 is killed");
  await wait(2_000);
  await run("docker", ["start", cluster.container("agent3")]);
  await cluster.settled(other);
  await roll("v1", other);

  const ledger = await through.stop();
  process.stdout.write(`\nthrough the gateway:\n${table(ledger)}\n\nstraight to host1:\n${table(direct)}\n\n`);
  const inFlight = (loss: LossRecord): boolean => loss.atMs - loss.afterMs <= killed && loss.atMs >= killing;
  const unexplained = ledger.losses.filter((loss) => !inFlight(loss));
  const named = ledger.total.lost - unexplained.length;
  say(`through the gateway ${brief(ledger)}, ${named} of them in flight on agent3 as it was killed`);
  expect(`${unexplained.length} lost through the gateway for no reason`, unexplained.length === 0);
  expect("the client's books balance", ledger.balanced && ledger.counters.violations === 0);
  expect(
    "both versions answered",
    ["v1", "v2"].every((version) => (ledger.versions[version] ?? 0) > 0),
  );
}

const brief = ({ total }: ClientLedger): string => `${total.lost} of ${total.started} lost`;

async function kill(service: string): Promise<void> {
  await run("docker", ["kill", cluster.container(service)]);
}

const id = (service: string): Promise<string> =>
  run("docker", ["inspect", "-f", "{{.Id}}", cluster.container(service)]);

/** By the newest word of each controller on its own part. */
async function leads(): Promise<string> {
  for (const name of ["controller1", "controller2"]) {
    const { stdout, stderr } = await attempt("docker", ["logs", cluster.container(name)]);
    const roles = [...`${stdout}${stderr}`.matchAll(/"role":"(\w+)"/g)];
    if (roles.at(-1)?.[1] === "leader") return name;
  }
  throw new Error("no controller says that it leads");
}

async function accepting(host: string, port: number): Promise<void> {
  await until("the gateway listens", () => {
    return new Promise<boolean>((done) => {
      const socket = connect(port, host, () => {
        socket.destroy();
        done(true);
      });
      socket.once("error", () => done(false));
    });
  });
}

async function tearDown(): Promise<void> {
  await Promise.all(traffics.map((each) => each.stop()));
  for (const sentence of await cluster.down()) say(`left behind: ${sentence}`);
  say("taken down");
}

async function main(): Promise<number> {
  ensurePrograms([
    { command: "docker", debian: "docker.io", why: "the cluster runs as containers" },
    { command: "docker-compose", debian: "docker-compose", why: "the cluster is a compose file" },
  ]);
  if ((await attempt("docker", ["info"])).code !== 0) {
    const where = existsSync("/var/run/docker.sock") ? "may this user speak to it?" : "is dockerd running?";
    throw new Error(`no Docker engine answers: ${where}`);
  }
  const interrupted = new Promise<never>((_, reject) => {
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
      process.once(signal, () => reject(new Error(`interrupted (${signal})`)));
    }
  });
  try {
    await Promise.race([scenario(), interrupted]);
  } catch (error) {
    wrong.push(error instanceof Error ? error.message : String(error));
    process.stdout.write(`\n${await cluster.logs().catch(() => "")}\n`);
  } finally {
    await tearDown();
  }
  say(wrong.length === 0 ? "passed" : `FAILED:\n  ${wrong.join("\n  ")}`);
  return wrong.length === 0 ? 0 : wrong.some((one) => one.startsWith("interrupted")) ? 130 : 1;
}

try {
  process.exitCode = await main();
} catch (error) {
  process.stderr.write(`compose:test: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
// A scenario that was interrupted may still wait for something.
process.exit();
