/** The controller's own metrics, read from its state when they are asked for. Names are `baton_control_*`. */
import { Counter, Gauge, Histogram, Registry as PromRegistry } from "prom-client";
import { phaseOf } from "../rollout/describe.ts";
import type { Shown } from "./wire-views.ts";

export interface Metrics {
  readonly contentType: string;
  text(): Promise<string>;
  round(ms: number): void;
}

const PHASES = ["Progressing", "Paused", "Healthy", "Degraded"] as const;

export function controlMetrics(shown: Shown, leads: boolean): Metrics {
  const { registry, fleet, clock } = shown;
  const prom = new PromRegistry();
  const registers = [prom];
  const rounds = new Histogram({
    name: "baton_control_reconcile_seconds",
    help: "Duration of a round of the reconcile loop.",
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5],
    registers,
  });
  const events = new Counter({
    name: "baton_control_events_total",
    help: "Events since the start, by kind.",
    labelNames: ["kind"],
    registers,
  });
  registry.follow((event) => events.inc({ kind: event.kind }));
  const gauge = (name: string, help: string, labelNames: string[], collect: (gauge: Gauge) => void): void => {
    new Gauge({
      name,
      help,
      labelNames,
      registers,
      collect() {
        this.reset();
        collect(this);
      },
    });
  };
  gauge("baton_control_leads", "1 while this controller leads.", [], (g) => g.set(leads ? 1 : 0));
  gauge("baton_control_epoch", "The fencing number.", [], (g) => g.set(registry.epoch));
  gauge("baton_control_store_ok", "1 when the last change was stored.", [], (g) =>
    g.set(registry.trouble === "" ? 1 : 0),
  );
  gauge("baton_control_rollouts", "The newest rollout of each service, by phase.", ["phase"], (g) => {
    for (const phase of PHASES) g.set({ phase }, 0);
    for (const { name } of registry.services()) {
      const newest = registry.newest(name);
      if (newest !== undefined) g.inc({ phase: phaseOf(newest) });
    }
  });
  gauge("baton_control_hosts", "Known agents, by role and lease.", ["role", "lease"], (g) => {
    for (const host of registry.hosts()) {
      const agent = fleet.agent(host.name);
      g.inc({ role: host.role, lease: agent === undefined ? "lost" : fleet.leaseOf(agent) });
    }
  });
  gauge("baton_control_hosts_by_sync", "Known agents, by what they confirmed.", ["sync"], (g) => {
    for (const agent of fleet.agents()) g.inc({ sync: agent.sync(clock.monotonic()).sync });
  });
  gauge("baton_control_assignment_wait_seconds", "How long the oldest assignment is unconfirmed.", [], (g) => {
    const sent = [...fleet.agents()].map((agent) => agent.inFlight?.sentAt ?? Number.POSITIVE_INFINITY);
    const oldest = Math.min(...sent);
    g.set(Number.isFinite(oldest) ? (clock.monotonic() - oldest) / 1_000 : 0);
  });
  return {
    contentType: prom.contentType,
    text: () => prom.metrics(),
    round: (ms) => rounds.observe(ms / 1_000),
  };
}
