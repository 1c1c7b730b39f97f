/** `run`: how a service's instances come to be. Exactly one way: `process`, or `external`. */
import * as z from "zod";
import { parseHostPort } from "../address.ts";
import { isName, isVersion, NAME_RULE, VERSION_RULE } from "../ids.ts";
import { LIMITS } from "../limits.ts";
import { DEFAULTS } from "./defaults.ts";
import { leaf, list, mapping, table, text, whole } from "./leaf.ts";
import type { ExternalRun, ProcessRun, RunSpec } from "./types.ts";

const noNul = (t: string): boolean => !t.includes("\0");

/** One argument, or one variable, holds at most what Linux takes (MAX_ARG_STRLEN is 128 KiB with the name). */
const ARGUMENT_LENGTH = 32_768;

export const command = list(
  text("node", noNul, "without a NUL character", ARGUMENT_LENGTH),
  1,
  LIMITS.arguments,
  'words such as ["node", "server.js"]',
).refine((words) => words[0] !== "", { error: "its first word, the program, is empty", path: [0] });

const env = table(
  {
    // PORT is how Baton tells an instance where to listen; one value for all would be one port for two versions.
    is: (key) => /^[A-Za-z_][A-Za-z0-9_]*$/.test(key) && key !== "PORT",
    rule: "not a variable to set: letters, digits and _, and not PORT, which Baton gives to each instance",
  },
  text("production", noNul, "without a NUL character", ARGUMENT_LENGTH),
  LIMITS.variables,
);

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

export const run = mapping({ process: process.optional(), external: external.optional() }).transform(
  (r, context): RunSpec => {
    if (r.process !== undefined && r.external === undefined) return r.process;
    if (r.external !== undefined && r.process === undefined) return r.external;
    context.issues.push({ code: "custom", message: "expected either process or external, and only one", input: r });
    return z.NEVER;
  },
);
