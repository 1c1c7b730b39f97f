/**
 * What is true of the cluster, looked at from outside a few times a second: the operators' API for rollouts and hosts, each
 * agent's own HTTP for what it runs and routes. What does not answer is unknown (null), not absent.
 */
import { z } from "zod";
import type { HostView, RolloutView } from "../../proto/gen/baton/v1/operator.ts";
import type { Topology } from "./topology.ts";
import { SERVICE } from "./documents.ts";

export interface Look {
  readonly atMs: number;
  /** Newest first; null while no controller answers. */
  readonly rollouts: readonly RolloutView[] | null;
  readonly hosts: readonly HostView[] | null;
  /** By host: something of the service is ready and serves there. */
  readonly serves: ReadonlyMap<string, boolean | null>;
  /** By gateway: the hosts that it sends new requests of the service to. */
  readonly routed: ReadonlyMap<string, readonly string[] | null>;
}

const ANSWER_MS = 1_000;

const instances = z.object({
  instances: z.array(z.object({ service: z.string(), state: z.string(), healthySinceMs: z.number() })),
});
const endpoint = z.object({ host: z.string(), mode: z.string() });
const config = z.object({
  assignment: z.object({ services: z.array(z.object({ name: z.string(), endpoints: z.array(endpoint) })) }).nullable(),
});

export async function look({ operators, agents }: Topology): Promise<Look> {
  const hostsOf = agents.filter((agent) => agent.spec.kind === "host");
  const gatewaysOf = agents.filter((agent) => agent.spec.kind === "gateway");
  const [rollouts, hosts, serves, routed] = await Promise.all([
    operators.rollouts(),
    operators.hosts(),
    Promise.all(hostsOf.map(async (host) => [host.name, await servesAt(host.spec.http)] as const)),
    Promise.all(gatewaysOf.map(async (gateway) => [gateway.name, await routedBy(gateway.spec.http)] as const)),
  ]);
  return { atMs: Date.now(), rollouts, hosts, serves: new Map(serves), routed: new Map(routed) };
}

async function servesAt(http: string): Promise<boolean | null> {
  const said = instances.safeParse(await get(http, "/instances"));
  if (!said.success) return null;
  return said.data.instances.some(
    ({ service, state, healthySinceMs }) => service === SERVICE && state === "serving" && healthySinceMs > 0,
  );
}

async function routedBy(http: string): Promise<readonly string[] | null> {
  const said = config.safeParse(await get(http, "/config"));
  const service = said.success ? said.data.assignment?.services.find(({ name }) => name === SERVICE) : undefined;
  if (service === undefined) return null;
  return service.endpoints.filter(({ mode }) => mode === "serving").map(({ host }) => host);
}

async function get(http: string, path: string): Promise<unknown> {
  try {
    const answer = await fetch(`http://${http}${path}`, { signal: AbortSignal.timeout(ANSWER_MS) });
    return await answer.json();
  } catch {
    return null;
  }
}
