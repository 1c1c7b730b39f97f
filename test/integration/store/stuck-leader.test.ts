/** A server that leads a stream and takes no write any more, seen of nats-server 2.9.10 (control/stuck-leader.ts). */
import { NatsError } from "nats";
import type { JetStreamClient } from "nats";
import { expect, test } from "vitest";
import { Bucket } from "../../../control/store/nats/bucket.ts";
import { StuckLeaders } from "../../../control/stuck-leader.ts";
import type { NatsLink } from "../../../proto/contract/nats-link.ts";
import { silentLog } from "../../../proto/kernel/log.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { startNats } from "../../support/nats.ts";
import { until } from "../../support/processes.ts";
import { altered } from "./kit.ts";

/** Writes are answered, or waited for in vain. */
function stuckOn(link: NatsLink) {
  const state = { stuck: false };
  const { connection } = link;
  const jetstream: typeof connection.jetstream = (options) => {
    const client = connection.jetstream(options);
    const publish: JetStreamClient["publish"] = (...of) =>
      state.stuck ? Promise.reject(new NatsError("TIMEOUT", "TIMEOUT")) : client.publish(...of);
    return altered(client, { publish });
  };
  return { state, link: altered(link, { connection: altered(connection, { jetstream }) }) };
}

test("it is known for as long, though each of its writers gives up sooner and opens anew", async () => {
  await using nats = await startNats({ servers: 3 });
  const { state, link } = stuckOn(await nats.link());
  const [clock, told] = [new FakeClock(), [] as string[]];
  const log = { ...silentLog, warn: (_: unknown, message: string) => void told.push(message) };
  const stuck = new StuckLeaders({ link, clock, log });
  const put = async (): Promise<string> => {
    state.stuck = false;
    const bucket = new Bucket({ link, clock, log, stuck, name: "baton_test", only: null, told: null });
    await bucket.open();
    state.stuck = true;
    return (await bucket.put("key", Buffer.from("value"), 0)).kind;
  };
  expect(await put()).toBe("unknown");
  await clock.advance(10_100);
  expect(await put()).toBe("unknown");
  await until("it is told", () => told.length > 0);
  expect(told[0]).toMatch(/KV_baton_test has answered no write for 10 s; another one leads it now/);
});

test("when it has answered no write for ten seconds, another server leads; one answer in between counts anew", async () => {
  await using nats = await startNats({ servers: 3 });
  const { state, link } = stuckOn(await nats.link());
  const [clock, told] = [new FakeClock(), [] as string[]];
  const log = { ...silentLog, warn: (_: unknown, message: string) => void told.push(message) };
  const bucket = new Bucket({
    link,
    clock,
    log,
    stuck: new StuckLeaders({ link, clock, log }),
    name: "baton_test",
    only: null,
    told: null,
  });
  await bucket.open();
  const put = async (revision = 0): Promise<string> => (await bucket.put("key", Buffer.from("value"), revision)).kind;
  const after = async (ms: number, stuck: boolean): Promise<string> => {
    await clock.advance(ms);
    state.stuck = stuck;
    return await put(1);
  };
  const leader = await nats.leaderOf("KV_baton_test");
  expect(await put()).toBe("ok");
  expect(await after(0, true)).toBe("unknown");
  expect(await after(9_000, true)).toBe("unknown");
  expect(await after(0, false)).toBe("ok");
  expect(await after(9_000, true)).toBe("unknown");
  expect(await after(9_900, true)).toBe("unknown");
  expect(told).toEqual([]);
  expect(await nats.leaderOf("KV_baton_test")).toBe(leader);
  expect(await after(200, true)).toBe("unknown");
  await until("it is told", () => told.length > 0);
  expect(told).toEqual([
    "the server that leads KV_baton_test has answered no write for 10 s; another one leads it now",
  ]);
  await until("another one leads", async () => (await nats.leaderOf("KV_baton_test")) !== leader);
});
