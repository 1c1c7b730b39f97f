/**
 * A rollout as operators are shown it: where it stands, its hosts, versions and ledger. Its program, its split and its
 * analyses are put into words by program-view.ts.
 */
import { bucketLimit, LATENCY_BUCKETS, quantile } from "../../proto/contract/histogram.ts";
import type { InstanceReport } from "../../proto/contract/report.ts";
import type * as wire from "../../proto/gen/baton/v1/operator.ts";
import { sum } from "../ledger/totals.ts";
import type { Totals } from "../ledger/types.ts";
import type { JournalEntry, Rollout } from "../model/rollout.ts";
import { describe, ended, exitCodeOf, phaseOf, stageName } from "../rollout/describe.ts";
import { analysisView, programView, splitView, unconfirmed } from "./program-view.ts";
import { instancesWanted, sharesOf } from "./shares.ts";
import { instanceView, ledgerView } from "./wire-views.ts";
import type { Shown } from "./wire-views.ts";

export async function rolloutView(shown: Shown, rollout: Rollout): Promise<wire.RolloutView> {
  const { registry, books } = shown;
  const journal = await registry.journal(rollout.id);
  const from = registry.revision(rollout.service, rollout.from) ?? null;
  const to = registry.revision(rollout.service, rollout.to);
  const waiting = ended(rollout) || rollout.stage.kind === "blocked" ? undefined : registry.blockedOf(rollout.service);
  const done = rollout.hosts.filter((track) => track.stage === "done").length;
  return {
    id: rollout.id,
    service: rollout.service,
    fromRevision: rollout.from,
    fromVersion: from?.version ?? "",
    toRevision: rollout.to,
    toVersion: to?.version ?? "",
    strategy: rollout.strategy.kind,
    phase: phaseOf(rollout),
    stage: stageName(rollout.stage),
    reason: reasonOf(rollout),
    message: sentence(shown, rollout),
    step: done,
    steps: rollout.hosts.length,
    startedAtMs: BigInt(Math.round(rollout.startedAtMs)),
    endedAtMs: BigInt(Math.round(rollout.endedAtMs)),
    hosts: rolloutHosts(shown, rollout),
    versions: versionViews(shown, rollout),
    ledger: ledgerView(books.sum(rollout.id)),
    transitions: journal.map(transition),
    ended: ended(rollout),
    exitCode: exitCodeOf(rollout),
    program: programView(rollout),
    split: splitView(shown, rollout),
    analyses: rollout.analyses.map((run) => analysisView(run, rollout)),
    unconfirmed: unconfirmed(shown, rollout),
    fastTrack: rollout.fastTrack,
    behind: rollout.stage.kind === "blocked" ? rollout.stage.behind : "",
    next: waiting?.id ?? "",
  };
}

/** One that waits for another says what that one waits for. */
function sentence({ registry, clock }: Shown, rollout: Rollout): string {
  const said = (one: Rollout): string => {
    const from = registry.revision(one.service, one.from) ?? null;
    const to = registry.revision(one.service, one.to);
    return to === undefined ? "" : describe(one, { from, to, now: clock.now() });
  };
  const behind = rollout.stage.kind === "blocked" ? registry.rollout(rollout.stage.behind) : undefined;
  return behind === undefined ? said(rollout) : `${said(rollout)} ${behind.id}: ${said(behind)}`;
}

function reasonOf({ pause, stage }: Rollout): string {
  if (pause !== null) return pause.reason;
  if (stage.kind === "step" || stage.kind === "rolling-back")
    return stage.of.charAt(0).toUpperCase() + stage.of.slice(1);
  return "";
}

const transition = (entry: JournalEntry): wire.Transition => ({
  atMs: BigInt(Math.round(entry.atMs)),
  stage: entry.stage,
  reason: entry.reason,
  message: entry.message,
  actor: entry.actor,
  epoch: BigInt(entry.epoch),
});

function rolloutHosts({ fleet, books }: Shown, rollout: Rollout): wire.RolloutHost[] {
  const evidence = books.evidence(rollout.id);
  const over = ended(rollout);
  return rollout.hosts.map((track) => {
    const agent = fleet.agent(track.host);
    const instances = (agent?.report?.instances ?? []).filter((i) => i.service === rollout.service);
    const kept = evidence
      .filter(({ host, instance }) => host === track.host && !instances.some((i) => i.id === instance.id))
      .map(({ instance }) => instance);
    const asked = agent?.wanted?.hashes[rollout.service];
    const applied = agent?.applied?.services[rollout.service];
    return {
      host: track.host,
      stage: track.stage,
      message: track.waitingFor,
      live: agent !== undefined && fleet.leaseOf(agent) === "live",
      // What is asked changes with the end: a host that is done has confirmed all that this rollout asked of it.
      applied: (over && track.stage === "done") || (asked !== undefined && applied === asked),
      instances: [...instances, ...kept].map(instanceView),
    };
  });
}

/** From, to, and between them what else is there: targets of superseded rollouts, on their way out. */
function revisionsOf(rollout: Rollout, instances: readonly InstanceReport[]): readonly number[] {
  const { from, to, hosts } = rollout;
  const running = ended(rollout) ? [] : instances.filter((i) => i.state !== "stopped" && i.state !== "failed");
  const there = [...hosts.flatMap((track) => track.revisions), ...running].map((one) => one.revision);
  const others = new Set(there.filter((number) => number !== from && number !== to));
  return [from, ...[...others].sort((a, b) => a - b), to];
}

function versionViews(shown: Shown, rollout: Rollout): wire.VersionView[] {
  const { registry, fleet, books } = shown;
  const counted = books.versions(rollout.id);
  const shares = sharesOf(fleet, rollout);
  const tracked = rollout.hosts.flatMap((track) => fleet.agent(track.host)?.report?.instances ?? []);
  const instances = tracked.filter((i) => i.service === rollout.service);
  return revisionsOf(rollout, instances).flatMap((number) => {
    const revision = registry.revision(rollout.service, number);
    if (revision === undefined) return [];
    const own = instances.filter((i) => i.revision === number);
    const totals = counted[revision.version];
    return {
      revision: number,
      version: revision.version,
      weightAsked: shares.asked.get(number) ?? 0,
      weightApplied: shares.applied.get(number) ?? 0,
      ready: own.filter((i) => i.state === "ready" || i.state === "serving").length,
      wanted: instancesWanted(rollout, revision),
      inFlight: BigInt(sum(own.map((i) => i.inFlight))),
      requests: BigInt(totals?.started ?? 0),
      errors: BigInt(totals?.errors ?? 0),
      lost: BigInt(sum(totals?.lost ?? [])),
      ...latency(totals),
    };
  });
}

function latency(
  totals: Totals | undefined,
): Pick<wire.VersionView, "p50Us" | "p90Us" | "p95Us" | "p99Us" | "latency"> {
  const counts = new Float64Array(LATENCY_BUCKETS);
  for (const [bucket, count] of totals?.latency ?? []) counts[bucket] = count;
  const at = (share: number): bigint => BigInt(quantile(counts, share));
  return {
    p50Us: at(0.5),
    p90Us: at(0.9),
    p95Us: at(0.95),
    p99Us: at(0.99),
    latency: (totals?.latency ?? []).map(([bucket, count]) => {
      return { belowUs: BigInt(bucketLimit(bucket)), count: BigInt(count) };
    }),
  };
}
