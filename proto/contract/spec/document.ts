/**
 * A checked spec back as a document, for `get -o yaml` and for the store: canonical, every default written out, so that
 * it means the same whatever later defaults are. `parse(specToDocument(spec))` is `spec` again.
 */
import { formatHostPort } from "../address.ts";
import { hashOf } from "../canonical.ts";
import { formatDuration } from "../units.ts";
import { docker } from "./document-docker.ts";
import { rule } from "./document-rules.ts";
import { strategy } from "./document-strategy.ts";
import { API_VERSION } from "./schema.ts";
import type { ExternalRun, HealthSpec, ProbeSpec, RunSpec, ServiceSpec } from "./types.ts";

type Document = Readonly<Record<string, unknown>>;

export function specToDocument(spec: ServiceSpec): Document {
  return {
    apiVersion: API_VERSION,
    kind: "Service",
    metadata: { name: spec.name, ...unless(isEmpty(spec.labels), { labels: spec.labels }) },
    spec: {
      version: spec.version,
      listen: spec.listen.map(({ address, port, protocol }) => ({ address, port, protocol })),
      ...unless(spec.hostnames.length === 0, { hostnames: [...spec.hostnames] }),
      rules: spec.rules.map(rule),
      ...unless(spec.placement.hosts.length === 0 && isEmpty(spec.placement.labels), {
        placement: {
          ...unless(spec.placement.hosts.length === 0, { hosts: [...spec.placement.hosts] }),
          ...unless(isEmpty(spec.placement.labels), { labels: spec.placement.labels }),
        },
      }),
      run: run(spec.run),
      ...(spec.health === null ? {} : { health: health(spec.health) }),
      drain: {
        timeout: formatDuration(spec.drain.timeoutMs),
        sse: formatDuration(spec.drain.sseMs),
        websocket: formatDuration(spec.drain.websocketMs),
        kill: formatDuration(spec.drain.killMs),
        onTimeout: spec.drain.onTimeout,
      },
      strategy: strategy(spec.strategy),
    },
  };
}

/** Equal hash, equal spec. */
export const specHash = (spec: ServiceSpec): string => hashOf(spec);

const isEmpty = (entries: Readonly<Record<string, unknown>>): boolean => Object.keys(entries).length === 0;
const unless = (absent: boolean, part: Document): Document => (absent ? {} : part);

function run(spec: RunSpec): Document {
  if (spec.kind === "external") return { external: { instances: spec.instances.map(instance) } };
  if (spec.kind === "docker") return { docker: docker(spec) };
  const { command, cwd, env, count } = spec;
  return { process: { command: [...command], cwd, ...unless(isEmpty(env), { env }), count } };
}

function instance({ version, host, address, port }: ExternalRun["instances"][number]): Document {
  return { version, ...(host === null ? {} : { host }), address: formatHostPort(address, port) };
}

function health({ readiness, liveness }: HealthSpec): Document {
  if (liveness !== null) return { readiness: probe(readiness), liveness: probe(liveness) };
  return readiness.kind === "http" ? { path: readiness.path, ...timing(readiness) } : probe(readiness);
}

const probe = (p: ProbeSpec): Document => ({
  ...(p.kind === "http" ? { http: { path: p.path } } : { [p.kind]: {} }),
  ...timing(p),
});

function timing(p: ProbeSpec): Document {
  return {
    interval: formatDuration(p.intervalMs),
    timeout: formatDuration(p.timeoutMs),
    healthyThreshold: p.healthyThreshold,
    unhealthyThreshold: p.unhealthyThreshold,
  };
}
