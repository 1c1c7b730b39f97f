/**
 * A rollout's program as it goes, in words: steps, the split as asked and as applied, analyses with the numbers behind
 * their verdicts, and which agents have yet to confirm.
 *
 * Units  basis points, milliseconds, as the contract has them.
 */
import type { AssignedService } from "../../proto/contract/assignment.ts";
import type { MetricSource, MetricSpec, StickySpec } from "../../proto/contract/spec/types.ts";
import type * as wire from "../../proto/gen/baton/v1/operator.ts";
import type { Agent } from "../fleet/agent.ts";
import type { AnalysisRun, MetricRun } from "../model/analysis.ts";
import type { Rollout } from "../model/rollout.ts";
import { ended } from "../rollout/describe.ts";
import { programOf, splits, stepText, stickyOf } from "../rollout/program.ts";
import type { Shown } from "./wire-views.ts";

export function programView(rollout: Rollout): wire.StepView[] {
  const { step, stage } = rollout;
  const left = ended(rollout) || stage.kind === "aborting" || stage.kind === "rolling-back";
  return programOf(rollout).map((one, at) => {
    const current = at === step.index && !left;
    const durationMs = one.kind === "pause" ? one.durationMs : null;
    const runs = current && durationMs !== null && step.confirmedAtMs > 0;
    return {
      number: at + 1,
      text: stepText(one),
      state: at < step.index ? "done" : current ? "current" : left ? "not reached" : "to come",
      sinceMs: when(current ? step.sinceMs : 0),
      confirmedAtMs: when(current ? step.confirmedAtMs : 0),
      untilMs: when(runs ? step.confirmedAtMs + durationMs : 0),
    };
  });
}

/** Of hosts that take part: those that run both versions for a share each. */
export function splitView({ fleet }: Shown, rollout: Rollout): wire.SplitView | undefined {
  if (!splits(rollout)) return undefined;
  const both = rollout.hosts.filter(({ revisions }) => revisions.filter(({ mode }) => mode === "serving").length > 1);
  const taking = both.map((track) => fleet.agent(track.host));
  const live = taking.map((agent) => agent?.live()?.find((service) => service.name === rollout.service));
  const count = (has: (service: AssignedService) => boolean): number =>
    live.filter((service) => service !== undefined && has(service)).length;
  const { weight, routes, mirrors } = rollout.split;
  return {
    weight,
    sticky: stickyText(stickyOf(rollout.strategy)),
    routes: [
      ...routes.map(({ name }) => ({
        ...{ kind: "header", name, percentage: 0, hostsAsked: taking.length },
        hostsApplied: count((service) => service.routes.some((route) => route.name === name)),
      })),
      ...mirrors.map(({ name, percentage }) => ({
        ...{ kind: "mirror", name, percentage, hostsAsked: taking.length },
        hostsApplied: count((service) => {
          return service.mirrors.some((mirror) => mirror.name === name && mirror.percentage === percentage);
        }),
      })),
    ],
  };
}

const stickyText = (sticky: StickySpec | null): string => (sticky === null ? "" : `${sticky.kind} ${sticky.name}`);

/** Agents that this rollout waits for, or would have to: its hosts and every gateway. */
export function unconfirmed(shown: Shown, rollout: Rollout): wire.Unconfirmed[] {
  const { registry, fleet, clock } = shown;
  if (ended(rollout) || rollout.stage.kind === "blocked") return [];
  const tracked = new Set(rollout.hosts.map((track) => track.host));
  const concerned = registry.hosts().filter((host) => tracked.has(host.name) || host.role === "gateway");
  return concerned.flatMap(({ name, role }): wire.Unconfirmed[] => {
    const agent = fleet.agent(name);
    const lease = agent === undefined ? "lost" : fleet.leaseOf(agent);
    if (agent === undefined || lease === "lost") {
      const silent = agent?.heardAt == null ? "" : ` for ${seconds(clock.monotonic() - agent.heardAt)}`;
      return [{ host: name, role, state: "no news", why: `nothing was heard of it${silent}` }];
    }
    const refusal = agent.refusal(rollout.service);
    if (refusal !== "") return [{ host: name, role, state: "rejected", why: refusal }];
    if (applied(agent, rollout.service)) return [];
    const { reason } = agent.sync(clock.monotonic());
    return [{ host: name, role, state: "lags", why: reason === "" ? "its report is awaited" : reason }];
  });
}

/** What is asked of it for this service is live on it; an agent that is asked nothing has nothing to confirm. */
const applied = (agent: Agent, service: string): boolean =>
  agent.wanted?.hashes[service] === agent.applied?.services[service];

const seconds = (ms: number): string => `${(ms / 1_000).toFixed(1)} s`;

export const analysisView = (run: AnalysisRun, { accepted }: Rollout): wire.AnalysisView => ({
  id: run.id,
  phase: run.phase,
  message: run.message,
  startedAtMs: when(run.startedAtMs),
  endedAtMs: when(run.endedAtMs),
  accepted: accepted.includes(run.id),
  metrics: run.metrics.map((metric) =>
    metricView(
      metric,
      run.spec.metrics.find((spec) => spec.name === metric.name),
    ),
  ),
});

const metricView = (metric: MetricRun, spec: MetricSpec | undefined): wire.MetricView => ({
  name: metric.name,
  source: spec === undefined ? "" : sourceText(spec.source),
  condition: spec === undefined ? "" : conditionText(spec),
  phase: metric.phase,
  message: metric.message,
  successful: metric.counts.successful,
  failed: metric.counts.failed,
  inconclusive: metric.counts.inconclusive,
  errors: metric.counts.error,
  consecutiveErrors: metric.counts.consecutiveErrors,
  nextAtMs: when(metric.nextAtMs),
  recent: metric.recent.map(({ number, atMs, value, verdict, message }) => {
    return { number, atMs: when(atMs), verdict, message, value: value ?? undefined };
  }),
  critical: spec?.critical ?? true,
  dryRun: spec?.dryRun ?? false,
});

export function sourceText(source: MetricSource): string {
  switch (source.kind) {
    case "sequential":
      return `sequential ${source.of}, α ${String(source.alpha)}`;
    case "traffic":
      return `traffic ${source.of} of ${source.version}`;
    case "prometheus":
      return `prometheus ${source.address}`;
    case "webhook":
      return `webhook ${source.method} ${source.url}`;
    case "command":
      return `command ${source.command[0] ?? ""}`;
  }
}

function conditionText({ success, failure }: MetricSpec): string {
  const parts = [
    ...(success === null ? [] : [`success: ${success.text}`]),
    ...(failure === null ? [] : [`failure: ${failure.text}`]),
  ];
  return parts.join("; ");
}

const when = (ms: number): bigint => BigInt(Math.round(ms));
