/** The lease's register on a real server, where others than controllers have written to its bucket. */
import { expect, test } from "vitest";
import { KvRegister } from "../../../control/lead/kv-register.ts";
import { silentLog } from "../../../proto/kernel/log.ts";
import { systemClock } from "../../../proto/runtime/system-clock.ts";
import { startNats } from "../../support/nats.ts";

const BUCKET = "baton_test_lead";
const ME = { id: "c1", incarnation: "one" };

test("a lease can be renewed and taken after a person put another key there, and after the stream was purged", async () => {
  await using nats = await startNats({ servers: 1 });
  const link = await nats.link();
  const register = new KvRegister(link, BUCKET, { clock: systemClock, log: silentLog });
  expect(await register.read()).toEqual({ holder: { id: "", incarnation: "" }, revision: 0 });
  expect(await register.write(ME, 0)).toBe(1);

  const kv = await link.connection.jetstream().views.kv(BUCKET);
  await kv.put("note", "by hand");
  expect(await register.write(ME, 1)).toBeNull();
  const noted = await register.read();
  expect(noted.holder).toEqual(ME);
  expect(await register.write(ME, noted.revision)).toBe(3);

  const jsm = await link.connection.jetstreamManager();
  await jsm.streams.purge(`KV_${BUCKET}`);
  const purged = await register.read();
  expect(purged.holder.id).toBe("");
  expect(await register.write(ME, purged.revision)).toBe(4);
  expect(await register.read()).toEqual({ holder: ME, revision: 4 });
});
