/**
 * The ledger: every agent's counts, and for each rollout the difference between its start and its end, with each loss
 * judged. Counted at the edge: at the gateways where a service has any, else at its hosts.
 *
 * Kept by the controller's store through `checkpoint`: counts, what was judged and what is still to be judged go there
 * in one batch, so that a controller killed at any moment finds books that agree with each other.
 */
import type { InstanceReport, Report } from "../../proto/contract/report.ts";
import type { Rollout } from "../model/rollout.ts";
import type { Change } from "../store/store.ts";
import type { VersionTraffic } from "../model/view.ts";
import { AgentCounts, SEEN_KEPT_MS } from "./counts.ts";
import type { Entered } from "./counts.ts";
import { Explainer, LATE_MS } from "./explain.ts";
import type { Judged } from "./explain.ts";
import { byVersion, NOTES, sumOf, withNote } from "./sum.ts";
import { Tally } from "./tally.ts";
import { between, sum } from "./totals.ts";
import type { Span } from "./totals.ts";
import type { Evidence, HostCounts, LedgerSum, RolloutLedger, Seen, Snapshot, Totals } from "./types.ts";
import { UnaskedEnds } from "./unasked-ends.ts";

/** Hosts whose failed instance is kept a rollout. */
const WITNESSES = 20;
/** Pages stored in one checkpoint, besides urgent ones: a commit of more would hold up the loop. */
const PAGES = 500;

export interface Stored {
  readonly counts: readonly HostCounts[];
  readonly ledgers: readonly RolloutLedger[];
}

export class Books {
  readonly #agents = new Map<string, AgentCounts>();
  readonly #ends = new Map<string, UnaskedEnds>();
  readonly #ledgers = new Map<string, RolloutLedger>();
  readonly #dirty = new Set<string>();
  /** Agents whose page is to be stored, those that wait longest first. */
  readonly #pages = new Set<AgentCounts>();
  /** By service. */
  readonly #tallies = new Map<string, Tally>();
  /** By rollout: the tally as its ledger began. */
  readonly #starts = new Map<string, Tally>();
  readonly #asked = new Map<string, { readonly changes: number; readonly traffic: Traffic }>();
  readonly #explainer = new Explainer();
  /** When each host's newest report was entered. */
  readonly #heard = new Map<string, number>();

  /** `at`: monotonic, `atMs`: wall clock; what was pending when the controller stopped gets its whole grace again. */
  constructor(stored: Stored, at: number, atMs: number) {
    for (const counts of stored.counts) {
      const { host } = counts;
      this.#agents.set(host, new AgentCounts(host, counts.role, this.#tallyOf, counts));
      for (const { atMs: seenMs, ...seen } of counts.seen ?? []) {
        // Another machine's clock may have written it.
        if (Math.abs(atMs - seenMs) > SEEN_KEPT_MS) continue;
        this.#explainer.see({ host, ...seen }, at);
        if (seen.kind === "instance-ended") this.#endsOf(host).note(seen.service, seen.message);
      }
    }
    for (const ledger of stored.ledgers) {
      this.take(ledger);
      if (ledger.end === null) for (const loss of ledger.pending) this.#explainer.lose(loss, at);
    }
  }

  /** Enters an agent's report. `at` is monotonic, `atMs` wall clock. */
  enter(host: string, role: "host" | "gateway", report: Report, at: number, atMs: number): Entered {
    const known = this.#agents.has(host);
    const counts = this.#counts(host, role);
    const entered = counts.enter(report, atMs);
    if (!known) this.#joinBaselines(counts);
    if (counts.dirty) this.#pages.add(counts);
    const ends = this.#endsOf(host);
    // The controller before this one may have heard it last.
    const since = this.#heard.get(host) ?? (known ? at - LATE_MS : at);
    const see = (seen: Seen): void => this.#see(seen, at, atMs);
    this.#heard.set(host, at);
    if (entered.newBoot) {
      see({ host, kind: "agent-restarted", service: "", message: `the agent ${host} started anew` });
    }
    for (const { kind, service, message } of entered.incidents) {
      if (kind === "worker_died") {
        see({ host, kind: "worker-died", service: "", message: `${host}: ${message}` });
      } else if (kind === "instance_exited") {
        see(ends.note(service, `${host}: ${message}`));
      }
    }
    for (const seen of ends.observe(report)) see(seen);
    for (const loss of entered.losses) {
      this.#explainer.lose(loss, at, since);
      this.#touchLedgersOf(loss.service);
    }
    return entered;
  }

  /** Its lease has run out. */
  gone(host: string, at: number, atMs: number): void {
    this.#see({ host, kind: "host-gone", service: "", message: `${host} went away: its lease ran out` }, at, atMs);
  }

  /** Judges what can be judged, and answers with what was. */
  settle(at: number, silent: (host: string) => boolean): readonly Judged[] {
    const judged = this.#explainer.settle(at, silent);
    for (const { loss, explanation } of judged) {
      for (const ledger of this.#open(loss.service)) {
        const atEdge = loss.role === this.#edge(loss.service);
        const unexplained = ledger.unexplained + (explanation === "" && atEdge ? loss.count : 0);
        const note = { atMs: loss.atMs, host: loss.host, cause: loss.cause, count: loss.count, explanation };
        this.#put({ ...ledger, unexplained, notes: withNote(ledger.notes, note) });
      }
    }
    return judged;
  }

  /** A rollout's ledger as it begins. Stored by the caller together with the rollout, then `take`n. */
  open(rollout: Rollout): RolloutLedger {
    if (this.#open(rollout.service).length === 0) {
      for (const agent of this.#agents.values()) {
        agent.fold(rollout.service);
        if (agent.dirty) this.#pages.add(agent);
      }
    }
    return {
      rollout: rollout.id,
      service: rollout.service,
      baseline: this.#snapshot(rollout.service),
      end: null,
      unexplained: 0,
      pending: [],
      evidence: [],
      notes: [],
    };
  }

  /** The ledger as it ends: nothing counted later is in it. Stored and taken as `open`'s; null when there is none. */
  close(rollout: string): RolloutLedger | null {
    const ledger = this.#ledgers.get(rollout);
    if (ledger === undefined || ledger.end !== null) return ledger ?? null;
    // By agent it is of use only while it runs; a hundred ended ones are kept a service.
    const end = Object.fromEntries(this.#since(ledger).map((span) => [`every ${span.role}`, span]));
    return { ...ledger, baseline: {}, end, pending: this.#explainer.pending(ledger.service) };
  }

  /** What was opened or closed is stored: it counts from now on. */
  take(ledger: RolloutLedger): void {
    const known = this.#ledgers.get(ledger.rollout);
    const { rollout, baseline, end } = ledger;
    this.#ledgers.set(rollout, known === undefined ? ledger : { ...known, baseline, end });
    if (end !== null) {
      this.#starts.delete(rollout);
      this.#asked.delete(rollout);
    } else if (!this.#starts.has(rollout)) {
      const start = new Tally();
      for (const agent of Object.values(baseline)) start.put(agent);
      this.#starts.set(rollout, start);
    }
  }

  /** A page, or a ledger, as another controller has stored it: these books follow that one's. */
  follow(change: Extract<Change, { readonly kind: "counts" | "ledger" }>): void {
    if (change.kind === "counts") {
      const { counts } = change;
      this.#agents.get(counts.host)?.strike();
      this.#agents.set(counts.host, new AgentCounts(counts.host, counts.role, this.#tallyOf, counts));
      return;
    }
    const { ledger } = change;
    const known = this.#ledgers.get(ledger.rollout);
    const joined = Object.keys(known?.baseline ?? {}).length !== Object.keys(ledger.baseline).length;
    if (joined) this.#starts.delete(ledger.rollout);
    this.take(ledger);
    this.#ledgers.set(ledger.rollout, ledger);
  }

  /** Only these rollouts of a service are kept. */
  keep(service: string, rollouts: readonly string[]): void {
    for (const { rollout, service: of } of this.#ledgers.values()) {
      if (of === service && !rollouts.includes(rollout)) this.#drop(rollout);
    }
  }

  /** Keeps what a host's report shows of a target that fails to run. */
  witness(rollout: string, host: string, instances: readonly InstanceReport[]): void {
    const ledger = this.#ledgers.get(rollout);
    if (ledger?.end !== null) return;
    const known = ledger.evidence.find((evidence) => evidence.host === host);
    const instance = instances.findLast((i) => tells(i, known?.instance));
    if (instance === undefined || same(instance, known?.instance)) return;
    if (known === undefined && ledger.evidence.length >= WITNESSES) return;
    const others = ledger.evidence.filter((evidence) => evidence.host !== host);
    this.#put({ ...ledger, evidence: [...others, { host, instance }] });
  }

  evidence(rollout: string): readonly Evidence[] {
    return this.#ledgers.get(rollout)?.evidence ?? [];
  }

  /** Not yet judged losses of a service: a rollout does not end on them. */
  pending(service: string): number {
    return sum(this.#explainer.pending(service).map((loss) => loss.count));
  }

  unexplained(rollout: string): number {
    return this.#ledgers.get(rollout)?.unexplained ?? 0;
  }

  /** Per version, since the rollout began, over the hosts. */
  traffic(rollout: string): Traffic {
    const changes = this.#tallies.get(this.#ledgers.get(rollout)?.service ?? "")?.changes ?? 0;
    const known = this.#asked.get(rollout);
    if (known?.changes === changes) return known.traffic;
    const traffic = Object.fromEntries(
      Object.entries(this.versions(rollout)).map(([version, t]) => {
        return [version, { requests: t.started, errors: t.errors, lost: sum(t.lost), latency: t.latency }];
      }),
    );
    if (this.#starts.has(rollout)) this.#asked.set(rollout, { changes, traffic });
    return traffic;
  }

  /** The same with everything counted. */
  versions(rollout: string): Readonly<Record<string, Totals>> {
    const ledger = this.#ledgers.get(rollout);
    if (ledger === undefined) return {};
    return byVersion(this.#since(ledger), "host");
  }

  sum(rollout: string): LedgerSum | null {
    const ledger = this.#ledgers.get(rollout);
    if (ledger === undefined) return null;
    return sumOf(this.#since(ledger), this.#edge(ledger.service), ledger.unexplained, ledger.notes);
  }

  /** Since the service was first seen. */
  sumOfService(service: string): LedgerSum {
    const edge = this.#edge(service);
    const ledgers = [...this.#ledgers.values()].filter((ledger) => ledger.service === service);
    const unexplained = sum(ledgers.map((ledger) => ledger.unexplained));
    const notes = ledgers.flatMap((ledger) => ledger.notes).slice(-NOTES);
    return sumOf(this.#tallyOf(service).since(undefined), edge, unexplained, notes);
  }

  forget(service: string): void {
    for (const agent of this.#agents.values()) {
      agent.forget(service);
      if (agent.dirty) this.#pages.add(agent);
    }
    this.#tallies.delete(service);
    this.keep(service, []);
  }

  /**
   * What has changed since the last call, to be stored in one batch; `failed` takes it back. Of a great fleet's pages
   * those that wait longest, unless `all` is asked for: a page that waits costs nothing but what a crash of this
   * controller and a new boot of that agent, both before its turn, would take.
   */
  checkpoint(all = false): {
    readonly counts: readonly HostCounts[];
    readonly ledgers: readonly RolloutLedger[];
    readonly failed: () => void;
  } {
    let room = all ? Infinity : PAGES;
    const agents = [...this.#pages].filter((agent) => agent.urgent || room-- > 0);
    const ids = [...this.#dirty].filter((id) => this.#ledgers.has(id));
    const ledgers = ids.map((id) => this.#ledgers.get(id)).filter((ledger) => ledger !== undefined);
    for (const agent of agents) {
      agent.dirty = agent.urgent = false;
      this.#pages.delete(agent);
    }
    this.#dirty.clear();
    return {
      counts: agents.map((agent) => agent.stored()),
      ledgers: ledgers.map((ledger) => {
        return ledger.end === null ? { ...ledger, pending: this.#explainer.pending(ledger.service) } : ledger;
      }),
      failed: () => {
        for (const agent of agents) {
          agent.dirty = agent.urgent = true;
          this.#pages.add(agent);
        }
        for (const id of ids) this.#dirty.add(id);
      },
    };
  }

  #see(seen: Seen, at: number, atMs: number): void {
    this.#explainer.see(seen, at);
    const page = this.#agents.get(seen.host);
    if (page === undefined) return;
    const { kind, service, message } = seen;
    page.see({ kind, service, message, atMs });
    if (page.dirty) this.#pages.add(page);
  }

  #counts(host: string, role: "host" | "gateway"): AgentCounts {
    let counts = this.#agents.get(host);
    if (counts === undefined) {
      counts = new AgentCounts(host, role, this.#tallyOf);
      this.#agents.set(host, counts);
    }
    counts.role = role;
    return counts;
  }

  /** An agent first seen in mid-rollout has counted before: only what follows is the rollout's. */
  #joinBaselines(agent: AgentCounts): void {
    for (const ledger of [...this.#ledgers.values()]) {
      if (ledger.end !== null || !agent.knows(ledger.service)) continue;
      const totals = agent.totals(ledger.service);
      this.#starts.get(ledger.rollout)?.put(totals);
      this.#put({ ...ledger, baseline: { ...ledger.baseline, [agent.host]: totals } });
    }
  }

  #endsOf(host: string): UnaskedEnds {
    let ends = this.#ends.get(host);
    if (ends === undefined) {
      ends = new UnaskedEnds(host);
      this.#ends.set(host, ends);
    }
    return ends;
  }

  #open(service: string): RolloutLedger[] {
    return [...this.#ledgers.values()].filter((ledger) => ledger.service === service && ledger.end === null);
  }

  #touchLedgersOf(service: string): void {
    for (const { rollout } of this.#open(service)) this.#dirty.add(rollout);
  }

  #put(ledger: RolloutLedger): void {
    this.#ledgers.set(ledger.rollout, ledger);
    this.#dirty.add(ledger.rollout);
  }

  #edge(service: string): "gateway" | "host" {
    return (this.#tallies.get(service)?.agents("gateway") ?? 0) > 0 ? "gateway" : "host";
  }

  readonly #tallyOf = (service: string): Tally => {
    let tally = this.#tallies.get(service);
    if (tally === undefined) {
      tally = new Tally();
      this.#tallies.set(service, tally);
    }
    return tally;
  };

  #drop(rollout: string): void {
    this.#ledgers.delete(rollout);
    this.#dirty.delete(rollout);
    this.#starts.delete(rollout);
    this.#asked.delete(rollout);
  }

  #snapshot(service: string): Snapshot {
    const agents = [...this.#agents.values()].filter((agent) => agent.knows(service));
    return Object.fromEntries(agents.map((agent) => [agent.host, agent.totals(service)]));
  }

  #since(ledger: RolloutLedger): readonly Span[] {
    if (ledger.end !== null) return between(ledger.baseline, ledger.end);
    return this.#tallyOf(ledger.service).since(this.#starts.get(ledger.rollout));
  }
}

type Traffic = Readonly<Record<string, VersionTraffic>>;

/** An instance that is up tells nothing; one that ended tells more than one that is only slow to start. */
function tells(instance: InstanceReport, known: InstanceReport | undefined): boolean {
  if (instance.healthySinceMs > 0) return false;
  if (instance.exit !== null) return true;
  return known?.exit == null && (instance.output.length > 0 || instance.reason !== "");
}

const same = (a: InstanceReport, b: InstanceReport | undefined): boolean =>
  b !== undefined && a.id === b.id && a.state === b.state && a.restarts === b.restarts && a.reason === b.reason;
