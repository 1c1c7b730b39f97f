/**
 * Plans over the wire: worked out a little at a time between the controller's own work, and no longer than `ENOUGH_MS`.
 */
import type * as wire from "../../proto/gen/baton/v1/operator.ts";
import { sleep } from "../../proto/kernel/clock.ts";
import type { Clock, Millis } from "../../proto/kernel/clock.ts";
import type { Operations, ToPlan } from "../operations.ts";
import type { Plan } from "../plan/types.ts";
import { walk } from "../plan/walk.ts";

/** At a stretch. */
const SLICE_MS = 8;
/** Of work, for all plans of one request; rounds and agents take theirs in between. */
const ENOUGH_MS = 4_000;

export async function plans(
  request: wire.PlanRequest,
  { operations, clock }: { readonly operations: Operations; readonly clock: Clock },
): Promise<wire.PlanResponse> {
  const { documents, service, version, revision } = request;
  const sources = documents.map(({ file, text, baseDir }) => ({ file, text, ...(baseDir === "" ? {} : { baseDir }) }));
  const all = await operations.toPlan(sources, { service, version, revision });
  const told: wire.PlanView[] = [];
  let left: Millis = ENOUGH_MS;
  for (const one of all) {
    const { plan, tookMs } = one.refusal === "" ? await worked(one, left, clock) : { plan: null, tookMs: 0 };
    left -= tookMs;
    told.push(planView(one, plan));
  }
  return { plans: told };
}

async function worked(
  { input }: ToPlan,
  budgetMs: Millis,
  clock: Clock,
): Promise<{ readonly plan: Plan; readonly tookMs: Millis }> {
  let tookMs = 0;
  let began = clock.monotonic();
  const steps = walk(input, () => tookMs + clock.monotonic() - began >= budgetMs);
  for (;;) {
    const next = steps.next();
    const stretch = clock.monotonic() - began;
    if (next.done === true) return { plan: next.value, tookMs: tookMs + stretch };
    if (stretch < SLICE_MS) continue;
    tookMs += stretch;
    await sleep(clock, 1);
    began = clock.monotonic();
  }
}

function planView({ input, stored, refusal, first }: ToPlan, plan: Plan | null): wire.PlanView {
  const { from, to, fastTrack } = input.beginning;
  return {
    service: input.service.name,
    fromRevision: from?.revision ?? 0,
    fromVersion: from?.version ?? "",
    toRevision: stored ? to.revision : 0,
    toVersion: to.version,
    strategy: to.spec.strategy.kind,
    fastTrack: fastTrack ?? false,
    steps: (plan?.steps ?? []).map((step, at) => ({
      ...step,
      number: at + 1,
      atMs: BigInt(Math.round(step.atMs)),
      hosts: [...step.hosts],
      hostsOut: [...step.hostsOut],
    })),
    outcome: plan?.outcome ?? "",
    lastsMs: BigInt(Math.round(plan?.lastsMs ?? 0)),
    minCapacityPercent: plan?.minCapacityPercent ?? 0,
    maxInstances: plan?.maxInstances ?? 0,
    maxHostsOut: plan?.maxHostsOut ?? 0,
    warnings: [...(first === "" ? [] : [first]), ...(plan?.warnings ?? [])],
    refusals: refusal === "" ? [] : [refusal],
  };
}
