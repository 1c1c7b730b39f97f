/**
 * The core against everything that can happen to it, in any order: assignments (late and stale ones too), sick and dying
 * apps, workers that are slow to take a table, that die, new generations, requests in flight, its own death. The oracle
 * is a few sentences that must hold at every message the core sends, and where it must end up when all is quiet.
 */
import fc from "fast-check";
import { expect, test } from "vitest";
import type { AssignedRevision, Assignment } from "../../../proto/contract/assignment.ts";
import type { CoreToKeeper } from "../../../agent/keeper/protocol.ts";
import type { TableConfig } from "../../../agent/proxy/config.ts";
import { assignment, health, probe, revision, run, service } from "../../support/core/assignments.ts";
import { ScriptedKeeper } from "../../support/core/scripted-keeper.ts";

type Step =
  | { readonly kind: "offer"; readonly shape: number; readonly stale: boolean }
  | { readonly kind: "sick"; readonly nth: number; readonly sick: boolean }
  | { readonly kind: "exit"; readonly nth: number }
  | { readonly kind: "slow"; readonly slow: boolean }
  | { readonly kind: "in-flight"; readonly slot: number; readonly count: number }
  | { readonly kind: "generation" }
  | { readonly kind: "worker-dies" }
  | { readonly kind: "core-dies" }
  | { readonly kind: "pass"; readonly ms: number };

const both = health({ readiness: probe({ unhealthyThreshold: 2 }), liveness: probe({ unhealthyThreshold: 4 }) });
const rev = (number: number, mode: AssignedRevision["mode"], count = 1, weight = 10_000): AssignedRevision =>
  revision(number, mode, { run: run({ count }), health: both, weight: mode === "serving" ? weight : 0 });
const SHAPES: readonly (readonly AssignedRevision[])[] = [
  [rev(1, "serving")],
  [rev(1, "serving"), rev(2, "standby")],
  [rev(1, "serving", 1, 5_000), rev(2, "serving", 1, 5_000)],
  [rev(1, "serving"), rev(2, "serving", 1, 0)],
  [rev(1, "draining"), rev(2, "serving")],
  [rev(2, "serving")],
  [rev(2, "serving", 2)],
  [rev(2, "draining"), rev(3, "serving")],
  [],
];

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant("offer"), shape: fc.nat(SHAPES.length - 1), stale: fc.constant(false) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("offer"), shape: fc.nat(SHAPES.length - 1), stale: fc.constant(true) }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("sick"), nth: fc.nat(5), sick: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("exit"), nth: fc.nat(5) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("slow"), slow: fc.boolean() }) },
  {
    weight: 5,
    arbitrary: fc.record({ kind: fc.constant("in-flight"), slot: fc.integer({ min: 1, max: 3 }), count: fc.nat(2) }),
  },
  { weight: 1, arbitrary: fc.constant({ kind: "generation" }) },
  { weight: 1, arbitrary: fc.constant({ kind: "worker-dies" }) },
  { weight: 1, arbitrary: fc.constant({ kind: "core-dies" }) },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("pass"), ms: fc.constantFrom(1, 30, 300, 1_000, 3_000) }) },
);

class Run implements Disposable {
  readonly keeper = new ScriptedKeeper();
  readonly inFlight = new Map<number, number>();
  readonly #tables = new Map<number, TableConfig>();
  #generation = 0;
  newest: Assignment | null = null;
  readonly #broken: unknown[] = [];

  constructor() {
    // Thrown where it is said, it would be the core's to deal with.
    this.keeper.onSaid = (message) => {
      try {
        this.#checkMessage(message);
      } catch (error) {
        this.#broken.push(error);
      }
    };
  }

  async do(one: Step): Promise<void> {
    const { keeper } = this;
    switch (one.kind) {
      case "offer": {
        if (one.stale && this.#generation < 2) return;
        if (!one.stale) this.#generation += 1;
        const generation = one.stale ? this.#generation - 1 : this.#generation;
        // No deadline: nothing may be cut.
        const drain = { ...service([]).drain, timeoutMs: 1e9 };
        const offered = assignment(generation, [service(SHAPES[one.shape]!, { drain })]);
        if (!one.stale) this.newest = offered;
        keeper.offer(offered);
        break;
      }
      case "sick": {
        const port = 30_001 + one.nth;
        if (one.sick) keeper.sick.set(port, "503");
        else keeper.sick.delete(port);
        break;
      }
      case "exit": {
        const running = [...keeper.processes.values()].filter(({ exit }) => exit === null);
        const chosen = running[one.nth % Math.max(1, running.length)];
        if (chosen !== undefined) keeper.exitProcess(chosen.spec.id, 1);
        break;
      }
      case "slow":
        this.#slow(one.slow);
        break;
      case "in-flight":
        this.inFlight.set(one.slot, one.count);
        this.#write();
        break;
      case "generation":
        keeper.serve();
        this.#write();
        break;
      case "worker-dies": {
        const [first] = keeper.workers.keys();
        if (first === undefined) return;
        keeper.endWorker(first, true);
        if (keeper.workers.size === 0) keeper.serve(); // the keeper starts another by itself
        this.#write();
        break;
      }
      case "core-dies":
        this.check();
        keeper.restart();
        break;
      case "pass":
        await keeper.settle(one.ms);
        break;
    }
    await keeper.settle();
    this.check();
  }

  /** What must hold at every moment, and did at every message. */
  check(): void {
    const { keeper } = this;
    if (this.#broken.length > 0) throw this.#broken[0];
    const living = [...keeper.processes.values()].filter(({ exit }) => exit === null);
    const ids = living.map(({ spec }) => spec.env["BATON_INSTANCE"]);
    expect(new Set(ids).size, "one process an instance").toBe(ids.length);
    const applied = keeper.source.appliedList;
    for (let at = 1; at < applied.length; at++) {
      expect(applied[at]!.generation, "I4").toBeGreaterThanOrEqual(applied[at - 1]!.generation);
    }
  }

  /** Everything gets well and quick; then the agent must be just what the newest assignment says. */
  async quiet(): Promise<void> {
    const { keeper } = this;
    keeper.sick.clear();
    this.#slow(false);
    this.inFlight.clear();
    this.#write();
    // What was given to a core that died before it was live, the controller gives to the next.
    if (this.newest !== null) keeper.offer(this.newest);
    await keeper.settle(120_000);
    this.check();
    if (this.newest === null) return;
    const wanted = this.newest.services[0]!.revisions.flatMap(({ version, mode, run: how }) =>
      Array.from(
        { length: how.kind === "process" ? how.count : 0 },
        () => `${version} ${mode === "standby" ? "ready" : mode}`,
      ),
    );
    const states = keeper.core.instanceReports().filter(({ state }) => state !== "stopped");
    expect(states.map(({ version, state }) => `${version} ${state}`).sort()).toEqual(wanted.sort());
    const shares = keeper.table!.services.flatMap(({ versions }) =>
      versions.filter(({ endpoints }) => endpoints.some(({ mode }) => mode === "serving")),
    );
    expect(shares.map(({ version, weight }) => `${version} ${weight}`).sort()).toEqual(
      this.newest.services[0]!.revisions.filter(({ mode }) => mode === "serving").map(
        ({ version, weight }) => `${version} ${weight}`,
      ),
    );
    expect(keeper.core.assignments.applied?.generation).toBe(this.newest.generation);
  }

  [Symbol.dispose](): void {
    this.keeper[Symbol.dispose]();
  }

  #slow(slow: boolean): void {
    this.keeper.autoApply = !slow;
    if (!slow) for (const id of this.keeper.workers.keys()) this.keeper.apply(id);
  }

  /** All that is in flight is on the newest worker. */
  #write(): void {
    const ids = [...this.keeper.workers.keys()];
    for (const id of ids) this.keeper.writeStats(id, {});
    const newest = ids.at(-1);
    if (newest === undefined) return;
    const slots = [...this.inFlight].map(([slot, inFlight]) => [slot, { inFlight, started: 10 }]);
    this.keeper.writeStats(newest, Object.fromEntries(slots) as Parameters<ScriptedKeeper["writeStats"]>[1]);
  }

  #checkMessage(message: CoreToKeeper): void {
    if (message.type === "table") this.#checkTable(message.table as TableConfig);
    if (message.type === "kill" && message.signal === "SIGTERM") this.#checkEnd(message.id);
  }

  #checkTable(table: TableConfig): void {
    this.#tables.set(table.sequence, table);
    for (const { versions } of table.services) {
      const total = versions.reduce((sum, { weight }) => sum + weight, 0);
      expect([0, 10_000], "weights").toContain(total);
      // Whoever is ready, crashed or on its way: nobody's callers are moved by the scaling of a share.
      for (const { weight } of versions) expect([0, 5_000, 10_000], "shares as they were asked for").toContain(weight);
    }
  }

  /** R14, R5: whoever is told to end has nothing in flight, and no worker has a table that sends to it. */
  #checkEnd(processId: string): void {
    const id = processId.slice(0, processId.lastIndexOf("."));
    const { core, workers, applied } = this.keeper;
    const one = core.instanceReports().find((report) => report.id === id)!;
    if (one.reason.startsWith("liveness")) return;
    const slot = core.slots.find(one.service, one.version, id);
    expect(this.inFlight.get(slot) ?? 0, `in flight on ${id}`).toBe(0);
    for (const worker of workers.keys()) {
      const table = this.#tables.get(applied.get(worker) ?? -1);
      const sends = table?.services.some(({ versions }) =>
        versions.some(({ endpoints }) => endpoints.some((to) => to.id === id && to.mode === "serving")),
      );
      expect(sends ?? false, `worker ${worker} still sends to ${id}`).toBe(false);
    }
  }
}

test("whatever happens in whatever order, the agent ends where the newest assignment says", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 40 }), async (steps) => {
      using run1 = new Run();
      // Most of what can go wrong goes wrong with something that runs.
      await run1.do({ kind: "offer", shape: 2, stale: false });
      await run1.do({ kind: "pass", ms: 1_000 });
      for (const one of steps) await run1.do(one);
      await run1.quiet();
    }),
    { numRuns: Number(process.env["BATON_FUZZ_RUNS"] ?? 150) },
  );
});
