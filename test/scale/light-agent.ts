/**
 * An agent that costs next to nothing: the session is real (gRPC or NATS, protobuf, hashes, reports at the interval that
 * Welcome names and at once upon a change), what it runs is only numbers. It confirms an assignment at once; an instance is ready
 * `startMs` after it was asked for; one that drains has requests in flight for `drainMs`; one that is named no more is
 * gone `stopMs` later.
 */
import type { Applied, AssignedService, Assignment } from "../../proto/contract/assignment.ts";
import { assignmentHash, serviceHash } from "../../proto/contract/canonical.ts";
import { LIMITS, PROTOCOL_VERSION } from "../../proto/contract/limits.ts";
import type { InstanceReport, Report, TrafficReport } from "../../proto/contract/report.ts";
import type { Hello } from "../../proto/contract/session.ts";
import { instance as sampleInstance, traffic as sampleTraffic } from "../support/samples.ts";
import type { AgentPort, Talk, Way } from "./line.ts";

export interface Pace {
  readonly startMs: number;
  readonly drainMs: number;
  readonly stopMs: number;
}

export interface LightOptions {
  readonly host: string;
  readonly role: "host" | "gateway";
  readonly labels: Readonly<Record<string, string>>;
  readonly way: Way;
  readonly pace: Pace;
}

const PORT = 20_000;
/** As a real one: when its statistics are full, endpoints share their service's record. */
const ROWS = LIMITS.statSlots - LIMITS.servicesPerAgent;

/** Hosts in the same state are asked the same: hashed (and checked) once a process, then known by the assignment's hash. */
const hashes = new Map<string, Readonly<Record<string, string>>>();

function hashesOf({ hash, services }: Assignment): Readonly<Record<string, string>> {
  let known = hashes.get(hash);
  if (known !== undefined) return known;
  if (assignmentHash(services) !== hash) throw new Error("the controller sent an assignment with another's hash");
  known = Object.fromEntries(services.map((service) => [service.name, serviceHash(service)]));
  if (hashes.size > 1_000) hashes.clear();
  hashes.set(hash, known);
  return known;
}

interface Running {
  report: InstanceReport;
  /** Its drain ends, or it is gone. */
  timer: NodeJS.Timeout | null;
  leaving: boolean;
}

export class LightAgent implements AgentPort, Disposable {
  readonly host: string;
  applied: Applied | null = null;
  assignments = 0;
  connected = false;
  /** Requests a second that are counted here; 0 for a quiet agent. */
  rate = 0;
  readonly #options: LightOptions;
  readonly #boot: string;
  #services: readonly AssignedService[] = [];
  readonly #running = new Map<string, Running>();
  readonly #traffic = new Map<string, TrafficReport>();
  #countedAt = performance.now();
  readonly #talk: Talk;
  #seq = 0;
  #highestEpoch = 0;

  constructor(options: LightOptions) {
    this.host = options.host;
    this.#options = options;
    this.#boot = `boot-${options.host}`;
    this.#talk = options.way.open(this);
  }

  [Symbol.dispose](): void {
    for (const { timer } of this.#running.values()) if (timer !== null) clearTimeout(timer);
    this.#talk[Symbol.dispose]();
  }

  hello(): Hello {
    const { host, role, labels } = this.#options;
    return {
      protocolVersion: PROTOCOL_VERSION,
      ...{ host, role, labels, boot: this.#boot, software: "light" },
      address: "127.0.0.1",
      highestEpoch: this.#highestEpoch,
      applied: this.applied,
      inboundPorts: role === "host" ? "assigned" : "declared",
    };
  }

  welcomed(epoch: number): void {
    this.connected = true;
    this.#highestEpoch = Math.max(this.#highestEpoch, epoch);
  }

  gone(): void {
    this.connected = false;
  }

  assigned(assignment: Assignment): void {
    const { epoch, generation, hash, services } = assignment;
    this.assignments += 1;
    this.#highestEpoch = Math.max(this.#highestEpoch, epoch);
    this.applied = { epoch, generation, hash, services: hashesOf(assignment) };
    this.#services = services;
    this.#reshape();
    this.#talk.applied(this.applied);
  }

  report(): Report {
    this.#seq += 1;
    this.#count();
    return {
      ...{ boot: this.#boot, seq: this.#seq, applied: this.applied, incidents: [] },
      instances: [...this.#running.values()].map(({ report }) => report),
      endpoints: this.#services.flatMap(({ name, listeners }) =>
        listeners.map((_, listener) => ({ service: name, listener, address: "127.0.0.1", port: PORT })),
      ),
      traffic: [...this.#traffic.values()],
    };
  }

  /** Requests since the last report, shared out over what serves; a gateway's over its endpoints. */
  #count(): void {
    const now = performance.now();
    const seconds = (now - this.#countedAt) / 1_000;
    this.#countedAt = now;
    if (this.rate === 0) return;
    for (const service of this.#services) {
      const serving = service.revisions.find((revision) => revision.mode === "serving");
      const own = serving === undefined ? [] : [`${service.name}-r${serving.revision}-0-${this.host}`];
      const to = own.length > 0 ? own : service.endpoints.map(({ host }) => host);
      for (const endpoint of to) this.#add(service.name, serving?.version ?? "", endpoint, this.rate * seconds);
    }
  }

  #add(service: string, version: string, endpoint: string, requests: number): void {
    const key = `${service} ${version} ${endpoint}`;
    if (!this.#traffic.has(key) && endpoint !== "" && this.#traffic.size >= ROWS) {
      this.#add(service, version, "", requests);
      return;
    }
    const row = this.#traffic.get(key) ?? sampleTraffic(endpoint, { service, version });
    const completed = row.completed + requests;
    const whole = Math.floor(completed);
    const statusClasses = [0, 0, whole, 0, 0, 0];
    // A spread as apps have: some thirty buckets about 10 ms.
    const latency = Array.from({ length: 30 }, (_, i) => [80 + i, Math.floor(whole / 30)] as const);
    this.#traffic.set(key, { ...row, started: whole, completed, statusClasses, latency: whole < 30 ? [] : latency });
  }

  #reshape(): void {
    const { pace } = this.#options;
    const named = new Set<string>();
    for (const service of this.#services) {
      for (const { revision, version, mode } of service.revisions) {
        const id = `${service.name}-r${revision}-0-${this.host}`;
        named.add(id);
        const known = this.#running.get(id) ?? this.#start(id, service.name, revision, version);
        if (known.report.healthySinceMs > 0) this.#mode(known, mode);
      }
    }
    for (const [id, running] of this.#running) {
      if (named.has(id) || running.leaving) continue;
      running.leaving = true;
      running.report = { ...running.report, state: "stopping" };
      this.#later(running, pace.stopMs, () => this.#running.delete(id));
    }
  }

  #start(id: string, service: string, revision: number, version: string): Running {
    const now = Date.now();
    const starting = { state: "starting", sinceMs: now, healthySinceMs: 0, reason: "readiness: 503" } as const;
    const running: Running = {
      report: sampleInstance(id, { service, revision, version, ...starting }),
      timer: null,
      leaving: false,
    };
    this.#running.set(id, running);
    this.#later(running, this.#options.pace.startMs, () => {
      running.report = {
        ...running.report,
        state: "ready",
        sinceMs: Date.now(),
        healthySinceMs: Date.now(),
        reason: "",
      };
      this.#reshape();
    });
    return running;
  }

  #mode(running: Running, mode: "standby" | "serving" | "draining"): void {
    const state = mode === "standby" ? "ready" : mode;
    if (running.report.state === state) return;
    running.report = { ...running.report, state, sinceMs: Date.now(), inFlight: mode === "draining" ? 1 : 0 };
    if (mode !== "draining") return;
    this.#later(running, this.#options.pace.drainMs, () => {
      running.report = { ...running.report, inFlight: 0 };
    });
  }

  #later(running: Running, ms: number, act: () => void): void {
    if (running.timer !== null) clearTimeout(running.timer);
    running.timer = setTimeout(() => {
      running.timer = null;
      act();
      this.#talk.changed();
    }, ms);
  }
}
