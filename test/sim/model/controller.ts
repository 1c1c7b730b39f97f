/** The model world's controller: the real engine and compiler, in the loop that control/rollout/types.ts prescribes. */
import type { AssignedService } from "../../../proto/contract/assignment.ts";
import { compile } from "../../../control/desired/compile.ts";
import { placed } from "../../../control/desired/placement.ts";
import type { Command, JournalEntry, Rollout } from "../../../control/model/rollout.ts";
import type { Host, Revision, Service } from "../../../control/model/service.ts";
import type { FleetView, HostView, VersionTraffic } from "../../../control/model/view.ts";
import { begin, command, desires, step } from "../../../control/rollout/engine.ts";
import type { Context, Decision } from "../../../control/rollout/types.ts";
import { ended } from "../../../control/rollout/describe.ts";
import type { Delivery, SimReport } from "./agent.ts";

const LEASE_MS = 3_000;
/** What is not answered for so long was lost with its session. */
const SESSION_MS = 1_000;

export interface Plan {
  readonly before: Rollout;
  readonly after: Rollout;
  readonly context: Context;
}

export class SimController {
  epoch = 1;
  service: Service = { name: "shop", stable: 0, previous: 0, newest: 0 };
  readonly revisions: Revision[];
  hosts: Host[];
  rollout: Rollout | null = null;
  readonly journal: JournalEntry[] = [];
  readonly past: Rollout[] = [];
  traffic: Record<string, VersionTraffic> = {};
  unexplained = 0;
  wanted = new Map<string, AssignedService | null>();
  /** At most one for each agent, until it is answered (control/fleet/agent.ts). */
  inFlight = new Map<string, { readonly generation: number; readonly hash: string; at: number }>();
  #generation = 0;
  #sent = new Map<string, number>();
  #previous = new Map<string, AssignedService[]>();
  #reports = new Map<string, SimReport>();
  #heardAt = new Map<string, number>();
  #startedAt = 0;
  /** Every decision that changed something, for the oracle. */
  readonly onPlan: (plan: Plan) => void;

  constructor(hosts: Host[], revisions: Revision[], onPlan: (plan: Plan) => void) {
    this.hosts = hosts;
    this.revisions = revisions;
    this.onPlan = onPlan;
  }

  hear(host: string, report: SimReport, now: number): void {
    const known = this.#reports.get(host);
    if (known !== undefined && known.seq >= report.seq) return;
    this.#reports.set(host, report);
    this.#heardAt.set(host, now);
    const asked = this.inFlight.get(host);
    if (asked?.generation === report.generation && report.epoch === this.epoch) this.inFlight.delete(host);
  }

  /** What is to be sent to an agent now: the newest, one at a time, and again while it is not answered. */
  due(host: string, now: number): Omit<Delivery, "at"> | null {
    const report = this.#reports.get(host);
    // Nothing is asked of an agent before it has said what it runs: what is asked stands on that.
    if (report === undefined || this.#silentFor(host, now) > LEASE_MS) return null;
    const service = this.wanted.get(host) ?? null;
    const hash = hashOf(service);
    const asked = this.inFlight.get(host);
    const answered = report.epoch === this.epoch && hash === report.appliedHash;
    const wait = report.rejected === hash ? now - this.#sentAt(host) <= SESSION_MS : false;
    if (wait || (asked === undefined ? answered : now - asked.at <= SESSION_MS)) return null;
    // Its session broke: whether it took what was sent is not known, so what is asked now is sent in any case.
    const generation = asked?.hash === hash ? asked.generation : ++this.#generation;
    this.inFlight.set(host, { generation, hash, at: now });
    this.#sent.set(host, now);
    return { epoch: this.epoch, generation, service, hash };
  }

  /** Killed and started again: what was not stored is gone, and no one is heard of yet. */
  restart(now: number): void {
    this.epoch += 1;
    this.rollout = this.rollout === null ? null : (JSON.parse(JSON.stringify(this.rollout)) as Rollout);
    this.#previous = new Map();
    this.#reports = new Map();
    this.#heardAt = new Map();
    this.inFlight = new Map();
    this.#generation = 0;
    this.#startedAt = now;
  }

  deploy(to: number, now: number): void {
    const target = this.revision(to);
    let over: Rollout | undefined;
    if (this.rollout !== null) {
      const answer = this.say({ kind: "supersede", actor: "ops", by: `r${to}` }, now);
      if (!answer) return;
      over = this.past.at(-1);
    }
    const from = this.service.stable === 0 ? null : this.revision(this.service.stable);
    const decision = begin({
      id: `shop-${String(this.past.length + 1)}`,
      service: "shop",
      from,
      to: target,
      hosts: placed(target.spec, this.hosts),
      ...(from === null ? {} : { fromHosts: placed(from.spec, this.hosts) }),
      now,
      actor: "ops",
      epoch: this.epoch,
      ...(over === undefined ? {} : { over }),
    });
    this.traffic = {};
    this.unexplained = 0;
    this.#take(decision);
  }

  say(said: Command, now: number): boolean {
    if (this.rollout === null) return false;
    this.#compile(now);
    const context = this.context(this.rollout, now);
    const answer = command(this.rollout, said, context);
    if ("kind" in answer) return false;
    this.#take(answer, context);
    return true;
  }

  /** One round: until nothing moves. */
  round(now: number): void {
    for (let i = 0; i < 50; i++) {
      this.#compile(now);
      if (this.rollout === null) return;
      const context = this.context(this.rollout, now);
      const decision = step(this.rollout, context);
      if (decision.rollout === this.rollout) return;
      this.#take(decision, context);
    }
    throw new Error("the engine never comes to rest");
  }

  #take(decision: Decision, context?: Context): void {
    const before = this.rollout;
    // What is not stored does not survive a restart: always go on from the stored form.
    const after = JSON.parse(JSON.stringify(decision.rollout)) as Rollout;
    this.journal.push(...decision.journal);
    if (before !== null && context !== undefined) this.onPlan({ before, after, context });
    if (after.stage.kind === "promoting" && before?.stage.kind !== "promoting") {
      this.service = { ...this.service, stable: after.to, previous: after.from };
    }
    if (ended(after)) {
      this.past.push(after);
      this.rollout = null;
    } else {
      this.rollout = after;
    }
  }

  revision(number: number): Revision {
    const found = this.revisions.find((revision) => revision.revision === number);
    if (found === undefined) throw new Error(`no revision ${number}`);
    return found;
  }

  context(rollout: Rollout, now: number): Context {
    const to = this.revision(rollout.to);
    const from = rollout.from === 0 ? null : this.revision(rollout.from);
    const cluster = {
      hosts: placed(to.spec, this.hosts),
      fromHosts: from === null ? [] : placed(from.spec, this.hosts),
    };
    return { from, to, cluster, view: this.view(now), now, epoch: this.epoch, measurements: [] };
  }

  view(now: number): FleetView {
    return {
      change: this.rollout?.change ?? 0,
      hosts: Object.fromEntries(this.hosts.map((host) => [host.name, this.#hostView(host, now)])),
      traffic: this.traffic,
      unexplainedLoss: this.unexplained,
    };
  }

  #hostView(host: Host, now: number): HostView {
    const report = this.#reports.get(host.name);
    const heardAt = this.#heardAt.get(host.name);
    const asked = hashOf(this.wanted.get(host.name) ?? null);
    const silentFor = this.#silentFor(host.name, now);
    return {
      name: host.name,
      role: host.role,
      lease: silentFor > LEASE_MS ? "lost" : heardAt === undefined ? "unknown" : "live",
      adminState: host.adminState,
      appliedHash: this.#liveHash(host.name),
      askedHash: asked,
      rejected: report?.rejected === asked && asked !== "" ? "no such file: ./server" : "",
      instances: report?.instances ?? [],
      endpointInFlight: report?.endpointInFlight ?? {},
    };
  }

  #sentAt(host: string): number {
    return this.#sent.get(host) ?? 0;
  }

  #silentFor(host: string, now: number): number {
    return now - (this.#heardAt.get(host) ?? this.#startedAt);
  }

  /** As in control/fleet/agent.ts: nothing else is on its way to it, and its word is of this epoch. */
  #liveHash(host: string): string {
    const report = this.#reports.get(host);
    const asked = this.inFlight.get(host);
    if (report === undefined || report.epoch !== this.epoch) return "";
    return asked === undefined || asked.hash === report.appliedHash ? report.appliedHash : "";
  }

  #compile(now: number): void {
    const rollouts = this.rollout === null ? [] : [this.rollout];
    const compiled = compile({
      services: [this.service],
      revisions: this.revisions,
      rollouts,
      desires: new Map(rollouts.map((rollout) => [rollout.service, desires(rollout)])),
      hosts: this.hosts,
      views: new Map([["shop", this.view(now)]]),
      previous: this.#previous,
    });
    this.#previous = compiled;
    this.wanted = new Map([...compiled].map(([name, services]) => [name, services[0] ?? null]));
  }
}

/** Equal text, equal state: a hash that needs no hashing. */
export const hashOf = (service: AssignedService | null): string => (service === null ? "" : JSON.stringify(service));
