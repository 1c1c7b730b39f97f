import { expect, test } from "vitest";
import { Narrator } from "../../../control/narrator.ts";
import { Agent } from "../../../control/fleet/agent.ts";
import { Books } from "../../../control/ledger/books.ts";
import { Registry } from "../../../control/registry.ts";
import { Serial } from "../../../control/serial.ts";
import type { Change, Store, StoredState } from "../../../control/store/store.ts";
import { silentLog } from "../../../proto/kernel/log.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { report } from "../../support/samples.ts";

const empty: StoredState = {
  ...{ epoch: 1, services: [], revisions: [], retirements: [], hosts: [], rollouts: [], ledgers: [], counts: [] },
};

function setup() {
  const commits: (readonly Change[])[] = [];
  const fail = { next: false };
  const store: Store = {
    description: "test",
    load: () => Promise.resolve(empty),
    commit: (_epoch, changes) => {
      if (fail.next) {
        fail.next = false;
        return Promise.reject(new Error("disk is full"));
      }
      commits.push(changes);
      return Promise.resolve({ kind: "ok", events: [] });
    },
    raiseEpoch: () => Promise.resolve({ kind: "ok" }),
    journal: () => Promise.resolve([]),
    events: () => Promise.resolve([]),
    follow: () => () => undefined,
    position: 0,
    close: () => Promise.resolve(),
  };
  const serial = new Serial();
  const registry = new Registry(store, empty);
  const narrator = new Narrator({ registry, serial, clock: new FakeClock(), log: silentLog });
  const messages = (): string[] =>
    commits.flatMap((changes) => changes.flatMap((change) => (change.kind === "event" ? [change.event.message] : [])));
  const hosts = (): string[][] =>
    commits.map((changes) => changes.map((change) => (change.kind === "event" ? change.event.host : "?")));
  return { narrator, serial, fail, hosts, messages };
}

test("a thousand hosts that are lost at once are one write to the store, in order", async () => {
  const { narrator, serial, hosts } = setup();
  for (let n = 0; n < 1_000; n++) narrator.event("host_lost", `host-${n}`, "lost");
  await serial.idle();
  expect(hosts()).toEqual([Array.from({ length: 1_000 }, (_, n) => `host-${n}`)]);
});

test("what is told while a batch is stored is in the next one, and a batch that fails holds up nobody", async () => {
  const { narrator, serial, fail, hosts } = setup();
  fail.next = true;
  narrator.event("a", "one", "");
  await serial.idle();
  narrator.event("a", "two", "");
  void serial.run(() => {
    narrator.event("a", "three", "");
    return Promise.resolve();
  });
  await serial.idle();
  await serial.idle();
  expect(hosts()).toEqual([["two"], ["three"]]);
});

test("incidents that an agent has dropped before it was heard again are told by their number", async () => {
  const { narrator, serial, messages } = setup();
  const news = narrator.newsOf(new Books(empty, 0, 0), () => undefined);
  const incidents = [100, 101].map((seq) => ({
    ...{ seq, atMs: 1, kind: "instance_exited" as const, service: "shop", message: `exit ${seq}` },
  }));
  news.report(new Agent("host-1", () => undefined), report({ incidents }));
  await serial.idle();
  expect(messages()).toEqual([
    expect.stringMatching(/^99 older incidents of host-1 are not known/),
    "exit 100",
    "exit 101",
  ]);
});
