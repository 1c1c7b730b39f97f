/** One worker's life around a data path that the test scripts. */
import { expect, test } from "vitest";
import type { KeeperToWorker, WorkerToKeeper } from "../../../agent/keeper/protocol.ts";
import { Worker } from "../../../agent/worker/worker.ts";
import type { DataPath } from "../../../agent/worker/worker.ts";
import type { LogFields } from "../../../proto/kernel/log.ts";
import { silentLog } from "../../../proto/kernel/log.ts";
import { FakeClock } from "../../support/fake-clock.ts";

const listeners = [
  { key: "a", fd: 4 },
  { key: "b", fd: 5 },
];
const startWith = (table: unknown, number = 0): KeeperToWorker => ({
  type: "start",
  id: 1,
  generation: 1,
  statsFile: "/s",
  agent: "x",
  logLevel: "silent",
  accessLog: null,
  listeners,
  table,
  number,
});
const table = (sequence: number): unknown => ({ sequence });

function start(path: Partial<DataPath> = {}) {
  const clock = new FakeClock();
  const sent: WorkerToKeeper[] = [];
  const did: string[] = [];
  const exits: number[] = [];
  const errors: unknown[] = [];
  const log = { ...silentLog, error: (fields: LogFields) => errors.push(fields["err"]) };
  const drained = Promise.withResolvers<undefined>();
  const worker = new Worker({
    clock,
    log: () => log,
    open: () =>
      Promise.resolve({
        apply: ({ sequence }) => (did.push(`apply ${String(sequence)}`), { kind: "ok", sequence }),
        listen: (key) => Promise.resolve(did.push(`listen ${key}`)),
        drain: async () => {
          did.push("drain");
          await drained.promise;
        },
        close: () => (did.push("close"), Promise.resolve()),
        connections: () => [],
        ...path,
      }),
    send: (message) => sent.push(message),
    exit: (code) => exits.push(code),
  });
  const types = (): string[] =>
    sent.map((message) => (message.type === "relay" ? (message.body as { kind: string }).kind : message.type));
  return { clock, worker, sent, did, exits, drained, errors, types };
}

test("it listens only once it has a table, and serves once it listens on all", async () => {
  const { clock, worker, did, types } = start();
  worker.receive(startWith(null));
  await clock.advance(0);
  expect(did).toEqual([]);
  worker.receive({ type: "table", table: table(3), number: 1 });
  await clock.advance(0);
  expect(did).toEqual(["apply 3", "listen a", "listen b"]);
  expect(types()).toEqual(["tabled", "serving", "applied"]);
  worker.receive({ type: "table", table: table(4), number: 2 });
  await clock.advance(0);
  expect(types()).toEqual(["tabled", "serving", "applied", "tabled", "applied"]);
});

test("a first table that is refused leaves it waiting for a better one", async () => {
  let good = false;
  const { clock, worker, sent, types } = start({
    apply: ({ sequence }) => (good ? { kind: "ok", sequence } : { kind: "rejected", why: "no" }),
  });
  worker.receive(startWith(table(1), 7));
  await clock.advance(0);
  expect(sent).toEqual([
    { type: "tabled", number: 7, ok: false },
    { type: "relay", body: { kind: "rejected", sequence: 1, why: "no" } },
  ]);
  good = true;
  worker.receive({ type: "table", table: table(2), number: 8 });
  await clock.advance(0);
  expect(types().slice(2)).toEqual(["tabled", "serving", "applied"]);
});

test("a drain that comes while it is still opening is not forgotten", async () => {
  const { clock, worker, did, exits, drained } = start();
  worker.receive(startWith(table(1)));
  worker.receive({ type: "drain", hurry: true });
  await clock.advance(0);
  expect(did.at(-1)).toBe("drain");
  expect(exits).toEqual([]);
  drained.resolve(undefined);
  await clock.advance(0);
  expect(exits).toEqual([0]);
});

test("told to drain before it ever listened, it leaves at once", async () => {
  const { clock, worker, did, exits } = start();
  worker.receive(startWith(null));
  worker.receive({ type: "drain", hurry: true });
  await clock.advance(0);
  expect(did).toEqual([]);
  expect(exits).toEqual([0]);
});

test("a table still changes what a draining worker does", async () => {
  const { clock, worker, did } = start();
  worker.receive(startWith(table(1)));
  worker.receive({ type: "drain", hurry: true });
  worker.receive({ type: "table", table: table(2), number: 2 });
  await clock.advance(0);
  expect(did.slice(-2)).toEqual(["drain", "apply 2"]);
});

test("a listener that fails ends the process with 1, and says why", async () => {
  const { clock, worker, exits, errors, types } = start({ listen: () => Promise.reject(new Error("EBADF")) });
  worker.receive(startWith(table(1)));
  await clock.advance(0);
  expect(exits).toEqual([1]);
  expect(errors).toEqual([new Error("EBADF")]);
  expect(types()).not.toContain("serving");
});

test("without its keeper it drains, and does not stay for ever", async () => {
  const { clock, worker, did, exits } = start();
  worker.receive(startWith(table(1)));
  await clock.advance(0);
  worker.orphaned();
  await clock.advance(29_999);
  expect(did.at(-1)).toBe("drain");
  expect(exits).toEqual([]);
  await clock.advance(1);
  expect(did.at(-1)).toBe("close");
  expect(exits).toEqual([1]);
});

test("asked for its connections, it answers under the same number", async () => {
  const { clock, worker, sent } = start();
  worker.receive(startWith(table(1)));
  worker.receive({ type: "relayed", body: { kind: "list-connections", request: 9, limit: 5 } });
  await clock.advance(0);
  expect(sent.at(-1)).toEqual({ type: "relay", body: { kind: "connections", request: 9, list: [] } });
});
