import fc from "fast-check";
import { expect, test } from "vitest";
import { EVERY_REQUEST, NO_FILTERS } from "../../../proto/contract/spec/types.ts";
import type { MatchSpec, RuleSpec, ValueMatch } from "../../../proto/contract/spec/types.ts";
import { RequestHead } from "../../../agent/proxy/http1/request.ts";
import { DEFAULT_LIMITS } from "../../../agent/proxy/limits.ts";
import { compileMatch, takes } from "../../../agent/proxy/match.ts";
import { catchAllOf, compileRules, matchRule } from "../../../agent/proxy/rules.ts";
import { Subject } from "../../../agent/proxy/subject.ts";

/** The request as matches see it, read by the real parser. */
function subject(line: string, ...headers: readonly string[]): Subject {
  const bytes = Buffer.from(`${line} HTTP/1.1\r\nHost: shop\r\n${headers.map((h) => `${h}\r\n`).join("")}\r\n`);
  const head = new RequestHead(DEFAULT_LIMITS);
  if (head.parse(bytes, 0, bytes.length) !== bytes.length) throw new Error(`not parsed: ${line}`);
  const made = new Subject(head);
  made.take(head, bytes);
  return made;
}

const prefix = (value: string): MatchSpec["path"] => ({ type: "PathPrefix", value });
const exact = (value: string): MatchSpec["path"] => ({ type: "Exact", value });
const regex = (value: string): MatchSpec["path"] => ({ type: "RegularExpression", value });
const is = (name: string, value: string): ValueMatch => ({ type: "Exact", name, value });
const like = (name: string, value: string): ValueMatch => ({ type: "RegularExpression", name, value });
const match = (more: Partial<MatchSpec>): MatchSpec => ({ ...EVERY_REQUEST, ...more });

/** Rules that are known by their place in the document: their `attempts`. */
const rules = (...matches: readonly Partial<MatchSpec>[]) =>
  compileRules(
    matches.map((more, at): RuleSpec => ({
      ...match(more),
      ...NO_FILTERS,
      timeouts: { requestMs: null },
      retry: { attempts: at, methods: [] },
    })),
  );
const takenBy = (own: ReturnType<typeof rules>, line: string, ...headers: readonly string[]): number | null =>
  matchRule(own, subject(line, ...headers))?.retries ?? null;

test("a path goes to the exact rule, then to the longest prefix, which ends between segments", () => {
  const own = rules({ path: prefix("/a") }, { path: prefix("/a/b/") }, { path: exact("/a/b") }, { path: prefix("/c") });
  const of = (path: string): number | null => takenBy(own, `GET ${path}`);
  expect(["/a", "/a/", "/ab", "/a/b", "/a/b/", "/a/b/c?d", "/a/bc", "/", "/c/", "/c?x=/a"].map(of)).toEqual([
    ...[0, 0, null, 2, 1, 1, 0, null, 3, 3],
  ]);
});

test("an expression comes behind every prefix but the root, which would never let one have anything", () => {
  const own = rules({}, { path: regex("/v[0-9]+/.*") }, { path: regex("/v1/.*") }, { path: prefix("/v2") });
  expect(["/v1/x", "/v2/x", "/v3/x", "/v3", "/w"].map((path) => takenBy(own, `GET ${path}`))).toEqual([1, 3, 1, 0, 0]);
});

test("of rules for one path: a method, then the most fields, then the most parameters, then the first has it", () => {
  const own = rules(
    { queryParams: [is("q", "1"), is("r", "1")] },
    { headers: [is("x-a", "1")] },
    { headers: [is("x-a", "1"), is("x-b", "1")] },
    { headers: [is("x-c", "1"), is("x-d", "1")] },
    { method: "POST" },
    { queryParams: [is("q", "1")] },
    { path: exact("/") },
  );
  expect(takenBy(own, "POST /p?q=1&r=1", "x-a: 1", "x-b: 1")).toBe(4);
  expect(takenBy(own, "GET /p?q=1&r=1", "x-a: 1", "x-b: 1", "x-c: 1", "x-d: 1")).toBe(2);
  expect(takenBy(own, "GET /p?q=1&r=1", "x-a: 1", "x-c: 1", "x-d: 1")).toBe(3);
  expect(takenBy(own, "GET /p?q=1&r=1", "x-a: 1")).toBe(1);
  expect(takenBy(own, "GET /p?q=1&r=1")).toBe(0);
  expect(takenBy(own, "GET /p?q=1")).toBe(5);
  expect(takenBy(own, "GET /p")).toBe(null);
  expect(takenBy(own, "POST /?q=1")).toBe(6);
});

test("one rule that asks for nothing is known at once; one that asks for anything is matched", () => {
  expect(catchAllOf(rules({}))?.retries).toBe(0);
  expect(catchAllOf(rules({}, {}))?.retries).toBe(0);
  const asking = [{ method: "GET" }, { path: exact("/") }, { path: regex(".*") }, { headers: [like("x", ".*")] }];
  for (const more of asking) expect(catchAllOf(rules({}, more))).toBe(null);
});

test("methods are what they are, also those that no list knows", () => {
  const own = rules({ method: "PURGE" }, { method: "GET" });
  expect(["PURGE /", "GET /", "PURG /", "purge /", "POST /"].map((line) => takenBy(own, line))).toEqual([
    ...[0, 1, null, null, null],
  ]);
});

test("a field is found whatever its name's case, and of several the first counts", () => {
  const own = compileMatch(match({ headers: [is("X_User-1", "joe")] }));
  const of = (...headers: string[]): boolean => takes(own, subject("GET /", ...headers));
  expect(of("x_user-1: joe")).toBe(true);
  expect(of("X_USER-1:   joe  ")).toBe(true);
  expect(of("x_user-1: joe", "x_user-1: ann")).toBe(true);
  expect(of("x_user-1: ann", "x_user-1: joe")).toBe(false);
  expect(of("x_user-1: Joe")).toBe(false);
  expect(of("x-user-1: joe")).toBe(false);
  expect(of()).toBe(false);
  expect(takes(compileMatch(match({ headers: [is("x", "")] })), subject("GET /"))).toBe(false);
  expect(takes(compileMatch(match({ headers: [is("host", "shop")] })), subject("GET /"))).toBe(true);
});

test("a value beyond ASCII is compared as UTF-8, as the document has it", () => {
  const of = (one: ValueMatch, sent: string): boolean =>
    takes(compileMatch(match({ headers: [one] })), subject("GET /", sent));
  expect(of(is("x-city", "Zürich"), "x-city: Zürich")).toBe(true);
  expect(of(like("x-city", "Z.rich"), "x-city: Zürich")).toBe(true);
});

test("parameters are compared as they are meant, not as they are escaped, and of several the first counts", () => {
  const of = (one: ValueMatch, target: string): boolean =>
    takes(compileMatch(match({ queryParams: [one] })), subject(`GET ${target}`));
  expect(of(is("a b", "ü&="), "/?a%20b=%C3%BC%26%3d")).toBe(true);
  expect(of(is("a b", "c d"), "/?x&a+b=c+d")).toBe(true);
  expect(of(is("a", "1"), "/?a=1&a=2")).toBe(true);
  expect(of(is("a", "2"), "/?a=1&a=2")).toBe(false);
  expect(of(is("a", ""), "/?b&a")).toBe(true);
  expect(of(is("a", "b=c"), "/?a=b=c")).toBe(true);
  expect(of(is("a", "100%"), "/?a=100%")).toBe(true);
  expect(of(is("a", "%zz%4"), "/?a=%zz%4")).toBe(true);
  expect(of(is("a", "1"), "/a=1")).toBe(false);
  expect(of(is("a", "1"), "/")).toBe(false);
  expect(of(is("a", "1"), "http://other?a=1")).toBe(true);
});

test("an expression is of the whole value: what goes on behind it, or before, is another one", () => {
  const of = (expression: string, value: string): boolean =>
    takes(compileMatch(match({ headers: [like("x", expression)] })), subject("GET /", `x: ${value}`));
  expect([of("a|ab", "ab"), of("b+", "abb"), of("b+", "bba"), of("(?i)AB", "ab"), of("^ab$", "ab")]).toEqual([
    ...[true, false, false, true, true],
  ]);
  expect(takes(compileMatch(match({ path: regex("/a") })), subject("GET /a/b"))).toBe(false);
  expect(takes(compileMatch(match({ path: regex("/a.*") })), subject("GET /a/b?c=/d"))).toBe(true);
});

test("an expression that would take other engines for ever takes no time here", () => {
  const evil = compileMatch(match({ headers: [like("x", "(x+x+)+y")] }));
  const before = performance.now();
  expect(takes(evil, subject("GET /", `x: ${"x".repeat(30_000)}`))).toBe(false);
  expect(performance.now() - before).toBeLessThan(1_000);
});

test("whatever the rules and the request, the first of the sorted ones has it, and none that is less specific", () => {
  const paths = fc.constantFrom("/", "/a", "/a/b", "/ab");
  const spec = fc.record({
    path: fc.oneof(paths.map(prefix), paths.map(exact), fc.constantFrom("/a.*", ".*", "/.?").map(regex)),
    method: fc.constantFrom(null, "GET", "POST"),
    headers: fc.subarray([is("x", "1"), is("y", "1")]),
    queryParams: fc.subarray([is("q", "1")]),
  });
  const rank = ({ path, method, headers, queryParams }: MatchSpec): number[] => [
    path.type === "Exact" ? 99 : path.type === "RegularExpression" ? 0.5 : path.value === "/" ? 0 : path.value.length,
    ...[Number(method !== null), headers.length, queryParams.length],
  ];
  fc.assert(
    fc.property(fc.array(spec, { maxLength: 8 }), paths, fc.boolean(), fc.boolean(), (specs, path, withX, withQ) => {
      const request = subject(`GET ${path}${withQ ? "?q=1" : ""}`, ...(withX ? ["X: 1"] : []));
      const all = specs.map((one, at) => ({ one, at })).filter(({ one }) => takes(compileMatch(one), request));
      all.sort((a, b) => {
        const [left, right] = [rank(a.one), rank(b.one)];
        const differs = left.findIndex((value, i) => value !== right[i]);
        return differs === -1 ? a.at - b.at : right[differs]! - left[differs]!;
      });
      expect(matchRule(rules(...specs), request)?.retries ?? null).toBe(all[0]?.at ?? null);
    }),
  );
});
