/**
 * What a request must be to be taken by a rule, a version's route or a mirror: path, method, header fields and query
 * parameters, all of those that are named.
 *
 * Order   of the rules that take one request the most specific wins, as Gateway API's HTTPRoute has it: Exact, then the
 *         longest PathPrefix; a method; the most header fields; the most query parameters; the first in the document.
 *         RegularExpression, which it leaves open, comes behind every prefix but "/", which says nothing of a path;
 *         several expressions are as specific as each other.
 * Errors  an expression that is none throws when it is compiled (pattern.ts).
 */
import type { MatchSpec, ValueMatch } from "../../proto/contract/spec/types.ts";
import { methodOf } from "./http1/request.ts";
import { compilePattern } from "./pattern.ts";
import type { Pattern } from "./pattern.ts";
import type { Subject } from "./subject.ts";

const SLASH = 47;
const LONGER_THAN_ANY = 2 ** 30;

export interface Match {
  readonly path: PathTest;
  readonly method: { readonly id: number; readonly name: string } | null;
  readonly headers: readonly ValueTest[];
  readonly params: readonly ValueTest[];
  /** Nothing is asked of a request. */
  readonly every: boolean;
}

type PathTest =
  | { readonly kind: "exact"; readonly path: string }
  /** It ends between two segments; without a slash at its end, but for the root. */
  | { readonly kind: "prefix"; readonly path: string }
  | { readonly kind: "pattern"; readonly path: string; readonly pattern: Pattern };

interface ValueTest {
  readonly name: string;
  readonly exact: string;
  readonly pattern: Pattern | null;
}

export function compileMatch({ path, method, headers, queryParams }: MatchSpec): Match {
  const test = pathTest(path);
  const isRoot = test.kind === "prefix" && test.path === "/";
  const anyValue = headers.length === 0 && queryParams.length === 0;
  return {
    path: test,
    method: method === null ? null : { id: methodId(method), name: method },
    headers: headers.map((match) => valueTest(match, match.name.toLowerCase())),
    params: queryParams.map((match) => valueTest(match, match.name)),
    every: isRoot && method === null && anyValue,
  };
}

function pathTest({ type, value }: MatchSpec["path"]): PathTest {
  switch (type) {
    case "Exact":
      return { kind: "exact", path: value };
    case "PathPrefix":
      return { kind: "prefix", path: value.replace(/\/+$/, "") || "/" };
    case "RegularExpression":
      return { kind: "pattern", path: value, pattern: compilePattern(value) };
  }
}

const valueTest = ({ type, value }: ValueMatch, name: string): ValueTest => ({
  name,
  exact: value,
  pattern: type === "Exact" ? null : compilePattern(value),
});

function methodId(name: string): number {
  const bytes = Buffer.from(name, "latin1");
  return methodOf(bytes, 0, bytes.length);
}

/** For sorting, stably: what is more specific first. */
export function bySpecificity(a: Match, b: Match): number {
  return (
    pathRank(b) - pathRank(a) ||
    Number(b.method !== null) - Number(a.method !== null) ||
    b.headers.length - a.headers.length ||
    b.params.length - a.params.length
  );
}

function pathRank({ path }: Match): number {
  switch (path.kind) {
    case "exact":
      return LONGER_THAN_ANY;
    case "prefix":
      return path.path === "/" ? 0 : path.path.length;
    case "pattern":
      return 0.5;
  }
}

export function takes(match: Match, subject: Subject): boolean {
  if (match.every) return true;
  if (!takesPath(match.path, subject)) return false;
  if (match.method !== null && !subject.hasMethod(match.method.id, match.method.name)) return false;
  for (const test of match.headers) if (!holds(test, subject.header(test.name))) return false;
  for (const test of match.params) if (!holds(test, subject.param(test.name))) return false;
  return true;
}

function takesPath(test: PathTest, subject: Subject): boolean {
  switch (test.kind) {
    case "exact":
      return subject.path === test.path;
    case "prefix": {
      const { path } = test;
      if (path === "/" || subject.path === path) return true;
      return subject.path.startsWith(path) && subject.path.charCodeAt(path.length) === SLASH;
    }
    case "pattern":
      return test.pattern.test(subject.path);
  }
}

const holds = (test: ValueTest, value: string | null): boolean =>
  value !== null && (test.pattern === null ? value === test.exact : test.pattern.test(value));

/** Any of them. */
export function takesAny(matches: readonly Match[], subject: Subject): boolean {
  for (const match of matches) if (takes(match, subject)) return true;
  return false;
}
