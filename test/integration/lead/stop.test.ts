import { expect, test } from "vitest";
import { Cluster } from "../../../control/lead/cluster.ts";
import type { Desk } from "../../../control/desk.ts";
import { silentLog } from "../../../proto/kernel/log.ts";
import { systemRandom } from "../../../proto/runtime/system-clock.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { startNats } from "../../support/nats.ts";
import { until } from "../../support/processes.ts";

test("a leader whose NATS has no majority ends all the same: it waits for so long, and no longer", async () => {
  await using nats = await startNats({ servers: 3, advertise: false });
  const link = await nats.link({ servers: nats.urls.slice(0, 1) });
  const clock = new FakeClock();
  let desk: Desk | undefined;
  const cluster = new Cluster({
    nats: nats.options(),
    openLink: () => Promise.resolve(link),
    became: (now) => void (desk = now),
    ground: {
      ...{ id: "c1", software: "test", startedAtMs: 0, clock, random: systemRandom, log: silentLog },
      ...{ now: () => clock.now(), operatorToken: null, leaseMs: 1_000, reportEveryMs: 1_000 },
      measure: () => Promise.reject(new Error("nothing is measured")),
    },
  });
  cluster.start();
  await until("it leads", async () => {
    await clock.advance(100);
    return desk?.role === "leader";
  });
  // The one that it is connected to goes on, and answers nothing of what is stored.
  await Promise.all(nats.servers.slice(1).map((server) => server.kill()));
  let ended = false;
  const stopped = cluster.stop("the controller stops").then(() => (ended = true));
  await clock.advance(3_900);
  expect(ended).toBe(false);
  // Whatever asks the servers again does so by this clock, which stands still from here on.
  await clock.advance(100);
  await stopped;
  expect(link.connection.isClosed()).toBe(true);
}, 60_000);
