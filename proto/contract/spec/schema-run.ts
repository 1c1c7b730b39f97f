/** `run`: how a service's instances come to be. Exactly one way: `process`, `docker`, or `external`. */
import * as z from "zod";
import { parseHostPort } from "../address.ts";
import { isName, isVersion, NAME_RULE, VERSION_RULE } from "../ids.ts";
import { LIMITS } from "../limits.ts";
import { DEFAULTS } from "./defaults.ts";
import { leaf, list, mapping, notOne, text, whole } from "./leaf.ts";
import { docker } from "./schema-docker.ts";
import { command, env, noNul } from "./schema-words.ts";
import type { ExternalRun, ProcessRun, RunSpec } from "./types.ts";

const process = mapping({
  command,
  cwd: text(".", (t) => t !== "" && noNul(t), "a folder", 4_096).default("."),
  env: env.default({}),
  count: whole(1, LIMITS.instancesPerHost, "a count").default(DEFAULTS.processCount),
}).transform((p): ProcessRun => ({ kind: "process", ...p }));

const instance = mapping({
  version: text("v1", isVersion, `a version: ${VERSION_RULE}`, LIMITS.nameLength),
  host: text("host-1", isName, `a host's name: ${NAME_RULE}`, LIMITS.nameLength).optional(),
  address: leaf({ type: "string" }, 'an address with a port such as "127.0.0.1:9001"', (input) => {
    const found = typeof input === "string" ? parseHostPort(input) : undefined;
    if (found === undefined) return undefined;
    return found.port === 0 ? { wrong: "an instance's port is from 1 to 65535" } : { value: found };
  }),
}).transform((i): ExternalRun["instances"][number] => ({ version: i.version, host: i.host ?? null, ...i.address }));

const external = mapping({
  /** Empty is a service that is known before its instances are: its listeners answer 503. */
  instances: list(instance, 0, LIMITS.externalInstances, "instances"),
}).transform((e): ExternalRun => ({ kind: "external", ...e }));

export const run = mapping({
  process: process.optional(),
  docker: docker.optional(),
  external: external.optional(),
}).transform((r, context): RunSpec => {
  const found = r.process ?? r.docker ?? r.external;
  const wrong = notOne(r, ["process", "docker", "external"]);
  if (found !== undefined && wrong === undefined) return found;
  context.issues.push({ code: "custom", message: wrong ?? "", input: r });
  return z.NEVER;
});
