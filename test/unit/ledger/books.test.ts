import { describe, expect, test } from "vitest";
import { Books } from "../../../control/ledger/books.ts";
import type { Stored } from "../../../control/ledger/books.ts";
import type { RolloutLedger } from "../../../control/ledger/types.ts";
import type { Report } from "../../../proto/contract/report.ts";
import { instance, report, rollout, traffic } from "../../support/samples.ts";

const nobody = (): boolean => false;
const nothing: Stored = { counts: [], ledgers: [] };
const fresh = (): Books => new Books(nothing, 0, 0);
const running = rollout();
const open = (books: Books): RolloutLedger => {
  const ledger = books.open(running);
  books.take(ledger);
  return ledger;
};

/** What a controller that starts anew finds. */
function restarted(books: Books, at = 0): Books {
  const { counts, ledgers } = books.checkpoint();
  return new Books({ counts: structuredClone([...counts]), ledgers: structuredClone([...ledgers]) }, at, at);
}

const at = (books: Books, host: string, rows: Report["traffic"], changes: Partial<Report> = {}, when = 0): void => {
  books.enter(host, "host", report({ traffic: rows, ...changes }), when, when);
};

describe("counting", () => {
  test("totals are taken as differences: a repeated or lost report changes nothing", () => {
    const books = fresh();
    at(books, "host-1", [traffic("a", { started: 10, completed: 9 })]);
    open(books);
    at(books, "host-1", [traffic("a", { started: 15, completed: 14 })]);
    at(books, "host-1", [traffic("a", { started: 15, completed: 14 })]);
    at(books, "host-1", [traffic("a", { started: 25, completed: 24, tunnels: 2 })]);
    expect(books.sum(running.id)).toMatchObject({ edge: "host", requests: 15, carried: 15, tunnels: 2, lostTotal: 0 });
    expect(books.sumOfService("shop")).toMatchObject({ requests: 24, carried: 24 });
  });

  test("a new boot begins at nothing, and adds", () => {
    const books = fresh();
    open(books);
    at(books, "host-1", [traffic("a", { started: 10, completed: 10 })]);
    at(books, "host-1", [traffic("a", { started: 12, completed: 12 })]);
    at(books, "host-1", [traffic("a", { started: 3, completed: 3 })], { boot: "boot-2" });
    at(books, "host-1", [traffic("a", { started: 4, completed: 4 })], { boot: "boot-2" });
    // The first report of an agent that was not known when the rollout began is where its counting begins.
    expect(books.sum(running.id)?.requests).toBe(2 + 4);
  });

  test("a row that is gone for a report and comes back is not counted twice", () => {
    const books = fresh();
    at(books, "host-1", []);
    open(books);
    at(books, "host-1", [traffic("a", { started: 10, completed: 10 })]);
    at(books, "host-1", []);
    at(books, "host-1", [traffic("a", { started: 11, completed: 11 })]);
    expect(books.sum(running.id)?.requests).toBe(11);
  });

  test("a restart of the controller neither loses nor doubles, in the same boot or across one", () => {
    let books = fresh();
    at(books, "host-1", [traffic("a", { started: 5, completed: 5 })]);
    books.checkpoint();
    const opened = open(books);
    at(books, "host-1", [traffic("a", { started: 8, completed: 8 })]);
    const { counts } = books.checkpoint();
    // Counted after the last checkpoint: the next controller finds it in the agent's totals.
    at(books, "host-1", [traffic("a", { started: 9, completed: 9 })]);
    books = new Books({ counts, ledgers: [opened] }, 0, 0);
    at(books, "host-1", [traffic("a", { started: 11, completed: 11 })]);
    expect(books.sum(running.id)?.requests).toBe(6);
    books = new Books({ counts, ledgers: [opened] }, 0, 0);
    at(books, "host-1", [traffic("a", { started: 4, completed: 4 })], { boot: "boot-2" });
    expect(books.sum(running.id)?.requests).toBe(3 + 4);
  });

  test("where there are gateways they are the edge, and hosts' counts are by version alone", () => {
    const books = fresh();
    at(books, "host-1", []);
    books.enter("gateway-1", "gateway", report(), 0, 0);
    open(books);
    at(books, "host-1", [traffic("a", { started: 7, statusClasses: [0, 0, 4, 0, 0, 3] })]);
    const rows = [traffic("host-1", { started: 4, inFlight: 2, lost: { overload: 1 }, cut: { drain_deadline: 1 } })];
    books.enter("gateway-1", "gateway", report({ traffic: rows }), 0, 0);
    expect(books.sum(running.id)).toMatchObject({
      ...{ edge: "gateway", requests: 4, inFlight: 2, lostTotal: 1 },
      ...{ lost: { overload: 1 }, cut: { drain_deadline: 1 } },
    });
    expect(books.traffic(running.id)).toEqual({ v1: { requests: 7, errors: 3, lost: 0, latency: [] } });
  });

  test("the sum comes out: what was in flight at the start is carried across, what is at the end is named", () => {
    const books = fresh();
    at(books, "host-1", [traffic("a", { started: 10, completed: 6, inFlight: 4 })]);
    open(books);
    const rows = [
      traffic("a", { started: 30, completed: 20, inFlight: 5, clientGone: 2, drained: 3, lost: { internal: 3 } }),
    ];
    at(books, "host-1", rows);
    const sum = books.sum(running.id)!;
    expect(sum).toMatchObject({ requests: 24, carried: 14, clientGone: 2, lostTotal: 3, inFlight: 5, drained: 3 });
    expect(sum.requests).toBe(sum.carried + sum.clientGone + sum.lostTotal + sum.inFlight);
    books.take(books.close(running.id)!);
    at(books, "host-1", [traffic("a", { started: 30, completed: 25, clientGone: 2, lost: { internal: 3 } })]);
    expect(books.sum(running.id)).toEqual(sum);
  });

  test("a request that moved to another endpoint, or that Baton refused, does not break the sum", () => {
    const books = fresh();
    at(books, "host-1", []);
    open(books);
    // One was tried at a, carried by b; one was malformed.
    at(books, "host-1", [
      traffic("a", { started: 3, completed: 2 }),
      traffic("b", { started: 3, completed: 1, retried: 1, inFlight: 1 }),
    ]);
    expect(books.sum(running.id)).toMatchObject({ requests: 4, carried: 3, inFlight: 1, retried: 1, lostTotal: 0 });
  });

  test("a closed ledger takes nothing more in", () => {
    const books = fresh();
    at(books, "host-1", []);
    open(books);
    at(books, "host-1", [traffic("a", { started: 5, completed: 5 })]);
    books.take(books.close(running.id)!);
    at(books, "host-1", [traffic("a", { started: 50, completed: 50 })]);
    expect(books.sum(running.id)?.requests).toBe(5);
  });
});

describe("judging losses", () => {
  const opened = (): Books => {
    const books = fresh();
    at(books, "host-1", [], { instances: [instance("a")] });
    books.enter("gateway-1", "gateway", report({ traffic: [traffic("host-1")] }), 0, 0);
    open(books);
    return books;
  };
  const lose = (books: Books, when: number, cause = "response_cut", count = 1): void => {
    const rows = [traffic("host-1", { started: 5, lost: { [cause]: count } })];
    books.enter("gateway-1", "gateway", report({ traffic: rows }), when, when);
  };
  /** The gateway reports that nothing has happened. */
  const heard = (books: Books, when: number): void => {
    books.enter("gateway-1", "gateway", report({ traffic: [traffic("host-1")] }), when, when);
  };

  test("what nothing explains is unexplained, but only after the grace", () => {
    const books = opened();
    lose(books, 1_000);
    books.settle(3_900, nobody);
    expect(books.unexplained(running.id)).toBe(0);
    expect(books.pending("shop")).toBe(1);
    books.settle(4_000, nobody);
    expect(books.unexplained(running.id)).toBe(1);
    expect(books.sum(running.id)?.notes).toEqual([
      { atMs: 1_000, host: "gateway-1", cause: "response_cut", count: 1, explanation: "" },
    ]);
  });

  test("the news that explains it may come before the loss or after it", () => {
    for (const [death, loss] of [
      [1_000, 2_500],
      [2_500, 1_000],
    ] as const) {
      const books = opened();
      const died = report({
        incidents: [{ seq: 1, atMs: 1, kind: "worker_died", service: "", message: "worker 3 was killed (SIGKILL)" }],
      });
      const steps = [
        { when: death, act: () => books.enter("host-1", "host", died, death, death) },
        { when: loss, act: () => lose(books, loss) },
      ].sort((a, b) => a.when - b.when);
      for (const step of steps) {
        step.act();
        books.settle(step.when, nobody);
      }
      books.settle(10_000, nobody);
      expect(books.unexplained(running.id)).toBe(0);
      expect(books.sum(running.id)?.notes[0]?.explanation).toBe("host-1: worker 3 was killed (SIGKILL)");
    }
  });

  test("an old incident explains nothing new: what was under way is told within ten seconds, the rest within two", () => {
    for (const [cause, later, unexplained] of [
      ["response_cut", 8_000, 0],
      ["response_cut", 12_000, 1],
      ["connect_failed", 1_500, 0],
      ["connect_failed", 8_000, 1],
    ] as const) {
      const books = opened();
      const died = { seq: 1, atMs: 1, kind: "worker_died", service: "", message: "killed" } as const;
      books.enter("host-1", "host", report({ incidents: [died] }), 1_000, 1_000);
      books.settle(1_000, nobody);
      // Repeated in every report, taken once.
      books.enter("host-1", "host", report({ incidents: [died] }), 1_000 + later, 9_000);
      heard(books, 900 + later);
      lose(books, 1_000 + later, cause);
      books.settle(6_000 + later, nobody);
      expect(books.unexplained(running.id), `${cause} after ${later} ms`).toBe(unexplained);
    }
  });

  test("what a gateway lost while it could not report is explained by what was seen meanwhile", () => {
    const books = opened();
    heard(books, 1_000);
    const died = { seq: 1, atMs: 1, kind: "worker_died", service: "", message: "killed" } as const;
    books.enter("host-1", "host", report({ incidents: [died] }), 1_500, 1_500);
    books.settle(6_000, nobody);
    lose(books, 6_500); // its core was started again meanwhile
    books.settle(10_000, nobody);
    expect(books.unexplained(running.id)).toBe(0);
    expect(books.sum(running.id)?.notes[0]?.explanation).toBe("host-1: killed");
  });

  test("an instance that ends unasked explains what broke on it; one that was told to end does not", () => {
    for (const [before, unexplained] of [
      ["serving", 0],
      ["draining", 1],
      ["stopping", 1],
    ] as const) {
      const books = opened();
      at(books, "host-1", [], { seq: 2, instances: [instance("a", { state: before })] }, 500);
      const ended = instance("a", { state: "failed", exit: { code: 3, signal: null }, reason: "exited with 3" });
      at(books, "host-1", [], { seq: 3, instances: [ended] }, 1_000);
      lose(books, 1_000);
      books.settle(5_000, nobody);
      expect(books.unexplained(running.id)).toBe(unexplained);
    }
  });

  test("while nothing serves there since a crash, losses go on to be explained by it", () => {
    const books = opened();
    at(books, "host-1", [], { seq: 2, instances: [instance("a", { state: "failed", reason: "exited with 3" })] }, 500);
    at(books, "host-1", [], { seq: 3, instances: [instance("b", { state: "starting" })] }, 9_000);
    lose(books, 9_000, "no_instance", 4);
    books.settle(13_000, nobody);
    expect(books.unexplained(running.id)).toBe(0);
    at(books, "host-1", [], { seq: 4, instances: [instance("b", { state: "serving" })] }, 14_000);
    lose(books, 19_900, "no_instance", 4); // none more
    lose(books, 20_000, "no_instance", 5);
    books.settle(24_000, nobody);
    expect(books.unexplained(running.id)).toBe(1);
  });

  test("who asks for a service before it is first ready is lost, and halts nothing; once it serves, it does", () => {
    const books = fresh();
    at(books, "host-1", []);
    open(books);
    const lost = (count: number): Report["traffic"][number] =>
      traffic("", { version: "", started: count, lost: { no_instance: count } });
    at(books, "host-1", [lost(2)]);
    // It came up between two reports: what was lost in the same one was lost before.
    at(books, "host-1", [lost(3), traffic("a", { started: 4, inFlight: 4 })], {}, 250);
    books.settle(5_000, nobody);
    expect(books.sum(running.id)).toMatchObject({ lost: { no_instance: 3 }, unexplained: 0 });
    expect(books.sum(running.id)?.notes).toMatchObject([
      { count: 3, explanation: "shop had not been ready at host-1 for the first time yet" },
    ]);
    at(books, "host-1", [lost(4), traffic("a", { started: 4, inFlight: 4 })], {}, 6_000);
    books.settle(10_000, nobody);
    expect(books.unexplained(running.id)).toBe(1);
  });

  test("what Baton itself ended is never explained away", () => {
    const books = opened();
    at(books, "host-1", [], { seq: 2, instances: [instance("a", { state: "failed" })] }, 1_000);
    lose(books, 1_000, "overload", 2);
    books.settle(5_000, nobody);
    expect(books.unexplained(running.id)).toBe(2);
  });

  test("a loss towards a host that is silent waits for what became of it", () => {
    for (const [back, unexplained] of [
      ["same", 1],
      ["new boot", 0],
      ["gone", 0],
    ] as const) {
      const books = opened();
      lose(books, 1_000);
      books.settle(6_000, (host) => host === "host-1");
      expect(books.pending("shop")).toBe(1);
      if (back === "gone") books.gone("host-1", 6_000, 6_000);
      else at(books, "host-1", [], { boot: back === "same" ? "boot-1" : "boot-2" }, 6_000);
      books.settle(10_000, nobody);
      expect(books.unexplained(running.id)).toBe(unexplained);
    }
  });

  // Found by chaos: an app had crashed, the controller was killed, and the gateway, which had been cut off, told the next
  // controller what it lost by that.
  test("a loss that is told to the next controller is explained by what the one before had seen lately", () => {
    for (const [next, explanation] of [
      [5_000, "host-1: a was killed"],
      [60_000, ""],
    ] as const) {
      const before = opened();
      const exited = { seq: 1, atMs: 1, kind: "instance_exited", service: "shop", message: "a was killed" } as const;
      const crash = report({ incidents: [exited], instances: [instance("a")] });
      before.enter("host-1", "host", crash, 1_000, 1_000);
      before.settle(1_000, nobody);
      const books = restarted(before, next);
      books.enter("host-1", "host", crash, next + 500, next + 500);
      lose(books, next + 2_000);
      expect(books.settle(next + 9_000, nobody)).toMatchObject([{ loss: { count: 1 }, explanation }]);
    }
  });

  test("a loss not yet judged when the controller dies is judged by the next one", () => {
    const books = opened();
    books.checkpoint();
    lose(books, 1_000);
    const next = restarted(books, 50_000);
    expect(next.pending("shop")).toBe(1);
    next.settle(53_000, nobody);
    expect(next.unexplained(running.id)).toBe(1);
    expect(next.sum(running.id)?.lostTotal).toBe(1);
  });

  test("what a hanging instance lets go of is explained by its silence, though another controller heard of it; a slow start explains nothing", () => {
    const hung = (wasReady: boolean): Partial<Report> => ({
      instances: [
        instance("a", { state: "starting", healthySinceMs: 0, wasReady, reason: "readiness: no answer in 1 s" }),
      ],
    });
    const message = "instance a of host-1 was ready and does not answer its probes: readiness: no answer in 1 s";
    for (const [wasReady, explanation] of [
      [true, message],
      [false, ""],
    ] as const) {
      const before = opened();
      at(before, "host-1", [traffic("a", {})], { instances: [instance("a")] }, 500);
      at(before, "host-1", [traffic("a", {})], hung(wasReady), 1_000);
      const books = restarted(before, 3_000);
      lose(books, 4_000);
      expect(books.settle(9_000, nobody)).toMatchObject([{ explanation }]);
    }
  });

  test("a death explains more than the silence before it", () => {
    const books = opened();
    const hung = instance("a", { state: "starting", healthySinceMs: 0, reason: "readiness: 503" });
    at(books, "host-1", [], { instances: [hung] }, 500);
    at(books, "host-1", [], { boot: "boot-2" }, 1_000);
    lose(books, 1_500);
    expect(books.settle(9_000, nobody)).toMatchObject([{ explanation: "the agent host-1 started anew" }]);
  });

  test("a loss at a host that the gateway carried elsewhere is noted, and halts nothing", () => {
    const books = opened();
    at(books, "host-1", [traffic("a", { lost: { upstream_reset: 1 } })], { instances: [instance("a")] }, 1_000);
    books.settle(5_000, nobody);
    expect(books.unexplained(running.id)).toBe(0);
    expect(books.sum(running.id)).toMatchObject({ lostTotal: 0, notes: [{ host: "host-1", explanation: "" }] });
  });
});

test("the last words of a target that fails are kept; an exit is not overwritten by the next slow start", () => {
  const books = fresh();
  open(books);
  const slow = instance("a", { state: "starting", healthySinceMs: 0, reason: "readiness: 503", output: ["up"] });
  books.witness(running.id, "host-1", [slow]);
  expect(books.evidence(running.id)).toEqual([{ host: "host-1", instance: slow }]);
  const dead = instance("a", { state: "failed", healthySinceMs: 0, exit: { code: 3, signal: null }, output: ["boom"] });
  books.witness(running.id, "host-1", [dead]);
  books.witness(running.id, "host-1", [instance("b", { state: "starting", healthySinceMs: 0, reason: "no answer" })]);
  books.witness(running.id, "host-1", [instance("b")]);
  expect(books.evidence(running.id)).toEqual([{ host: "host-1", instance: dead }]);
});
