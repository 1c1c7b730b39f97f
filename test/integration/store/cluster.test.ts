/** Three servers, of which some are lost while commits go on. Their elections take seconds, on a busy machine tens of them. */
import { expect, test } from "vitest";
import type { Change } from "../../../control/store/store.ts";
import { StoreUnsure } from "../../../control/store/store.ts";
import { startNats } from "../../support/nats.ts";
import { until } from "../../support/processes.ts";
import { listen } from "../../support/store-contract.ts";
import { open } from "./kit.ts";

const told = (message: string): Change => ({
  kind: "event",
  event: { atMs: 1, kind: "test", service: "", rollout: "", host: "", actor: "", message },
});
const PATIENCE_MS = 120_000;
const STREAM = "KV_baton_baton_store_head";

test(
  "the server that leads the bucket is killed during commits: none that was told is lost, none is there twice",
  { timeout: PATIENCE_MS },
  async () => {
    await using nats = await startNats({ servers: 3 });
    const [store, reader] = [await open(nats, "baton"), await open(nats, "baton")];
    await store.raiseEpoch(1);
    await store.load();
    const heard = listen(reader);
    await reader.load();
    const [committed, unsure]: [string[], string[]] = [[], []];
    let n = 0;
    const commits = async (count: number): Promise<void> => {
      for (const until = committed.length + count; committed.length < until;) {
        const message = `event ${String(++n)}`;
        try {
          expect((await store.commit(1, [told(message)])).kind).toBe("ok");
          committed.push(message);
        } catch (error) {
          if (error instanceof StoreUnsure) unsure.push(message);
          await store.load().catch(() => undefined);
        }
      }
    };
    await commits(20);
    const leader = await nats.leaderOf(STREAM);
    const killed = new AbortController();
    const going = (async () => {
      while (!killed.signal.aborted) await commits(1);
      await commits(20);
    })();
    await until("commits go on", () => committed.length > 30, PATIENCE_MS);
    await leader.kill();
    killed.abort();
    await going;
    await leader.restart();
    await commits(10);

    const state = await open(nats, "baton");
    const stored = (await state.events({ afterSeq: 0, service: "", limit: 1_000 })).map(({ message }) => message);
    expect(stored.filter((message) => !unsure.includes(message))).toEqual(committed);
    expect(new Set(stored).size).toBe(stored.length);
    // The follower heard them all, or was told that it did not.
    await until(
      "the follower is up to date",
      async () => {
        if (heard.gaps.length > 0) await reader.load();
        const known = (await reader.events({ afterSeq: 0, service: "", limit: 1_000 })).map(({ message }) => message);
        return known.length === stored.length && known.every((message, i) => message === stored[i]);
      },
      PATIENCE_MS,
    );
    for (const one of [store, reader, state]) await one.close();
  },
);

test(
  "without a majority commits reject within a bounded time, and go in again once it is back",
  { timeout: PATIENCE_MS },
  async () => {
    await using nats = await startNats({ servers: 3 });
    const store = await open(nats, "baton");
    await store.raiseEpoch(1);
    await store.load();
    await store.commit(1, [told("before")]);
    const [first, second] = nats.servers;
    await Promise.all([first!.kill(), second!.kill()]);
    const failed = await store.commit(1, [told("during")]).catch((error: unknown) => error);
    expect(failed).toBeInstanceOf(Error);
    expect((failed as Error).message).toMatch(/most of its servers must run|is tried again|does not answer|connection/);
    await Promise.all([first!.restart(), second!.restart()]);
    await until(
      "it can be loaded",
      () =>
        store.load().then(
          () => true,
          () => false,
        ),
      PATIENCE_MS,
    );
    await until(
      "a commit goes in",
      () =>
        store.commit(1, [told("after")]).then(
          () => true,
          () => false,
        ),
      PATIENCE_MS,
    );
    const stored = (await store.events({ afterSeq: 0, service: "", limit: 9 })).map(({ message }) => message);
    expect(stored.filter((message) => message !== "during")).toEqual(["before", "after"]);
    await store.close();
  },
);
