/** What a canary does step by step, and how its callers are told apart. */
import * as z from "zod";
import { isFieldName } from "../http-field.ts";
import { isName, NAME_RULE } from "../ids.ts";
import { LIMITS } from "../limits.ts";
import { DEFAULTS } from "./defaults.ts";
import { duration, leaf, list, mapping, notOne, percentage, text } from "./leaf.ts";
import { analysis } from "./schema-analysis.ts";
import { headerName, matches } from "./schema-match.ts";
import type { CanaryStep, HeaderRoute, MirrorRoute, StickySpec } from "./strategy.ts";

/** A browser drops a cookie of such a name unless it comes over TLS and says so. */
const cookieName = leaf<string>({ type: "string" }, "a cookie's name such as baton-canary", (input) => {
  if (typeof input !== "string") return undefined;
  if (/^__(Host|Secure)-/i.test(input)) return { wrong: "browsers take __Host- and __Secure- over TLS alone" };
  return isFieldName(input)
    ? { value: input }
    : { wrong: `${JSON.stringify(input.slice(0, 60))} is not a cookie's name` };
});

export const stickiness = mapping({
  cookie: mapping({
    name: cookieName.default(DEFAULTS.canary.cookie.name),
    maxAge: duration(1_000, "24h").default(DEFAULTS.canary.cookie.maxAgeMs),
  }).optional(),
  header: headerName("x-user-id").optional(),
}).transform((s, context): StickySpec => {
  const problem = notOne(s, ["cookie", "header"]);
  if (problem !== undefined) context.issues.push({ code: "custom", message: problem, input: s });
  const { cookie, header } = s;
  return cookie === undefined
    ? { kind: "header", name: header ?? "" }
    : { kind: "cookie", name: cookie.name, maxAgeMs: cookie.maxAge };
});

const routeName = text("beta", isName, `a route's name: ${NAME_RULE}`, LIMITS.nameLength);
const routed = matches(0, LIMITS.routeMatches).default([]);

const headerRoute = mapping({ name: routeName, matches: routed }).transform((route): HeaderRoute => route);

const mirrorRoute = mapping({ name: routeName, percentage: percentage(), matches: routed }).transform(
  ({ name, matches: all, percentage: share }): MirrorRoute => ({ name, matches: all, percentage: share }),
);

const STEPS = ["setWeight", "pause", "analysis", "setHeaderRoute", "setMirrorRoute"] as const;

const step = mapping({
  setWeight: percentage().optional(),
  pause: mapping({ duration: duration(1, "10m").optional() }).optional(),
  analysis: analysis.optional(),
  setHeaderRoute: headerRoute.optional(),
  setMirrorRoute: mirrorRoute.optional(),
}).transform((s, context): CanaryStep => {
  const problem = notOne(s, STEPS);
  if (problem !== undefined) {
    context.issues.push({ code: "custom", message: `${problem}: a step is one thing`, input: s });
    return z.NEVER;
  }
  if (s.setWeight !== undefined) return { kind: "setWeight", weight: s.setWeight };
  if (s.analysis !== undefined) return { kind: "analysis", analysis: s.analysis };
  if (s.setHeaderRoute !== undefined) return { kind: "setHeaderRoute", route: s.setHeaderRoute };
  if (s.setMirrorRoute !== undefined) return { kind: "setMirrorRoute", route: s.setMirrorRoute };
  return { kind: "pause", durationMs: s.pause?.duration ?? null };
});

/** None at all: all of the traffic at once, when every host is ready. */
export const steps = list(step, 0, LIMITS.steps, "steps");
