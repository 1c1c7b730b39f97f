/** Which version a caller gets: that nobody is moved who need not be, and that a version without a share gets nobody. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { EVERY_REQUEST } from "../../../proto/contract/spec/types.ts";
import type { StickySpec } from "../../../proto/contract/spec/types.ts";
import { pickShare, stickyPoint } from "../../../proto/contract/split.ts";
import { seededRandom } from "../../../proto/kernel/random.ts";
import { silentLog } from "../../../proto/kernel/log.ts";
import type { ServiceConfig, VersionConfig } from "../../../agent/proxy/config.ts";
import { cookieOf } from "../../../agent/proxy/cookie.ts";
import type { Endpoint } from "../../../agent/proxy/endpoint.ts";
import type { Ground } from "../../../agent/proxy/ground.ts";
import { RequestHead } from "../../../agent/proxy/http1/request.ts";
import { DEFAULT_LIMITS } from "../../../agent/proxy/limits.ts";
import { ReadBuffers } from "../../../agent/proxy/sockets.ts";
import { Choice } from "../../../agent/proxy/split.ts";
import { Stats, memoryStatsFile } from "../../../agent/proxy/stats-writer.ts";
import { Subject } from "../../../agent/proxy/subject.ts";
import { EMPTY_TABLE, compileTable } from "../../../agent/proxy/table.ts";
import { Wheel } from "../../../agent/proxy/wheel.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { KEY, endpoint, service } from "../../support/proxy-kit.ts";

const COOKIE: StickySpec = { kind: "cookie", name: "who", maxAgeMs: 3_600_500 };
const HEADER: StickySpec = { kind: "header", name: "x-user" };

function ground(): Ground {
  const clock = new FakeClock();
  const stats = new Stats(memoryStatsFile(64), clock, (error) => {
    throw error;
  });
  const limits = { ...DEFAULT_LIMITS, upstreamConnections: 2 };
  return {
    ...{ clock, random: seededRandom(3), log: silentLog, limits, stats },
    ...{
      wheel: new Wheel(clock, (then) => then()),
      buffers: new ReadBuffers(limits),
      onEndpointFailed: () => undefined,
    },
  };
}

/** Versions by share and number of endpoints; revision 1 is the first. */
const versions = (...list: readonly (readonly [weight: number, endpoints: number])[]): VersionConfig[] =>
  list.map(([weight, count], at) => ({
    ...{ revision: at + 1, version: `v${at + 1}`, weight },
    endpoints: Array.from({ length: count }, (_, i) => endpoint(`v${at + 1}-${i}`, 1_000 + at * 10 + i, at * 10 + i)),
  }));

class Split {
  readonly ground = ground();
  readonly service;
  readonly endpoints: ReadonlyMap<string, Endpoint>;

  constructor(config: Partial<ServiceConfig>) {
    const services = [service([], config)];
    const compiled = compileTable(
      this.ground,
      { sequence: 1, agent: "edge", listeners: [{ key: KEY, services: [0] }], services },
      EMPTY_TABLE,
    );
    if (compiled.kind !== "ok") throw new Error(compiled.why);
    this.service = compiled.table.services.get("shop")!;
    this.endpoints = new Map([...compiled.table.endpoints.values()].map((one) => [one.id, one]));
  }

  choose(...headers: readonly string[]): Choice {
    const bytes = Buffer.from(`GET /a HTTP/1.1\r\nHost: shop\r\n${headers.map((line) => `${line}\r\n`).join("")}\r\n`);
    const head = new RequestHead(DEFAULT_LIMITS);
    head.parse(bytes, 0, bytes.length);
    const subject = new Subject(head);
    subject.take(head, bytes);
    const choice = new Choice();
    if (this.service.split !== null) choice.decide(this.service.split, subject, this.ground.random);
    return choice;
  }

  /** The version that it is given, 0 when there is none. */
  pick(choice: Choice, tried: readonly Endpoint[] = []): number {
    const picked = this.service.picker.pick(this.ground.random, this.ground.wheel.now, tried, choice);
    if (typeof picked === "string") return 0;
    picked.inFlight -= 1;
    return picked.revision;
  }

  versionOf(...headers: readonly string[]): number {
    return this.pick(this.choose(...headers));
  }

  all(id: string): Endpoint[] {
    return [...this.endpoints.values()].filter((one) => one.id.startsWith(id));
  }
}

const users = Array.from({ length: 300 }, (_, i) => `x-user: user-${i}`);
const of = (config: Partial<ServiceConfig>): number[] => {
  const split = new Split({ sticky: HEADER, ...config });
  return users.map((user) => split.versionOf(user));
};

test("raising the newest version's weight moves nobody back, and a rollback moves only those who were on it", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 10_000 }), { minLength: 1, maxLength: 6 }), (steps) => {
      const rising = [...steps]
        .sort((a, b) => a - b)
        .map((weight) => of({ versions: versions([10_000 - weight, 2], [weight, 1]) }));
      rising.forEach((now, step) => {
        const before = rising[step - 1] ?? now;
        expect(now.every((version, at) => version >= before[at]!)).toBe(true);
      });
      const back = of({ versions: versions([10_000, 2], [0, 1]) });
      expect(back.every((version) => version === 1)).toBe(true);
    }),
    { numRuns: 40 },
  );
});

test("with three versions, who is on one that stays where it is stays there, whoever else comes, goes or has nobody", () => {
  const shares = fc.tuple(fc.nat(100), fc.nat(100), fc.nat(100), fc.nat(100)).map((parts) => {
    const total = parts.reduce((sum, part) => sum + part, 0) || 1;
    const weights = parts.map((part) => Math.floor((part * 10_000) / total));
    weights[0] = 10_000 - weights.slice(1).reduce((sum, weight) => sum + weight, 0);
    return weights;
  });
  fc.assert(
    fc.property(shares, fc.array(fc.boolean(), { minLength: 4, maxLength: 4 }), (weights, up) => {
      const whole = of({ versions: versions(...weights.map((weight) => [weight, 1] as const)) });
      const some = of({ versions: versions(...weights.map((weight, at) => [weight, up[at] ? 1 : 0] as const)) });
      const anyone = weights.some((weight, at) => weight > 0 && up[at]);
      whole.forEach((version, at) => {
        if (!anyone) expect(some[at]).toBe(0);
        else if (up[version - 1]) expect(some[at]).toBe(version);
        else expect(weights[some[at]! - 1]).toBeGreaterThan(0);
      });
    }),
    { numRuns: 60 },
  );
});

test("a version that is ejected for a moment leaves its callers to another one, and nobody else moves", () => {
  const config = { sticky: HEADER, versions: versions([5_000, 1], [3_000, 2], [2_000, 1]) };
  const split = new Split(config);
  const before = users.map((user) => split.versionOf(user));
  for (const one of split.all("v2")) one.failed(true, "ECONNREFUSED");
  users.forEach((user, at) => {
    const now = split.versionOf(user);
    if (before[at] === 2) expect(now).not.toBe(2);
    else expect(now).toBe(before[at]);
  });
  // With everyone ejected everyone gets a try again, as with one version.
  for (const one of split.endpoints.values()) one.failed(true, "ECONNREFUSED");
  users.forEach((user, at) => expect(split.versionOf(user)).toBe(before[at]));
});

test("the agent gives a caller the version that the contract says it has", () => {
  const weights = [6_500, 2_500, 1_000];
  const split = new Split({ sticky: HEADER, versions: versions(...weights.map((weight) => [weight, 1] as const)) });
  for (let i = 0; i < 300; i++) {
    const expected = pickShare(weights, stickyPoint(`user-${i}`)) + 1;
    expect(split.versionOf(`x-user: user-${i}`)).toBe(expected);
  }
});

test("a version without a share gets nobody but by its route, not even when nobody else is there", () => {
  const matches = [{ ...EVERY_REQUEST, headers: [{ type: "Exact" as const, name: "x-preview", value: "1" }] }];
  const routes = [{ name: "preview", revision: 2, matches }];
  const split = new Split({ sticky: HEADER, routes, versions: versions([10_000, 1], [0, 1]) });
  expect(new Set(users.map((user) => split.versionOf(user)))).toEqual(new Set([1]));
  expect(split.versionOf("x-preview: 1")).toBe(2);
  for (const one of split.all("v1")) one.failed(true, "ECONNREFUSED");
  expect(split.versionOf()).toBe(1);
  expect(split.pick(split.choose(), split.all("v1"))).toBe(0);
  const alone = new Split({ routes, versions: versions([10_000, 0], [0, 1]) });
  expect([alone.versionOf(), alone.versionOf("x-preview: 1"), alone.versionOf("x-preview: 2")]).toEqual([0, 2, 0]);
});

test("a route is asked before the weights, in order, and one that can't take the request leaves it to them", () => {
  const header = (name: string) => ({ ...EVERY_REQUEST, headers: [{ type: "Exact" as const, name, value: "1" }] });
  const config = {
    versions: versions([10_000, 1], [0, 2], [0, 1], [0, 0]),
    routes: [
      { name: "a", revision: 2, matches: [header("x-a"), header("x-b")] },
      { name: "b", revision: 3, matches: [header("x-b"), header("x-c")] },
      { name: "c", revision: 4, matches: [header("x-d")] },
      { name: "d", revision: 9, matches: [header("x-e")] },
    ],
  };
  const split = new Split(config);
  const given = ["x-a: 1", "x-b: 1", "x-c: 1", "x-d: 1", "x-e: 1", "x-f: 1"].map((line) => split.versionOf(line));
  expect(given).toEqual([2, 2, 3, 1, 1, 1]);
  // Its own endpoints first, then another version: the request is worth more than the route.
  const [one, two] = split.all("v2") as [Endpoint, Endpoint];
  const choice = split.choose("x-a: 1");
  expect(split.pick(choice, [one])).toBe(2);
  expect(split.pick(choice, [one, two])).toBe(1);
  expect(split.pick(choice, [one, two, ...split.all("v1")])).toBe(0);
  one.failed(true, "ECONNREFUSED");
  expect(split.pick(choice)).toBe(2);
  two.failed(true, "ECONNREFUSED");
  expect(split.pick(choice)).toBe(1);
  const full = new Split(config);
  for (const busy of full.all("v2")) for (let i = 0; i < 2; i++) busy.opened();
  expect(full.versionOf("x-a: 1")).toBe(1);
});

test("a request that fails is tried on its own version first, by chance as by route, and then on the others", () => {
  const split = new Split({ versions: versions([5_000, 3], [5_000, 3]) });
  for (let round = 0; round < 50; round++) {
    const choice = new Choice();
    const seen: number[] = [];
    const tried: Endpoint[] = [];
    for (let attempt = 0; attempt < 6; attempt++) {
      const picked = split.service.picker.pick(split.ground.random, 0, tried, choice);
      if (typeof picked === "string") throw new Error(picked);
      picked.inFlight -= 1;
      seen.push(picked.revision);
      tried.push(picked);
    }
    const [first] = seen;
    expect(seen).toEqual([first, first, first, 3 - first!, 3 - first!, 3 - first!]);
  }
});

test("a caller without the cookie is given an id, and the same request goes where the id will", () => {
  const split = new Split({ sticky: COOKIE, versions: versions([5_000, 1], [5_000, 1]) });
  const seen = new Set<number>();
  for (let i = 0; i < 40; i++) {
    const choice = split.choose();
    const [, id = ""] =
      /^Set-Cookie: who=([0-9a-f]{32}); Path=\/; Max-Age=3600; HttpOnly; SameSite=Lax\r\n$/.exec(choice.setCookie) ??
      [];
    const first = split.pick(choice);
    const again = split.choose(`Cookie: theme=dark; who=${id}; who=other`);
    expect(again.setCookie).toBe("");
    expect([split.pick(again), id.length]).toEqual([first, 32]);
    seen.add(first);
  }
  expect(seen).toEqual(new Set([1, 2]));
});

test("a caller without the header is one of a moment: it goes by chance, and is given nothing", () => {
  const split = new Split({ sticky: HEADER, versions: versions([5_000, 1], [5_000, 1]) });
  expect(split.choose("x-user:")).toMatchObject({ point: -1, setCookie: "" });
  const seen = Array.from({ length: 200 }, () => split.versionOf()).filter((version) => version === 2).length;
  expect(seen).toBeGreaterThan(60);
  expect(seen).toBeLessThan(140);
});

test("a cookie is read as RFC 6265 has it, and what is none is no id", () => {
  expect(cookieOf(["a=1; who=x; b=2"], "who")).toBe("x");
  expect(cookieOf(["a=1", "who=x"], "who")).toBe("x");
  expect(cookieOf(["who=x;who=y"], "who")).toBe("x");
  expect(cookieOf(['who="x=y"'], "who")).toBe("x=y");
  expect(cookieOf(["  who=x "], "who")).toBe("x");
  for (const none of [
    "",
    "who",
    "who=",
    'who=""',
    "Who=x",
    "awho=x",
    "who=x y",
    "who = x",
    "who=a,b",
    'who="x',
    "who=é",
    "=who",
  ]) {
    expect(cookieOf([none], "who")).toBe(null);
  }
  expect(cookieOf(["who=; who=x"], "who")).toBe("x");
});

test("a mirror gets its share of the requests that match, and each version one copy at most", () => {
  const get = { ...EVERY_REQUEST, method: "GET" };
  const post = { ...EVERY_REQUEST, method: "POST" };
  const split = new Split({
    versions: versions([10_000, 1], [0, 1], [0, 1]),
    mirrors: [
      { name: "a", revision: 2, matches: [get], percentage: 2_500 },
      { name: "b", revision: 3, matches: [get], percentage: 10_000 },
      { name: "c", revision: 3, matches: [get], percentage: 10_000 },
      { name: "d", revision: 1, matches: [post], percentage: 10_000 },
      { name: "e", revision: 1, matches: [get], percentage: 0 },
    ],
  });
  const copies = Array.from({ length: 2_000 }, () => split.choose().mirrors);
  expect(copies.every((revisions) => revisions.filter((one) => one === 3).length === 1 && !revisions.includes(1))).toBe(
    true,
  );
  const share = copies.filter((revisions) => revisions.includes(2)).length / copies.length;
  expect(share).toBeCloseTo(0.25, 1);
});

test("where the next hop is another agent nothing of it is decided: it will be there", () => {
  const agents = [{ revision: 0, version: "", weight: 10_000, endpoints: [endpoint("h", 1, 1, { kind: "agent" })] }];
  const mirrors = [{ name: "m", revision: 1, matches: [EVERY_REQUEST], percentage: 10_000 }];
  expect(new Split({ sticky: COOKIE, mirrors, versions: agents }).service.split).toBe(null);
});

test("a split that does not hold together is refused with its table", () => {
  const why = (config: Partial<ServiceConfig>): string => {
    try {
      new Split(config);
      return "";
    } catch (error) {
      return (error as Error).message;
    }
  };
  const bad = { type: "RegularExpression" as const, value: "/(a" };
  const one = versions([10_000, 1]);
  expect(why({ versions: one, rules: service([]).rules.map((rule) => ({ ...rule, path: bad })) })).toMatch(
    /shop.*missing/,
  );
  const routes = [{ name: "r", revision: 1, matches: [{ ...EVERY_REQUEST, path: bad }] }];
  expect(why({ versions: one, routes })).toMatch(/shop.*missing/);
  expect(why({ routes: [{ name: "r", revision: 1, matches: [] }] })).toMatch(/"r" says no match/);
  expect(why({ mirrors: [{ name: "m", revision: 1, matches: [EVERY_REQUEST], percentage: 10_001 }] })).toMatch(/10001/);
  expect(why({ sticky: { ...COOKIE, name: "a b" } })).toMatch(/"a b" is no name/);
  const rule = (header: string, value = "1") =>
    service([]).rules.map((own) => ({
      ...own,
      requestHeaders: { set: [{ name: header, value }], add: [], remove: [] },
    }));
  for (const name of ["Content-Length", "connection", "HOST", "baton-error"]) {
    expect(why({ rules: rule(name) })).toMatch(/can't change this header/);
  }
  expect(why({ rules: rule("x-a", "1\r\nx-b: 2") })).toMatch(/can't stand in a header/);
  expect(why({ rules: rule("x a") })).toMatch(/no field name/);
});
