/**
 * A service document's shape, and what it becomes: every key, in the words that practitioners know (Gateway API for
 * hostnames, rules, matches, timeouts and retry; Nomad and Argo Rollouts for the strategy; Kubernetes for labels).
 * Each mapping is turned into its part of ServiceSpec as soon as it is whole, defaults filled in, and checked where
 * its keys depend on each other.
 *
 * Errors  zod issues, whose messages are ours; `parse.ts` gives them a file, a line and a path.
 */
import * as z from "zod";
import { canonicalAddress, isAddress, isHostname, MAX_PORT } from "../address.ts";
import { isLabelKey, isLabelValue, isName, isVersion, NAME_RULE, VERSION_RULE } from "../ids.ts";
import { LIMITS } from "../limits.ts";
import { DEFAULTS } from "./defaults.ts";
import { duration, leaf, list, mapping, oneOf, table, text, whole } from "./leaf.ts";
import { health } from "./schema-health.ts";
import { run } from "./schema-run.ts";
import { drain, strategy } from "./schema-strategy.ts";
import { NO_FILTER } from "./types.ts";
import type { ListenerSpec, RuleSpec, ServiceSpec } from "./types.ts";

export const API_VERSION = "baton/v1";

const name = (): z.ZodType<string> => text("shop", isName, `a name: ${NAME_RULE}`, LIMITS.nameLength);

const labels = (): z.ZodType<Record<string, string>> =>
  table(
    { is: isLabelKey, rule: "not a label's key: letters, digits, -, _ and ., with an optional dns.prefix/" },
    text("eu-1", isLabelValue, `a label's value: ${VERSION_RULE}`, LIMITS.nameLength),
    LIMITS.labels,
  );

const listenAddress = leaf({ type: "string" }, "an IP address such as 127.0.0.1", (input) => {
  if (typeof input !== "string") return undefined;
  if (isAddress(input)) return { value: canonicalAddress(input) };
  if (input === "localhost")
    return { wrong: 'expected an IP address, got the name "localhost": say 127.0.0.1 or "::1"' };
  return undefined;
});

const listener = mapping({
  address: listenAddress.default(DEFAULTS.listenAddress),
  port: whole(0, MAX_PORT, "a port"),
  protocol: oneOf(["http"]).default("http"),
}).transform((l): ListenerSpec => l);

const hostname = leaf({ type: "string", maxLength: 253 }, "a host name such as shop.example.com", (input) => {
  if (typeof input !== "string") return undefined;
  if (/:\d+$/.test(input)) return { wrong: `${JSON.stringify(input)} has a port; a host name is matched without it` };
  const bare = input.startsWith("*.") ? input.slice(2) : input;
  if (bare.includes("*")) return { wrong: 'a "*" may only stand first, as in *.example.com' };
  if (isHostname(bare) || (bare === input && isAddress(bare))) return { value: canonicalAddress(input) };
  return { wrong: `${JSON.stringify(input)} is not a host name` };
});

const PATH_TYPES = ["Exact", "PathPrefix"] as const;

/** Gateway API's own rules for a path's value: absolute, and with one spelling. */
function badPath(value: string): string | undefined {
  if (!value.startsWith("/")) return 'a path starts with "/"';
  if (/[?#]/.test(value)) return "a path has no query and no fragment";
  if (/[^\x21-\x7e]/.test(value)) return "a path is ASCII without spaces; percent-encode the rest";
  if (/%(?![0-9a-f]{2})/i.test(value)) return 'a "%" without two hex digits behind it';
  if (/\/\/|\/\.{1,2}(\/|$)|%2f/i.test(value)) return 'a path has no "//", "/./", "/../" or "%2F"';
  return undefined;
}

const pathMatch = mapping({
  type: oneOf(PATH_TYPES).default("PathPrefix"),
  value: leaf({ type: "string", maxLength: 1_024 }, "a path such as /api", (input) => {
    if (typeof input !== "string") return undefined;
    const wrong = input.length > 1_024 ? "longer than 1024 characters" : badPath(input);
    return wrong === undefined ? { value: input } : { wrong };
  }).default("/"),
}).transform((path): RuleSpec["path"] =>
  // A prefix is matched by whole segments, so `/api/` and `/api` are the same one.
  path.type === "PathPrefix" && path.value !== "/" ? { ...path, value: path.value.replace(/\/$/, "") } : path,
);

export const METHOD_NAMES = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"] as const;

const retry = mapping({
  attempts: whole(0, 10, "retries").default(DEFAULTS.retryAttempts),
  methods: list(oneOf(METHOD_NAMES), 0, METHOD_NAMES.length, "methods").default([]),
}).transform((r): RuleSpec["retry"] => ({
  attempts: r.attempts,
  methods: METHOD_NAMES.filter((method) => r.methods.includes(method)),
}));

const rule = mapping({
  matches: list(mapping({ path: pathMatch.prefault({}) }), 1, 64, "matches").prefault([{}]),
  timeouts: mapping({ request: duration(0, "10s").optional() }).default({}),
  retry: retry.prefault({}),
}).transform((r): RuleSpec[] =>
  r.matches.map(({ path }) => ({
    path,
    // Gateway API: 0s switches the timeout off.
    timeouts: { requestMs: r.timeouts.request === undefined || r.timeouts.request === 0 ? null : r.timeouts.request },
    retry: r.retry,
    method: null,
    headers: [],
    queryParams: [],
    requestHeaders: NO_FILTER,
    responseHeaders: NO_FILTER,
  })),
);

/** One rule a match, in the document's order; a match that stands twice would never be asked the second time. */
const rules = list(rule, 1, LIMITS.rules, "rules").transform((all, context): RuleSpec[] => {
  const seen = new Set<string>();
  const wrong = (path: (string | number)[], message: string): void => {
    context.issues.push({ code: "custom", path, message, input: all });
  };
  for (const [i, matches] of all.entries()) {
    for (const [j, { path }] of matches.entries()) {
      const match = `${path.type} ${path.value}`;
      if (seen.has(match)) wrong([i, "matches", j], `a second match of ${match}, which the first one takes`);
      seen.add(match);
    }
  }
  if (all.flat().length > LIMITS.rules) wrong([], `more than ${String(LIMITS.rules)} matches`);
  return all.flat();
});

const placement = mapping({
  hosts: list(name(), 0, LIMITS.placementHosts, "hosts").default([]),
  labels: labels().default({}),
});

const spec = mapping({
  version: text("v1", isVersion, `a version: ${VERSION_RULE}`, LIMITS.nameLength),
  listen: list(listener, 1, LIMITS.listenersPerService, "listeners"),
  hostnames: list(hostname, 0, LIMITS.hostnames, "host names").default([]),
  rules: rules.prefault([{}]),
  placement: placement.prefault({}),
  run,
  health: health.optional(),
  drain: drain.prefault({}),
  strategy: strategy.prefault({}),
});

export const serviceDocument = mapping({
  apiVersion: oneOf([API_VERSION]),
  kind: oneOf(["Service"]),
  metadata: mapping({ name: name(), labels: labels().default({}) }),
  spec,
}).transform(({ metadata, spec: s }): ServiceSpec => ({
  name: metadata.name,
  version: s.version,
  labels: metadata.labels,
  listen: s.listen,
  hostnames: s.hostnames,
  rules: s.rules,
  placement: s.placement,
  run: s.run,
  health: s.health ?? null,
  drain: s.drain,
  strategy: s.strategy,
}));
