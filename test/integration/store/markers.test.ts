/** Records that are taken away leave markers in the bucket, and those go after a while. */
import { expect, test } from "vitest";
import { Bucket } from "../../../control/store/nats/bucket.ts";
import { StuckLeaders } from "../../../control/stuck-leader.ts";
import { Records } from "../../../control/store/nats/records.ts";
import { recordKey } from "../../../control/store/nats/keys.ts";
import { State } from "../../../control/store/nats/state.ts";
import { silentLog } from "../../../proto/kernel/log.ts";
import { systemClock } from "../../../proto/runtime/system-clock.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { startNats } from "../../support/nats.ts";
import { host } from "../../support/samples.ts";

const MINUTES = 60_000;
const mine = (): Promise<boolean> => Promise.resolve(true);

test("a marker is erased ten minutes on, by its key: what was written there since stays, and so does all else", async () => {
  await using nats = await startNats();
  const ambient = { link: await nats.link(), clock: systemClock, log: silentLog };
  const bucket = new Bucket({
    ...ambient,
    stuck: new StuckLeaders(ambient),
    name: "baton_test",
    only: null,
    told: null,
  });
  await bucket.open();
  const clock = new FakeClock();
  const [state, records] = [new State(), new Records(bucket, clock)];
  const [gone, again, kept] = ["gone", "again", "kept"].map((name) => recordKey("host", name)) as [
    string,
    string,
    string,
  ];
  const write = (...keys: readonly string[]) => records.write(state, keys, mine);
  const there = async () => (await bucket.keys("*")).toSorted();

  for (const name of ["gone", "again", "kept"]) state.hosts.set(name, host(name));
  await write(gone, again, kept);
  for (const name of ["gone", "again"]) state.hosts.delete(name);
  await write(gone, again);
  state.hosts.set("again", host("again"));
  await write(again);
  expect(await there()).toEqual([again, gone, kept]);
  await clock.advance(11 * MINUTES);
  await write(kept);
  expect(await there()).toEqual([again, kept]);
  expect(await bucket.get(again)).toMatchObject({ value: expect.any(Uint8Array) as unknown });

  // Too old a number is nobody's; that of another record takes only what its own key has before it.
  const [first, second] = [(await bucket.get(again))?.revision ?? 0, (await bucket.get(kept))?.revision ?? 0];
  await bucket.erase(again, first - 1);
  expect(await there()).toEqual([again, kept]);
  await bucket.erase(again, second);
  expect(await there()).toEqual([kept]);
});
