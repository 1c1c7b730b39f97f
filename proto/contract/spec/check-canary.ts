/**
 * What is wrong with a canary only when its steps are read in order: a route that is removed before it is there, an
 * analysis of a version that gets no requests yet, what needs both versions on a host where hosts move whole.
 */
import { LIMITS } from "../limits.ts";
import { WHOLE } from "../units.ts";
import type { AnalysisSpec, MetricSource } from "./analysis.ts";
import type { Path } from "./problem.ts";
import type { CanaryStep, CanaryStrategy } from "./strategy.ts";

export interface Complaint {
  readonly path: Path;
  readonly message: string;
}

type Split = Pick<CanaryStrategy, "trafficRouting" | "stickiness" | "steps" | "analysis">;

export function* checkCanary(canary: Split): Generator<Complaint> {
  const { trafficRouting, stickiness, steps, analysis } = canary;
  if (trafficRouting === "hosts" && stickiness !== null) {
    yield { path: ["stickiness"], message: `${WHOLE_HOSTS}: a caller's host decides; take it out, or say weighted` };
  }
  if (analysis !== null && analysis.startingStep > 0 && analysis.startingStep >= steps.length) {
    const there = steps.length === 0 ? "there are no steps" : `the last step is ${String(steps.length - 1)}`;
    yield { path: ["analysis", "startingStep"], message: `${String(analysis.startingStep)}, and ${there}` };
  }
  yield* inOrder(canary);
}

const WHOLE_HOSTS = "with trafficRouting: hosts no host runs both versions";

interface State {
  readonly weight: number;
  readonly routes: ReadonlyMap<string, "setHeaderRoute" | "setMirrorRoute">;
}

function* inOrder({ trafficRouting, steps }: Split): Generator<Complaint> {
  let state: State = { weight: 0, routes: new Map() };
  for (const [i, step] of steps.entries()) {
    const path: Path = ["steps", i, step.kind];
    if (step.kind === "setHeaderRoute" || step.kind === "setMirrorRoute") {
      if (trafficRouting === "hosts")
        yield { path, message: `${WHOLE_HOSTS} to choose from; take it out, or say weighted` };
      else yield* route(step, state, path);
    }
    if (step.kind === "analysis") yield* judged(step.analysis, state, path);
    state = after(step, state);
  }
}

function* route(
  step: CanaryStep & { readonly kind: "setHeaderRoute" | "setMirrorRoute" },
  { routes }: State,
  path: Path,
): Generator<Complaint> {
  const { name } = step.route;
  const known = routes.get(name);
  if (known !== undefined && known !== step.kind) {
    yield { path: [...path, "name"], message: `${name} is a ${known} already; give each its own name` };
  } else if (known === undefined && removes(step)) {
    const why = step.kind === "setHeaderRoute" ? "without matches it is removed" : "percentage 0 removes it";
    yield { path: [...path, "name"], message: `no route ${name} is there by now, and ${why}` };
  } else if (known === undefined && routes.size >= LIMITS.versionRoutes) {
    yield { path, message: `more than ${String(LIMITS.versionRoutes)} routes at once` };
  }
}

const removes = (step: CanaryStep): boolean =>
  (step.kind === "setHeaderRoute" && step.route.matches.length === 0) ||
  (step.kind === "setMirrorRoute" && step.route.percentage === 0);

function after(step: CanaryStep, { weight, routes }: State): State {
  if (step.kind === "setWeight") return { weight: step.weight, routes };
  if (step.kind !== "setHeaderRoute" && step.kind !== "setMirrorRoute") return { weight, routes };
  const next = new Map(routes);
  if (removes(step)) next.delete(step.route.name);
  else next.set(step.route.name, step.kind);
  return { weight, routes: next };
}

/** Without requests there is nothing to count, and no data never passes. */
function* judged(analysis: AnalysisSpec, { weight, routes }: State, path: Path): Generator<Complaint> {
  for (const [i, { source }] of analysis.metrics.entries()) {
    const at = [...path, "metrics", i, source.kind];
    if (weight === 0 && routes.size === 0 && countsCanary(source)) {
      yield {
        path: at,
        message: "the canary gets no requests at this step to judge; setWeight stands before an analysis",
      };
    } else if (weight === WHOLE && source.kind === "sequential") {
      yield { path: at, message: "at setWeight 100 no stable version is left to compare with; use traffic" };
    }
  }
}

export const countsCanary = (source: MetricSource): boolean =>
  source.kind === "sequential" ||
  (source.kind === "traffic" && source.version === "canary" && !["saturation", "requestRate"].includes(source.of));
