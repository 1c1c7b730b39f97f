/**
 * An agent over NATS: the real session (agent/core/session/nats-session.ts) before a core that is scripted. Instances and
 * traffic are only numbers; what is asked is applied at once, unless `decide` says otherwise.
 *
 *   using agent = new FakeNatsAgent({ nats, host: "host-1" });
 */
import { NatsSession } from "../../agent/core/session/nats-session.ts";
import type { NatsSessionOptions } from "../../agent/core/session/nats-session.ts";
import type { SourcePort } from "../../agent/core/source.ts";
import type { AgentOptions } from "../../agent/keeper/protocol.ts";
import type { Applied, AssignedService, Assignment } from "../../proto/contract/assignment.ts";
import { assignmentHash, serviceHash } from "../../proto/contract/canonical.ts";
import type { NatsOptions } from "../../proto/contract/nats.ts";
import type { Incident, InstanceReport, Report, TrafficReport } from "../../proto/contract/report.ts";
import { silentLog } from "../../proto/kernel/log.ts";
import type { Log } from "../../proto/kernel/log.ts";
import { openNats } from "../../proto/runtime/nats.ts";
import { systemClock, systemRandom } from "../../proto/runtime/system-clock.ts";
import { instance as sampleInstance } from "./samples.ts";

export interface FakeNatsAgentOptions {
  readonly nats: NatsOptions;
  readonly host: string;
  readonly role?: "host" | "gateway";
  readonly labels?: Readonly<Record<string, string>>;
  readonly boot?: string;
  readonly lastGood?: Assignment;
  readonly highestEpoch?: number;
  readonly log?: Log;
  /** In place of a connection of its own. */
  readonly open?: NatsSessionOptions["open"];
}

let boots = 0;

export class FakeNatsAgent implements Disposable {
  readonly host: string;
  readonly boot: string;
  readonly session: NatsSession;
  /** What it answers to an assignment: null applies it, a text refuses it, "silence" does neither. */
  decide: (assignment: Assignment) => string | null = () => null;
  highestEpoch: number;
  applied: Applied | null = null;
  services: readonly AssignedService[] = [];
  traffic: TrafficReport[] = [];
  incidents: Incident[] = [];
  /** What the session offered, in order; `restored` came from disk. */
  readonly offered: Assignment[] = [];
  readonly restored: Assignment[] = [];
  reports = 0;

  constructor(options: FakeNatsAgentOptions) {
    this.host = options.host;
    this.boot = options.boot ?? `boot-${(boots += 1)}-${process.pid}`;
    this.highestEpoch = options.highestEpoch ?? 0;
    const { nats, log = silentLog } = options;
    const ambient = { clock: systemClock, random: systemRandom, log };
    const agent: AgentOptions = {
      name: options.host,
      stateDir: "/nowhere",
      source: { kind: "nats", nats },
      role: options.role ?? "host",
      labels: options.labels ?? {},
      address: "127.0.0.1",
      inboundPorts: "assigned",
      admin: { host: "127.0.0.1", port: 0 },
      workers: 1,
      logLevel: "silent",
      accessLog: null,
      tokenFile: null,
      trustNetwork: false,
      stopTimeoutMs: 1_000,
    };
    const open = options.open ?? ((told) => openNats({ ...ambient, ...told, nats, name: options.host }));
    const port: SourcePort = {
      boot: this.boot,
      lastGood: options.lastGood ?? null,
      highestEpoch: () => this.highestEpoch,
      sawEpoch: (epoch) => void (this.highestEpoch = Math.max(this.highestEpoch, epoch)),
      applied: () => this.applied,
      restore: (assignment) => {
        this.restored.push(assignment);
        this.apply(assignment);
      },
      offer: (assignment) => {
        this.offered.push(assignment);
        this.#decide(assignment);
      },
      report: () => this.#report(),
      instances: () => this.#instances(),
      fail: () => undefined,
    };
    this.session = new NatsSession({ ...ambient, agent, nats, software: "fake", open }, port);
    this.session.start();
  }

  apply(assignment: Assignment): void {
    const { epoch, generation, services } = assignment;
    this.highestEpoch = Math.max(this.highestEpoch, epoch);
    this.services = services;
    const hashes = Object.fromEntries(services.map((service) => [service.name, serviceHash(service)]));
    this.applied = { epoch, generation, hash: assignmentHash(services), services: hashes };
    // Restored while the session is still being made: its first report says so.
    (this.session as NatsSession | undefined)?.applied(this.applied);
  }

  incident(kind: Incident["kind"], service: string, message: string): void {
    this.incidents = [...this.incidents, { seq: this.incidents.length + 1, atMs: Date.now(), kind, service, message }];
  }

  [Symbol.dispose](): void {
    this.session.stop();
  }

  #decide(assignment: Assignment): void {
    const answer = this.decide(assignment);
    if (answer === null) this.apply(assignment);
    if (answer === null || answer === "silence") return;
    const { epoch, generation, hash } = assignment;
    this.session.rejected({ epoch, generation, hash, why: answer });
  }

  #report(): Report {
    this.reports += 1;
    const endpoints = this.services.flatMap(({ name, listeners }) =>
      listeners.map((_, listener) => ({ service: name, listener, address: "127.0.0.1", port: 20_000 + listener })),
    );
    const { boot, applied, traffic, incidents } = this;
    return { ...{ boot, applied, traffic, incidents, endpoints }, seq: this.reports, instances: this.#instances() };
  }

  #instances(): InstanceReport[] {
    return this.services.flatMap((service) =>
      service.revisions.map(({ revision, version, mode }) => {
        const state = mode === "standby" ? "ready" : mode;
        return sampleInstance(`${service.name}-r${revision}-0-${this.host}`, {
          ...{ service: service.name, revision, version, state },
        });
      }),
    );
  }
}
