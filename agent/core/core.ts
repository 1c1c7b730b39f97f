/**
 * The core: from assignments to running instances and a table that every worker routes by. It never touches a request;
 * when it dies, workers and apps go on, and the next core finds all of this again (adopt).
 *
 *   source → Assignments → plan → Instances ─┐
 *                │                           ├→ buildTable → WorkerTables → live? → applied, drains, unbind
 *                └─ listeners ───────────────┘
 *
 * Everything that happens ends in one `#reconcile`, run once for any number of changes: it decides from what is known
 * now and is idempotent, so that no order of events needs a case of its own.
 */
import type { Assignment } from "../../proto/contract/assignment.ts";
import { EXIT, SESSION } from "../../proto/contract/limits.ts";
import type { InstanceReport, Report } from "../../proto/contract/report.ts";
import type { Millis, Timer } from "../../proto/kernel/clock.ts";
import type { KeeperToCore } from "../keeper/protocol.ts";
import type { TableConfig } from "../proxy/config.ts";
import { Assignments } from "./apply/assignments.ts";
import { plan } from "./apply/plan.ts";
import { buildTable } from "./apply/table.ts";
import { servingEndpoints, WorkerTables } from "./apply/worker-tables.ts";
import { Drains } from "./drains.ts";
import { Incidents } from "./incidents.ts";
import { Instances } from "./instances/instances.ts";
import type { DriverGround, InstanceWorld } from "./instances/world.ts";
import { KeeperLink, type KeeperStart } from "./keeper-link.ts";
import type { Ambient, Channel } from "./ports.ts";
import { report } from "./report.ts";
import type { AssignmentSource, SourcePort } from "./source.ts";
import { LastGood } from "./state/last-good.ts";
import { Memory, type Remembered } from "./state/memory.ts";
import { Slots } from "./stats/slots.ts";
import { Statistics } from "./stats/statistics.ts";
import { NOTHING_FOLDED } from "./stats/totals.ts";
import { waitedFor } from "./waited-for.ts";

/** While something drains, its end is looked for this often. */
const DRAIN_TICK_MS = 50;
/** From SIGTERM on: how long clients are still served while /readyz says 503 and answers say `Connection: close`. */
const LAME_DUCK_MS = 1_000;
const REPORT_NUMBERS = 10_000;

export interface CoreOptions extends Ambient {
  readonly channel: Channel;
  readonly start: KeeperStart;
  readonly instances: Pick<InstanceWorld & DriverGround, "check" | "pickPort" | "output" | "environment" | "docker">;
  readonly source: (port: SourcePort) => AssignmentSource;
  /** The source waits for `startSource`: an agent that can't begin is not to join the fleet first. */
  readonly sourceWaits?: boolean;
  /** Shows these lines to whoever started the agent. */
  readonly failed: (sentences: readonly string[]) => void;
}

export class Core {
  readonly link: KeeperLink;
  readonly incidents: Incidents;
  readonly assignments: Assignments;
  readonly tables: WorkerTables;
  readonly slots: Slots;
  readonly statistics: Statistics;
  readonly source: AssignmentSource;
  readonly #options: CoreOptions;
  readonly #lastGood: LastGood;
  readonly #memory: Memory;
  readonly #instances: Instances;
  readonly #receive: (message: KeeperToCore) => void;
  readonly #drains: Drains;
  /** Instances that the table which is live everywhere sends new requests to; of a weight of 0, what is routed there. */
  #inService: ReadonlySet<string>;
  readonly #first: boolean;
  #reports: number;
  #reportsKept: number;
  #accepting: boolean;
  #stoppingSince: Millis | null = null;
  #shutDown = false;
  #sourceStarted = false;
  #touched = false;
  #told = "";
  #tick: Timer | undefined;
  #closed = false;

  constructor(options: CoreOptions) {
    const { channel, start, clock, files, log } = options;
    this.#options = options;
    this.link = new KeeperLink(channel, start);
    const { stateDir, source } = this.link.options;
    this.#lastGood = new LastGood(files, stateDir, source.kind === "static" ? "static" : "controller", log);
    this.#memory = new Memory(files, stateDir, log);
    const before = this.#memory.recall(this.link.boot);
    const table = start.table as TableConfig | null;
    this.incidents = new Incidents(clock, log, before?.incidents ?? []);
    this.slots = new Slots(before?.slots ?? [], log);
    this.statistics = new Statistics(this.link, this.slots, this.incidents, before?.folded ?? NOTHING_FOLDED, log);
    this.tables = new WorkerTables(this.link, table, before?.generation ?? { keys: [], above: 0 });
    this.#first = before === null && start.workers.length === 0 && start.processes.length === 0;
    this.#reports = before?.reports ?? 0;
    this.#reportsKept = this.#reports + REPORT_NUMBERS;
    this.#accepting = before?.accepting ?? true;
    this.#inService = servingEndpoints(table);
    this.#instances = new Instances({
      ...{ ...options.instances, clock, log, random: options.random },
      ...{ link: this.link, host: this.link.options.name, boot: this.link.boot },
      stopping: () => this.stopping,
      changed: () => this.#touch(),
      remember: () => this.#remember(),
      exited: (service, message) => this.incidents.add("instance_exited", service, message),
    });
    this.#drains = new Drains({
      now: () => clock.monotonic(),
      isLive: (sequence) => this.tables.isLive(sequence),
      wasInTable: ({ service, version, id }) => this.slots.has(service, version, id),
      counts: ({ service, version, id }) => this.statistics.endpoint(service, version, id),
    });
    this.assignments = new Assignments(this.link, this.#lastGood, this.incidents, options, {
      committed: () => this.#touch(),
      applied: (applied) => this.source.applied(applied),
      rejected: (rejected) => this.source.rejected(rejected),
      runs: (service) => this.#instances.runs(service),
    });
    this.#receive = this.link.attach({
      process: (process) => this.#instances.processNews(process),
      workers: () => this.#touch(),
      workerExited: () => this.#workersGone(),
      tableRefused: (sequence, why) => this.#tableRefused(sequence, why),
      endpointFailed: (endpoint) => this.#instances.get(endpoint)?.suspect(), // R6
      generation: (_, error) => this.#generation(error),
      hup: () => this.source.hup(),
      stopping: (signal) => this.#stop(signal),
    });
    this.source = options.source(this.#sourcePort());
    this.#begin(before, start);
    channel.listen((message) => this.#receive(message));
  }

  get stopping(): boolean {
    return this.#stoppingSince !== null;
  }

  get accepting(): boolean {
    return this.#accepting && !this.stopping;
  }

  /** By hand (admin): take nothing new from outside, or do again. */
  setAccepting(accepting: boolean): void {
    this.#accepting = accepting;
    this.#touch();
  }

  instanceReports(): InstanceReport[] {
    return this.#instances.all().map((instance) => {
      const { service, version } = instance.record;
      const { inFlight, started } = this.statistics.endpoint(service, version, instance.id);
      return instance.report(inFlight, started, this.#inService.has(instance.id));
    });
  }

  report(): Report {
    this.statistics.refresh();
    this.#reports += 1;
    if (this.#reports >= this.#reportsKept) {
      this.#reportsKept += REPORT_NUMBERS;
      this.#remember();
    }
    return report({
      boot: this.link.boot,
      seq: this.#reports,
      applied: this.assignments.applied,
      instances: this.instanceReports(),
      listeners: this.assignments.listeners(),
      slots: this.slots,
      totals: this.statistics.totals,
      incidents: this.incidents.list(),
    });
  }

  /** The agent can't begin: says why, and ends. Once something of it runs, nothing of the sort ends it. */
  fail(sentences: readonly string[]): void {
    for (const sentence of sentences) this.#options.log.error({}, sentence);
    if (!this.#first) return;
    this.#options.failed(sentences);
    this.#shutDown = true;
    this.link.shutdown(EXIT.failed);
  }

  /** Once; and never, when the agent ends before it has begun. */
  startSource(): void {
    if (this.#sourceStarted || this.#shutDown || this.#closed || this.stopping) return;
    this.#sourceStarted = true;
    this.source.start();
  }

  /** The port that a listener of the core's own had before the restart, 0 if none. */
  keptPort(name: string): number {
    return this.#lastGood.port(name);
  }

  keepPort(name: string, port: number): void {
    this.#lastGood.savePorts(new Map([[name, port]]));
  }

  /** Nothing of this boot was there before this core: what is wrong now was wrong from the start. */
  get first(): boolean {
    return this.#first;
  }

  /** The keeper is gone, or waits for us alone: what ends with the agent is ended first. */
  async leave(): Promise<void> {
    if (this.stopping) await this.#instances.endContainers();
    this.close();
  }

  /** Lets go of timers and probes, as when the process ends; nothing else is touched. */
  close(): void {
    this.#closed = true;
    this.#tick?.cancel();
    this.source.stop();
    this.#instances.close();
  }

  #sourcePort(): SourcePort {
    return {
      boot: this.link.boot,
      lastGood: this.#lastGood.assignment,
      highestEpoch: () => this.#lastGood.fence.epoch,
      sawEpoch: (epoch) => this.#lastGood.saveFence({ epoch, generation: 0 }),
      applied: () => this.assignments.applied,
      restore: (assignment: Assignment) => this.assignments.restore(assignment),
      offer: (assignment: Assignment) => {
        if (!this.stopping) this.assignments.offer(assignment); // nothing new is begun
      },
      report: () => this.report(),
      instances: () => this.instanceReports(),
      fail: (sentences) => this.fail(sentences),
    };
  }

  #begin(before: Remembered | null, start: KeeperStart): void {
    for (const damage of [...this.#lastGood.damage, ...this.#memory.damage]) {
      this.incidents.add("state_set_aside", "", damage);
    }
    const found = before?.instances ?? this.#memory.survivors;
    if (!this.#first) {
      const what = `${found.length} instances and ${start.workers.length} workers found as they were`;
      this.incidents.add("core_started", "", `the agent's core was started again; ${what}`);
    }
    this.#instances.adopt(found, before === null ? this.#memory.inService : this.#inService);
    this.#workersGone();
    // What runs already is not to wait for anything.
    if (this.#options.sourceWaits !== true || !this.#first) this.startSource();
    this.#tickIn(0);
  }

  #touch(): void {
    if (this.#touched || this.#closed) return;
    this.#touched = true;
    queueMicrotask(() => {
      this.#touched = false;
      if (!this.#closed) this.#reconcile();
    });
  }

  #tickIn(delay: Millis): void {
    this.#tick = this.#options.clock.after(delay, () => {
      this.statistics.refresh();
      this.#instances.tidy();
      if (!this.stopping) this.assignments.tryAgain(this.#options.clock.monotonic());
      this.#reconcile();
      this.#finishStop();
      this.#tickIn(this.#drains.any || this.stopping ? DRAIN_TICK_MS : SESSION.reportEveryMs);
    });
  }

  #reconcile(): void {
    // Not knowing what is wanted is no reason to stop anything: a core that was started again leaves all as it is
    // until it has its assignment, from disk or from the controller.
    if (!this.assignments.decided) {
      this.#tell();
      return;
    }
    if (!this.stopping) {
      const views = this.#instances.views();
      for (const action of plan(this.assignments.current, this.link.options.name, views)) {
        this.#instances.carryOut(action);
      }
    }
    const parts = buildTable({
      assignment: this.assignments.current,
      instances: this.#instances.views(),
      listeners: this.assignments.listeners().map(({ wanted, bound }) => ({
        key: bound.key,
        services: [...new Set(wanted.uses.map(({ service }) => service))],
      })),
      accepting: this.accepting,
      slot: (...owner) => this.slots.of(...owner),
      hasSlot: (...owner) => this.slots.has(...owner),
    });
    this.#remember(); // slots must be on record before a worker counts by them
    const sequence = this.tables.update(parts);
    if (this.tables.ensureGeneration()) this.#startGeneration();
    if (this.tables.isLive(sequence)) this.#live();
    this.#advanceDrains(sequence);
    this.#tell();
  }

  /** Every worker routes by the newest table. */
  #live(): void {
    this.#inService = servingEndpoints(this.tables.table);
    this.assignments.isLive();
    const unwanted = this.assignments.settled ? this.assignments.unwanted() : [];
    if (unwanted.length === 0) return;
    this.link.unbind(unwanted);
    // Workers accept on what they were started with: only a new generation is without it.
    if (this.tables.ensureGeneration(true)) this.#startGeneration();
  }

  #startGeneration(): void {
    this.#remember();
    this.tables.startGeneration();
  }

  #advanceDrains(sequence: number): void {
    const views = this.stopping ? [] : this.#instances.views();
    const leaving = views.filter((view) => view.mode === "absent" && !view.ending);
    if (leaving.length > 0) this.statistics.refresh(); // what was read before the table went out proves nothing
    for (const { id, after } of this.#drains.advance(leaving, sequence)) {
      this.#options.log.info({ instance: id, after }, "drained; stopping it");
      this.#instances.get(id)?.stop();
    }
  }

  /** Tells the source when something is another that somebody may wait for. */
  #tell(): void {
    const states = this.#instances.all().map((instance) => {
      const live = this.#inService.has(instance.id);
      return `${instance.id} ${instance.state(live)} ${String(instance.view().ready)}`;
    });
    const { applied, current } = this.assignments;
    const counts = waitedFor(this.#instances.views(), current?.services ?? [], this.statistics);
    const told = JSON.stringify([states, applied, this.incidents.list().at(-1)?.seq, counts]);
    if (told === this.#told) return;
    this.#told = told;
    this.source.changed();
  }

  #remember(): void {
    this.#memory.keep({
      boot: this.link.boot,
      instances: this.#instances.records(),
      slots: this.slots.keys(),
      folded: this.statistics.folded,
      incidents: this.incidents.list(),
      generation: this.tables.asked,
      ...{ accepting: this.#accepting, inService: [...this.#inService] },
      reports: this.#reportsKept,
    });
  }

  #workersGone(): void {
    const taken = this.statistics.takeIn(this.link.deadWorkers.values());
    if (taken.length > 0) this.#remember();
    for (const worker of taken) this.link.taken(worker);
    this.#touch();
  }

  #tableRefused(sequence: number, why: string): void {
    if (sequence !== this.tables.table.sequence) return; // of a table that is no longer asked for
    this.assignments.refuse(`its workers can't route by it: ${why}`);
  }

  #generation(error: string | null): void {
    if (error !== null && this.tables.anyServing()) {
      this.#options.log.error({ why: error }, "a new generation of workers could not be had");
      this.tables.generationFailed();
      if (!this.assignments.settled) this.assignments.refuse(`no workers for its listeners: ${error}`);
    }
    this.#touch();
  }

  #stop(signal: string): void {
    this.link.stopping();
    if (this.stopping) return;
    this.#options.log.info({ signal }, "stopping: not ready any more, clients are asked to go elsewhere");
    this.#stoppingSince = this.#options.clock.monotonic();
    this.#tick?.cancel();
    this.#reconcile();
    this.#tickIn(DRAIN_TICK_MS);
  }

  /** The apps stay until the workers have drained: the keeper ends processes after that, and we the containers. */
  #finishStop(): void {
    if (this.#stoppingSince === null) return;
    if (this.#shutDown && this.link.workers.size === 0) void this.#instances.endContainers();
    if (this.#shutDown) return;
    const since = this.#options.clock.monotonic() - this.#stoppingSince;
    const quiet = this.statistics.inFlight() === 0 && this.statistics.totals.downstreamOpen === 0;
    if (!quiet && since < LAME_DUCK_MS) return;
    this.#shutDown = true;
    this.link.shutdown(); // and go on reporting: what the workers finish from here on counts
  }
}
