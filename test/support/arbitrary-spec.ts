/** Any valid service spec, for properties: small sizes, every field at its edges. */
import * as fc from "fast-check";
import { formatMatch } from "../../proto/contract/spec/match.ts";
import { METHOD_NAMES } from "../../proto/contract/spec/schema-match.ts";
import { checkWithin } from "../../proto/contract/spec/together.ts";
import type {
  DrainSpec,
  ExternalRun,
  HealthSpec,
  ListenerSpec,
  ProbeSpec,
  ProcessRun,
  RuleSpec,
  RunSpec,
  ServiceSpec,
} from "../../proto/contract/spec/types.ts";
import { dockerArb } from "./arbitrary-docker.ts";
import { filterArb, matchArb } from "./arbitrary-match.ts";
import { strategyArb } from "./arbitrary-strategy.ts";
import { msArb, nameArb, textArb, versionArb } from "./arbitrary-text.ts";

const ipv4Arb = fc.constantFrom("127.0.0.1", "0.0.0.0", "10.1.2.3");
const ipv6Arb = fc.constantFrom("::1", "::", "fd00::1:2", "::ffff:7f00:1");
export const portArb = fc.integer({ min: 1, max: 65_535 });

export const listenerArb: fc.Arbitrary<ListenerSpec> = fc.record({
  address: fc.oneof(ipv4Arb, ipv6Arb),
  port: fc.oneof(portArb, fc.constant(0)),
  protocol: fc.constant("http" as const),
});

export const hostnameArb = fc
  .tuple(fc.boolean(), fc.array(nameArb, { minLength: 1, maxLength: 3 }))
  .map(([wild, labels]) => `${wild ? "*." : ""}${labels.join(".")}.test`);

export const ruleArb: fc.Arbitrary<RuleSpec> = fc
  .tuple(
    matchArb,
    fc.record({
      timeouts: fc.record({ requestMs: fc.option(msArb(1)) }),
      retry: fc.record({
        attempts: fc.integer({ min: 0, max: 10 }),
        methods: fc.subarray([...METHOD_NAMES]),
      }),
      requestHeaders: filterArb,
      responseHeaders: filterArb,
    }),
  )
  .map(([match, rest]) => ({ ...match, ...rest }));

const labelsArb = fc.dictionary(
  fc.oneof(
    versionArb,
    nameArb.map((n) => `example.com/${n}`),
  ),
  fc.oneof(versionArb, fc.constant("")),
  { maxKeys: 3, noNullPrototype: true },
);

const processArb: fc.Arbitrary<ProcessRun> = fc.record({
  kind: fc.constant("process" as const),
  command: fc
    .tuple(
      textArb.filter((t) => t !== ""),
      fc.array(textArb, { maxLength: 3 }),
    )
    .map(([p, rest]) => [p, ...rest]),
  cwd: fc.constantFrom("/", "/srv/shop", "/srv/a b"),
  env: fc.dictionary(fc.constantFrom("A", "NODE_ENV", "_x", "constructor"), textArb, { noNullPrototype: true }),
  count: fc.integer({ min: 1, max: 64 }),
});

const externalArb: fc.Arbitrary<ExternalRun> = fc.record({
  kind: fc.constant("external" as const),
  instances: fc.array(
    fc.record({
      version: versionArb,
      host: fc.option(nameArb),
      address: fc.oneof(ipv4Arb, ipv6Arb, fc.constantFrom("shop.internal", "my_app")),
      port: portArb,
    }),
    { maxLength: 4 },
  ),
});

export const runArb: fc.Arbitrary<RunSpec> = fc.oneof(processArb, dockerArb, externalArb);

const probeArb: fc.Arbitrary<ProbeSpec> = fc
  .record({
    kind: fc.constantFrom("http" as const, "tcp" as const),
    path: fc.constantFrom("/", "/healthz", "/ready?deep=1"),
    intervalMs: msArb(10),
    timeoutMs: msArb(1),
    healthyThreshold: fc.integer({ min: 1, max: 100 }),
    unhealthyThreshold: fc.integer({ min: 1, max: 100 }),
  })
  .map((p) => (p.kind === "tcp" ? { ...p, path: "" } : p));

export const healthArb: fc.Arbitrary<HealthSpec> = fc.record({ readiness: probeArb, liveness: fc.option(probeArb) });

export const drainArb: fc.Arbitrary<DrainSpec> = msArb().chain((timeoutMs) =>
  fc.record({
    timeoutMs: fc.constant(timeoutMs),
    sseMs: msArb(0, timeoutMs),
    websocketMs: msArb(0, timeoutMs),
    killMs: msArb(),
    onTimeout: fc.constantFrom("cut" as const, "pause" as const),
  }),
);

export const specArb: fc.Arbitrary<ServiceSpec> = fc
  .record({
    name: nameArb,
    version: versionArb,
    labels: labelsArb,
    listen: fc.array(listenerArb, { minLength: 1, maxLength: 3 }),
    hostnames: fc.uniqueArray(hostnameArb, { maxLength: 3 }),
    rules: fc.uniqueArray(ruleArb, { minLength: 1, maxLength: 4, selector: formatMatch }),
    placement: fc.record({ hosts: fc.array(nameArb, { maxLength: 3 }), labels: labelsArb }),
    run: runArb,
    health: fc.option(healthArb),
    drain: drainArb,
    strategy: strategyArb,
  })
  .map((spec) => {
    if (spec.run.kind === "docker") return withContainerProbe(spec);
    if (spec.run.kind !== "external") return spec;
    // The version that is served must have an instance.
    const version = spec.run.instances[0]?.version ?? spec.version;
    return { ...spec, version };
  })
  .filter((spec) => checkWithin(spec).length === 0);

/** A HEALTHCHECK can be asked of containers alone. */
const withContainerProbe = (spec: ServiceSpec): ServiceSpec =>
  spec.health?.readiness.kind !== "tcp"
    ? spec
    : { ...spec, health: { ...spec.health, readiness: { ...spec.health.readiness, kind: "container" } } };
