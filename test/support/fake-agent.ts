/**
 * An agent on the wire: speaks the session as a real one would, over real gRPC, with instances and traffic that are only
 * numbers. What it does with an assignment is scripted by its options and changed at any time.
 *
 *   await using agent = new FakeAgent({ controller: "127.0.0.1:7400", host: "host-1" });
 *   agent.neverReady.add("v3");
 *
 * It comes back by itself when its stream ends, as an agent must, until it is disposed.
 */
import { credentials, Metadata } from "@grpc/grpc-js";
import type { ClientDuplexStream, ServiceError } from "@grpc/grpc-js";
import type { Applied, AssignedService, Assignment } from "../../proto/contract/assignment.ts";
import { assignmentHash, serviceHash } from "../../proto/contract/canonical.ts";
import { PROTOCOL_VERSION } from "../../proto/contract/limits.ts";
import type { Incident, InstanceReport, Report, TrafficReport } from "../../proto/contract/report.ts";
import type { AgentMessage, Hello } from "../../proto/contract/session.ts";
import { decodeControllerMessage, encodeAgentMessage } from "../../proto/contract/wire.ts";
import { AgentSessionClient } from "../../proto/gen/baton/v1/session.ts";
import type * as wire from "../../proto/gen/baton/v1/session.ts";
import { instance as sampleInstance } from "./samples.ts";

export interface FakeAgentOptions {
  readonly controller: string;
  readonly host: string;
  readonly role?: "host" | "gateway";
  readonly labels?: Readonly<Record<string, string>>;
  readonly token?: string;
  readonly hello?: Partial<Hello>;
  /** Starting to ready. */
  readonly startMs?: number;
  readonly reportEveryMs?: number;
}

let boots = 0;
let ports = 20_000;

export class FakeAgent implements AsyncDisposable {
  readonly host: string;
  boot = `boot-${(boots += 1)}-${process.pid}`;
  /** Versions whose instances stay in `starting`. */
  readonly neverReady = new Set<string>();
  /** What it answers to an assignment: null applies it, a text refuses it, "silence" does neither. */
  decide: (assignment: Assignment) => string | null = () => null;
  /** Ports that it can't listen on: it does without the services that want them, as a real one does, and says so. */
  readonly takenPorts = new Set<number>();
  /** false: says nothing at all any more, but keeps its stream. */
  talking = true;
  highestEpoch = 0;
  applied: Applied | null = null;
  services: readonly AssignedService[] = [];
  instances: InstanceReport[] = [];
  traffic: TrafficReport[] = [];
  incidents: Incident[] = [];
  /** Everything the controller said, in order. */
  readonly assignments: Assignment[] = [];
  readonly welcomes: { readonly epoch: number; readonly session: string }[] = [];
  readonly reconnects: string[] = [];
  /** Why its streams ended. */
  readonly ends: string[] = [];
  readonly #options: FakeAgentOptions;
  readonly #ports = new Map<string, number>();
  #client: AgentSessionClient | null = null;
  #stream: ClientDuplexStream<wire.AgentMessage, wire.ControllerMessage> | null = null;
  #seq = 0;
  #disposed = false;
  readonly #timers = new Set<NodeJS.Timeout>();
  #controller: string;

  constructor(options: FakeAgentOptions) {
    this.host = options.host;
    this.#options = options;
    this.#controller = options.controller;
    this.#every(options.reportEveryMs ?? 50, () => this.report());
    this.#connect();
  }

  get connected(): boolean {
    return this.#stream !== null;
  }

  get epoch(): number {
    return this.welcomes.at(-1)?.epoch ?? 0;
  }

  /** What was never to be ready is now. */
  getReady(version: string): void {
    this.neverReady.delete(version);
    for (const { id } of this.instances.filter((i) => i.version === version)) this.#ready(id);
  }

  /** The controller is somewhere else now. */
  moveTo(controller: string): void {
    this.#controller = controller;
    this.#client?.close();
    this.#client = null;
    this.cut();
  }

  /** Breaks the stream; it comes back. */
  cut(): void {
    this.#stream?.cancel();
  }

  service(name: string): AssignedService | undefined {
    return this.services.find((service) => service.name === name);
  }

  say(message: AgentMessage): void {
    if (this.talking) this.#stream?.write(encodeAgentMessage(message));
  }

  report(changes: Partial<Report> = {}): void {
    if (this.#stream === null || this.welcomes.length === 0) return;
    this.#seq += 1;
    const endpoints = this.services.flatMap((service) =>
      service.listeners.map((_, index) => {
        return { service: service.name, listener: index, address: "127.0.0.1", port: this.#portOf(service, index) };
      }),
    );
    const { boot, applied, instances, traffic, incidents } = this;
    this.say({
      kind: "report",
      report: { boot, seq: this.#seq, applied, instances, endpoints, traffic, incidents, ...changes },
    });
  }

  /** A new process on the same machine: another boot, its counters at nothing, its state kept. */
  restart(): void {
    this.boot = `boot-${(boots += 1)}-${process.pid}`;
    this.traffic = [];
    this.incidents = [];
    this.cut();
  }

  incident(kind: Incident["kind"], service: string, message: string): void {
    this.incidents = [...this.incidents, { seq: this.incidents.length + 1, atMs: Date.now(), kind, service, message }];
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true;
    for (const timer of this.#timers) clearInterval(timer);
    this.#stream?.cancel();
    this.#client?.close();
    return Promise.resolve();
  }

  #connect(): void {
    if (this.#disposed) return;
    this.#client ??= new AgentSessionClient(this.#controller, credentials.createInsecure(), {
      "grpc.enable_retries": 0,
      "grpc.initial_reconnect_backoff_ms": 50,
      "grpc.max_reconnect_backoff_ms": 200,
    });
    const metadata = new Metadata();
    if (this.#options.token !== undefined) metadata.set("authorization", `Bearer ${this.#options.token}`);
    const stream = this.#client.connect(metadata);
    this.#stream = stream;
    stream.on("data", (message: wire.ControllerMessage) => this.#take(message));
    let over = false;
    const end = (why: string): void => {
      if (over) return;
      over = true;
      this.ends.push(why);
      if (this.#stream === stream) this.#stream = null;
      this.#after(50, () => this.#connect());
    };
    stream.on("error", (error: ServiceError) => end(error.details || error.message));
    stream.on("end", () => end("ended"));
    this.say({
      kind: "hello",
      hello: {
        protocolVersion: PROTOCOL_VERSION,
        host: this.host,
        role: this.#options.role ?? "host",
        labels: this.#options.labels ?? {},
        boot: this.boot,
        software: "fake",
        address: "127.0.0.1",
        highestEpoch: this.highestEpoch,
        applied: this.applied,
        inboundPorts: "assigned",
        ...this.#options.hello,
      },
    });
  }

  #take(raw: wire.ControllerMessage): void {
    const decoded = decodeControllerMessage(raw);
    if (decoded.kind === "invalid") throw new Error(`the controller broke the protocol: ${decoded.why}`);
    const { value } = decoded;
    switch (value.kind) {
      case "welcome":
        this.welcomes.push(value.welcome);
        this.highestEpoch = Math.max(this.highestEpoch, value.welcome.epoch);
        this.report();
        break;
      case "assignment":
        this.assignments.push(value.assignment);
        this.#assigned(value.assignment);
        break;
      case "reconnect":
        this.reconnects.push(value.reconnect.reason);
        break;
    }
  }

  #assigned(assignment: Assignment): void {
    const { epoch, generation, hash } = assignment;
    const answer = this.decide(assignment);
    if (answer === "silence") return;
    if (answer !== null) {
      this.say({ kind: "rejected", rejected: { epoch, generation, hash, why: answer } });
      return;
    }
    const stuck = assignment.services.filter(({ listeners }) =>
      listeners.some(({ port }) => this.takenPorts.has(port)),
    );
    const live = this.services;
    this.services = assignment.services.flatMap((service) =>
      stuck.includes(service) ? live.filter(({ name }) => name === service.name) : [service],
    );
    const services = Object.fromEntries(this.services.map((service) => [service.name, serviceHash(service)]));
    this.applied = { epoch, generation, hash: assignmentHash(this.services), services };
    this.#reshape();
    if (stuck.length === 0) this.say({ kind: "applied", applied: this.applied });
    this.report();
    if (stuck.length === 0) return;
    const why = stuck.map(({ name }) => `${name}: the port is in use by another process`).join("; ");
    this.say({ kind: "rejected", rejected: { epoch, generation, hash, why } });
  }

  /** Instances as the assignment wants them. */
  #reshape(): void {
    const wanted = this.services.flatMap((service) =>
      service.revisions.map((revision) => ({ service: service.name, revision })),
    );
    const kept = this.instances.filter((i) =>
      wanted.some((w) => w.service === i.service && w.revision.revision === i.revision),
    );
    const next = wanted.map(({ service, revision }): InstanceReport => {
      const known = kept.find((i) => i.service === service && i.revision === revision.revision);
      const id = known?.id ?? `${service}-r${revision.revision}-0-${this.host}`;
      if (known === undefined) this.#after(this.#options.startMs ?? 30, () => this.#ready(id));
      const base = known ?? this.#starting(id, service, revision.revision, revision.version);
      const up = base.healthySinceMs > 0;
      const state = !up ? "starting" : revision.mode === "standby" ? "ready" : revision.mode;
      return { ...base, state };
    });
    this.instances = next;
  }

  #starting(id: string, service: string, revision: number, version: string): InstanceReport {
    const output = this.neverReady.has(version) ? ["listening", "warming up for ever"] : [];
    const state = { state: "starting", healthySinceMs: 0, reason: "readiness: 503", output } as const;
    return sampleInstance(id, { service, revision, version, sinceMs: Date.now(), ...state });
  }

  #ready(id: string): void {
    this.instances = this.instances.map((i) => {
      if (i.id !== id || this.neverReady.has(i.version)) return i;
      return { ...i, healthySinceMs: Date.now(), reason: "", output: [] };
    });
    this.#reshape();
    this.report();
  }

  #portOf(service: AssignedService, index: number): number {
    const key = `${service.name}/${index}`;
    const declared = service.listeners[index]?.port ?? 0;
    const port = this.#ports.get(key) ?? (declared === 0 ? (ports += 1) : declared);
    this.#ports.set(key, port);
    return port;
  }

  #after(ms: number, act: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      if (!this.#disposed) act();
    }, ms);
    this.#timers.add(timer);
  }

  #every(ms: number, act: () => void): void {
    this.#timers.add(setInterval(act, ms));
  }
}
