import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Books } from "../../../control/ledger/books.ts";
import { AgentCounts } from "../../../control/ledger/counts.ts";
import { Tally } from "../../../control/ledger/tally.ts";
import { add, between, sum, ZERO } from "../../../control/ledger/totals.ts";
import type { Span } from "../../../control/ledger/totals.ts";
import type { Snapshot, Totals } from "../../../control/ledger/types.ts";
import { LOSS_CAUSES } from "../../../proto/contract/report.ts";
import type { Report, TrafficReport } from "../../../proto/contract/report.ts";
import { report, rollout, traffic } from "../../support/samples.ts";

const running = rollout();
const fresh = (): Books => new Books({ counts: [], ledgers: [] }, 0, 0);

const row = fc.record({
  version: fc.constantFrom("v1", "v2", ""),
  endpoint: fc.constantFrom("a", "b"),
  more: fc.array(fc.nat(50), { minLength: 4, maxLength: 4 }),
  cause: fc.constantFrom(...LOSS_CAUSES),
  bucket: fc.nat(239),
});
const entry = fc.record({
  host: fc.constantFrom("h1", "h2", "h3", "g1"),
  gateway: fc.boolean(),
  boot: fc.constantFrom("boot-1", "boot-1", "boot-2"),
  rows: fc.uniqueArray(row, { maxLength: 4, selector: (r) => `${r.version}/${r.endpoint}` }),
});

type Entry = typeof entry extends fc.Arbitrary<infer T> ? T : never;
const HOSTS = ["h1", "h2", "h3", "g1"];

/** A report whose rows have each grown by what is given. */
function grow(counters: Map<string, TrafficReport>, { host, boot, rows }: Entry): Report {
  const sent = rows.map(({ version, endpoint, more, cause, bucket }) => {
    const key = `${host}/${boot}/${version}/${endpoint}`;
    const before = counters.get(key);
    const [started = 0, completed = 0, inFlight = 0, lost = 0] = more;
    const plus = traffic(endpoint, { version, inFlight, lost: { [cause]: lost } });
    const latency = new Map(before?.latency);
    latency.set(bucket, (latency.get(bucket) ?? 0) + 1);
    const now = {
      ...plus,
      started: (before?.started ?? 0) + started,
      completed: (before?.completed ?? 0) + completed,
      lost: plus.lost.map((count, at) => count + (before?.lost[at] ?? 0)),
      latency: [...latency].toSorted(([x], [y]) => x - y),
    };
    counters.set(key, now);
    return now;
  });
  return report({ boot, traffic: sent });
}

const NOTHING = JSON.stringify(ZERO);
const summed = (spans: readonly Span[], role: string): Record<string, Totals> => {
  const sums: Record<string, Totals> = {};
  for (const span of spans.filter((of) => of.role === role)) {
    for (const [version, totals] of Object.entries(span.versions)) sums[version] = add(sums[version] ?? ZERO, totals);
  }
  // A version that nothing is counted for may or may not be named.
  return Object.fromEntries(Object.entries(sums).filter(([, totals]) => JSON.stringify(totals) !== NOTHING));
};
const level = (spans: readonly Span[], role: string): number =>
  sum(spans.filter((span) => span.role === role).map((span) => span.inFlight));

test("the tally that is kept up is the sum over all agents, whatever was reported in whatever order", () => {
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 30, size: "max" }), fc.nat(30), (entries, opensAt) => {
      const tally = new Tally();
      const agents = new Map(HOSTS.map((host) => [host, new AgentCounts(host, "host", () => tally)]));
      const counters = new Map<string, TrafficReport>();
      const pages = (): Snapshot =>
        Object.fromEntries([...agents].flatMap(([host, it]) => (it.knows("shop") ? [[host, it.totals("shop")]] : [])));
      let start: Snapshot = {};
      const startTally = new Tally();
      for (const [i, it] of entries.entries()) {
        if (i === opensAt) {
          start = pages();
          for (const page of Object.values(start)) startTally.put(page);
        }
        const agent = agents.get(it.host)!;
        // After the start, an agent keeps its role: a rollout's sums are by role.
        if (i < opensAt) agent.role = it.gateway ? "gateway" : "host";
        agent.enter(grow(counters, it), i);
      }
      for (const role of ["host", "gateway"]) {
        const [kept, asked] = [tally.since(startTally), between(start, pages())];
        expect(summed(kept, role)).toEqual(summed(asked, role));
        expect(level(kept, role)).toBe(level(asked, role));
      }
    }),
  );
});

describe("a long life", () => {
  test("what an ended rollout keeps does not grow with the fleet", () => {
    const books = fresh();
    for (let i = 0; i < 50; i++) {
      books.enter(`h${i}`, "host", report({ traffic: [traffic("a", { started: 5, completed: 5 })] }), 0, 0);
    }
    const opened = books.open(running);
    books.take(opened);
    expect(Object.keys(opened.baseline)).toHaveLength(50);
    for (let i = 0; i < 50; i++) {
      books.enter(`h${i}`, "host", report({ traffic: [traffic("a", { started: 9, completed: 9 })] }), 0, 0);
    }
    const sum = books.sum(running.id);
    const closed = books.close(running.id)!;
    books.take(closed);
    expect(JSON.stringify(closed).length).toBeLessThan(1_000);
    expect(books.sum(running.id)).toEqual(sum);
    expect(new Books({ counts: [], ledgers: [structuredClone(closed)] }, 0, 0).sum(running.id)).toEqual(sum);
  });

  test("versions that nothing carries any more are counted as one, and not in the rollout that begins", () => {
    const books = fresh();
    const counted = { started: 5, completed: 5 };
    for (let n = 1; n <= 20; n++) {
      books.enter(
        "h1",
        "host",
        report({ boot: `b${n}`, traffic: [traffic("a", { version: `v${n}`, ...counted })] }),
        0,
        0,
      );
    }
    books.take(books.open(running));
    expect(books.sumOfService("shop").requests).toBe(100);
    expect(books.sum(running.id)?.requests).toBe(0);
    const page = books.checkpoint(true).counts[0];
    expect(Object.keys(page?.services["shop"]?.versions ?? {}).toSorted()).toEqual(["", "v20"]);
  });

  test("a checkpoint takes the pages that wait longest, and at once what must not be taken twice", () => {
    const books = fresh();
    const grown = (n: number): void => {
      for (let i = 0; i < 2_500; i++) {
        const lost = i === 2_400 ? { internal: n } : {};
        books.enter(`h${i}`, "host", report({ traffic: [traffic("a", { started: n, lost })] }), 0, 0);
      }
    };
    grown(1);
    const taken = [1, 2, 3, 4, 5].map(() => books.checkpoint()).map(({ counts }) => counts.map(({ host }) => host));
    expect(taken.map((hosts) => hosts.length)).toEqual([501, 500, 500, 500, 499]);
    expect(taken[0]).toContain("h2400");
    expect(new Set(taken.flat()).size).toBe(2_500);
    grown(2);
    expect(books.checkpoint(true).counts).toHaveLength(2_500);
    expect(books.checkpoint(true).counts).toHaveLength(0);
  });

  test("what could not be stored is stored with the next checkpoint", () => {
    const books = fresh();
    books.enter("h1", "host", report({ traffic: [traffic("a", { started: 1 })] }), 0, 0);
    books.checkpoint().failed();
    expect(books.checkpoint().counts).toHaveLength(1);
  });
});
