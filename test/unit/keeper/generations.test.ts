/** Generations of workers, with time standing still and processes that the test ends. */
import { expect, test } from "vitest";
import type { WorkerEnds, WorkerStart } from "../../../agent/keeper/generations.ts";
import { Generations } from "../../../agent/keeper/generations.ts";
import type { DeadWorker, ExitInfo, KeeperToWorker, WorkerState } from "../../../agent/keeper/protocol.ts";
import { TIMES } from "../../../agent/keeper/times.ts";
import { silentLog } from "../../../proto/kernel/log.ts";
import { seededRandom } from "../../../proto/kernel/random.ts";
import { FakeClock } from "../../support/fake-clock.ts";

interface Started extends WorkerStart {
  readonly ends: WorkerEnds;
  readonly sent: KeeperToWorker[];
  readonly signals: string[];
}

const exit = (code: number | null, signal: string | null = null): ExitInfo => ({ code, signal, atMs: 0 });

function start() {
  const clock = new FakeClock();
  const workers: Started[] = [];
  const outcomes: [number, string | null][] = [];
  const dead: DeadWorker[] = [];
  const states = new Map<number, WorkerState["phase"]>();
  const generations = new Generations(
    {
      start: (given, ends) => {
        const worker: Started = { ...given, ends, sent: [], signals: [] };
        workers.push(worker);
        const process = {
          pid: 100 + given.id,
          send: (message: KeeperToWorker) => worker.sent.push(message),
          sendLatest: (message: KeeperToWorker) => worker.sent.push(message),
          kill: (signal: string) => worker.signals.push(signal),
        };
        return { process, keys: ["k"] };
      },
      statsFile: (worker) => `/stats/${String(worker)}`,
      changed: (worker) => states.set(worker.id, worker.phase),
      exited: (worker) => dead.push(worker),
      relayed: () => undefined,
      released: () => undefined,
      outcome: (generation, error) => outcomes.push([generation, error]),
    },
    clock,
    seededRandom(1),
    silentLog,
  );
  const serve = (worker: Started | undefined): void => worker!.ends.message({ type: "serving" });
  const told = (worker: Started | undefined): string[] => worker!.sent.map(({ type }) => type);
  return { clock, generations, workers, outcomes, dead, states, serve, told };
}

test("the old generation drains only when all of the new one serve", () => {
  const { generations, workers, outcomes, serve, told } = start();
  generations.setTable({});
  generations.begin(1);
  serve(workers[0]);
  generations.begin(2);
  serve(workers[1]);
  expect(told(workers[0])).toEqual([]);
  serve(workers[2]);
  expect(told(workers[0])).toEqual(["drain"]);
  expect(outcomes).toEqual([
    [1, null],
    [2, null],
  ]);
});

test("a worker of the old generation that dies while the new one comes is started again: the old one is all there is", () => {
  const { generations, workers, serve } = start();
  generations.begin(1);
  serve(workers[0]);
  generations.begin(1);
  workers[0]!.ends.exited(exit(null, "SIGKILL"), null);
  expect(workers[2]).toMatchObject({ generation: 1 });
});

test("a worker that dies draining has no successor, and is told as died; one that leaves by itself is not", () => {
  const { generations, workers, dead, serve } = start();
  generations.begin(2);
  serve(workers[0]);
  serve(workers[1]);
  generations.begin(1);
  serve(workers[2]);
  workers[0]!.ends.exited(exit(0), null);
  workers[1]!.ends.exited(exit(null, "SIGKILL"), null);
  expect(dead.map(({ id, died }) => [id, died])).toEqual([
    [1, false],
    [2, true],
  ]);
  expect(workers).toHaveLength(3);
});

test("a worker that leaves with 0, but unasked, is started again and counts as died", () => {
  const { generations, workers, dead, serve } = start();
  generations.begin(1);
  serve(workers[0]);
  workers[0]!.ends.exited(exit(0), null);
  expect(dead[0]?.died).toBe(true);
  expect(workers).toHaveLength(2);
});

test("after one that was healthy the successor starts at once; after those that crash at start, ever later", async () => {
  const { clock, generations, workers, serve } = start();
  generations.begin(1);
  for (let kill = 0; kill < 10; kill++) {
    serve(workers.at(-1));
    await clock.advance(TIMES.stableMs);
    workers.at(-1)!.ends.exited(exit(null, "SIGKILL"), null);
    expect(workers).toHaveLength(kill + 2);
  }
  const waits: number[] = [];
  for (let crash = 0; crash < 8; crash++) {
    const count = workers.length;
    workers.at(-1)!.ends.exited(exit(1), null);
    const before = clock.monotonic();
    while (workers.length === count) await clock.advance(clock.nextIn ?? 0);
    waits.push(clock.monotonic() - before);
  }
  expect(waits[0]).toBeGreaterThanOrEqual(50); // the first at once was for the last kill
  expect(waits.at(-1)).toBeGreaterThan(2_000);
  expect(Math.max(...waits)).toBeLessThanOrEqual(TIMES.restartMaxMs);
});

test("with none before it, a generation that fails is told so once, and tried on until it serves", async () => {
  const { clock, generations, workers, outcomes, serve } = start();
  generations.begin(1);
  for (let crash = 0; crash < 5; crash++) {
    workers.at(-1)!.ends.exited(exit(1), null);
    const count = workers.length;
    await clock.advance(TIMES.restartMaxMs);
    expect(workers.length).toBeGreaterThanOrEqual(count);
  }
  serve(workers.at(-1));
  expect(outcomes).toEqual([
    [1, "worker of generation 1 exited with 1, 3 times; it is tried on"],
    [1, null],
  ]);
});

test("a generation given up starts nothing more, and those of it that came drain", async () => {
  const { clock, generations, workers, outcomes, serve, told } = start();
  generations.begin(1);
  serve(workers[0]);
  generations.begin(2);
  serve(workers[1]);
  for (let crash = 0; crash < 3; crash++) {
    await clock.advance(TIMES.restartMaxMs);
    workers.at(-1)!.ends.exited(exit(null), "EAGAIN");
  }
  expect(outcomes.at(-1)).toEqual([
    2,
    "worker of generation 2 could not be started: EAGAIN, 3 times; generation 1 goes on",
  ]);
  expect(told(workers[1])).toEqual(["drain"]);
  expect(told(workers[0])).toEqual([]);
  const count = workers.length;
  await clock.advance(60_000);
  expect(workers).toHaveLength(count);
  expect(clock.pending).toBe(0);
});

test("a worker that has a table and does not come to serve is killed; one without a table is waited for", async () => {
  const { clock, generations, workers } = start();
  generations.begin(1);
  await clock.advance(5 * TIMES.serveMs);
  expect(workers[0]!.signals).toEqual([]);
  generations.setTable({});
  await clock.advance(TIMES.serveMs);
  expect(workers[0]!.signals).toEqual(["SIGKILL"]);
});

test("a table that any worker refused is not given to the next, until a newer one comes", () => {
  const { generations, workers, serve } = start();
  generations.setTable("good");
  generations.begin(1);
  workers[0]!.ends.message({ type: "tabled", number: 1, ok: true });
  serve(workers[0]);
  generations.setTable("bad");
  workers[0]!.ends.message({ type: "tabled", number: 2, ok: false });
  workers[0]!.ends.message({ type: "tabled", number: 1, ok: true }); // late news of an older one
  workers[0]!.ends.exited(exit(1), null);
  expect(workers[1]).toMatchObject({ table: "good", number: 1 });
  generations.setTable("better");
  workers[1]!.ends.exited(exit(1), null);
  expect(generations.table).toBe("better");
});

test("when the agent stops, all drain and none is started again, whatever dies then", async () => {
  const { clock, generations, workers, serve, told } = start();
  generations.begin(1);
  serve(workers[0]);
  generations.begin(1);
  workers[1]!.ends.exited(exit(1), null);
  generations.drainAll();
  expect(workers.map(told).flat()).toEqual(["drain", "drain"]);
  workers[0]!.ends.exited(exit(null, "SIGKILL"), null);
  generations.begin(1);
  await clock.advance(60_000);
  expect(workers).toHaveLength(3);
});

test("listeners are in use until the last worker that drains has let go of them, not only when it has gone", () => {
  const { generations, workers, serve } = start();
  generations.begin(2);
  serve(workers[0]);
  serve(workers[1]);
  workers[0]!.ends.message({ type: "released" }); // nobody has told it to: it may still accept
  generations.drainAll();
  workers[1]!.ends.message({ type: "released" });
  expect(generations.keysInUse()).toEqual(new Set(["k"]));
  workers[0]!.ends.message({ type: "released" });
  expect(generations.keysInUse()).toEqual(new Set());
  expect(generations.alive).toBe(2);
});
