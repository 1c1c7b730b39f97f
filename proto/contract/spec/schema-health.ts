/**
 * `health`, short or long:
 *
 *   health: { path: /healthz, interval: 2s }                                    readiness, over HTTP
 *   health: { readiness: { http: { path: /ready } }, liveness: { tcp: {} } }    both, each its own way
 *   health: { container: {} }                                                   what the image's HEALTHCHECK says
 */
import * as z from "zod";
import { DEFAULTS } from "./defaults.ts";
import { duration, leaf, mapping, whole } from "./leaf.ts";
import type { HealthSpec, ProbeSpec } from "./types.ts";

const probePath = (): z.ZodType<string> =>
  leaf({ type: "string", maxLength: 1_024 }, "a path such as /healthz", (input) => {
    if (typeof input !== "string") return undefined;
    // It goes into a request line as it is.
    if (!/^\/[\x21-\x7e]*$/.test(input) || input.includes("#")) {
      return { wrong: `${JSON.stringify(input.slice(0, 60))} is not a path such as /healthz` };
    }
    return input.length > 1_024 ? { wrong: "longer than 1024 characters" } : { value: input };
  });

const shape = {
  path: probePath().optional(),
  http: mapping({ path: probePath() }).optional(),
  tcp: mapping({}).optional(),
  container: mapping({}).optional(),
  interval: duration(10).default(DEFAULTS.probe.intervalMs),
  timeout: duration(1, "1s").default(DEFAULTS.probe.timeoutMs),
  healthyThreshold: whole(1, 100).default(DEFAULTS.probe.healthyThreshold),
  unhealthyThreshold: whole(1, 100).default(DEFAULTS.probe.unhealthyThreshold),
};
const probeFields = mapping(shape);
type ProbeFields = z.output<typeof probeFields>;

function toProbe(p: ProbeFields): ProbeSpec | string {
  const ways = [p.path, p.http, p.tcp, p.container].filter((way) => way !== undefined).length;
  if (ways === 0) return "says nothing to ask: expected path, http, tcp or container";
  if (ways > 1) return "expected only one of path, http, tcp and container";
  return {
    kind: p.tcp !== undefined ? "tcp" : p.container !== undefined ? "container" : "http",
    path: p.path ?? p.http?.path ?? "",
    intervalMs: p.interval,
    timeoutMs: p.timeout,
    healthyThreshold: p.healthyThreshold,
    unhealthyThreshold: p.unhealthyThreshold,
  };
}

const probe = probeFields.transform((fields, context): ProbeSpec => {
  const made = toProbe(fields);
  if (typeof made !== "string") return made;
  context.issues.push({ code: "custom", message: made, input: fields });
  return z.NEVER;
});

export const health = mapping({
  readiness: probe.optional(),
  liveness: probe.optional(),
  ...shape,
  // Optional here, so that the long form can be told from the short one.
  interval: shape.interval.unwrap().optional(),
  timeout: shape.timeout.unwrap().optional(),
  healthyThreshold: shape.healthyThreshold.unwrap().optional(),
  unhealthyThreshold: shape.unhealthyThreshold.unwrap().optional(),
}).transform(({ readiness, liveness, ...short }, context): HealthSpec => {
  const wrong = (message: string): never => {
    context.issues.push({ code: "custom", message, input: short });
    return z.NEVER;
  };
  const stray = Object.entries(short).find(([, value]) => value !== undefined)?.[0];
  if (readiness !== undefined || liveness !== undefined) {
    if (stray !== undefined) return wrong(`${stray} belongs inside readiness or liveness here`);
    if (readiness === undefined) return wrong("liveness without readiness: nothing would say when it may serve");
    return { readiness, liveness: liveness ?? null };
  }
  const made = toProbe({
    ...short,
    interval: short.interval ?? DEFAULTS.probe.intervalMs,
    timeout: short.timeout ?? DEFAULTS.probe.timeoutMs,
    healthyThreshold: short.healthyThreshold ?? DEFAULTS.probe.healthyThreshold,
    unhealthyThreshold: short.unhealthyThreshold ?? DEFAULTS.probe.unhealthyThreshold,
  });
  return typeof made === "string" ? wrong(made) : { readiness: made, liveness: null };
});
