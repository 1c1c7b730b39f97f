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
import { leaf, list, mapping, oneOf, table, text, whole } from "./leaf.ts";
import { drain } from "./schema-drain.ts";
import { health } from "./schema-health.ts";
import { rules } from "./schema-rules.ts";
import { run } from "./schema-run.ts";
import { strategy } from "./schema-strategy.ts";
import type { ListenerSpec, ServiceSpec } from "./types.ts";

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
