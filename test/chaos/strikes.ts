/**
 * Carries out faults. What is struck is found at the moment of the strike: a process of the victim's, picked by the
 * schedule's chance. A fault that can't be had just then (its victim is down, its disk is stalled already) is skipped, and
 * the journal says so.
 *
 * Times are this process's wall clock, as the client's ledger has them.
 */
import { setTimeout as wait } from "node:timers/promises";
import { partsOf } from "../support/proc.ts";
import { listening } from "../support/processes.ts";
import type { RelayMode } from "../support/relay.ts";
import { FAULTS } from "./faults.ts";
import type { Journal } from "./journal.ts";
import { mendServer } from "./nats.ts";
import type { Part } from "./part.ts";
import { allGone, signal } from "./part.ts";
import type { PlannedFault } from "./schedule.ts";
import type { NatsPart, Topology } from "./topology.ts";

export interface Strike {
  readonly fault: PlannedFault;
  /** The part's name, and what of it. */
  readonly victim: string;
  readonly what: string;
  /** Before the first of its signals was sent; and when it had taken: what was killed is gone, its sockets are closed. */
  readonly atMs: number;
  readonly struckAtMs: number;
  /** When the fault was over and its victim was told to go on; null while it lasts. */
  readonly endedAtMs: number | null;
}

/** What a fault comes down to at its moment. */
interface Act {
  readonly victim: string;
  readonly what: string;
  begin(): void | Promise<void>;
  end(): void | Promise<void>;
}

interface Open {
  fault: PlannedFault;
  victim: string;
  what: string;
  atMs: number;
  struckAtMs: number;
  endedAtMs: number | null;
}

export class Strikes {
  readonly #topology: Topology;
  readonly #journal: Journal;
  readonly #struck: Open[] = [];
  readonly #serversInUse = new Set<NatsPart>();
  /** Servers whose disk is full, until they are mended. */
  readonly #full = new Set<NatsPart>();
  readonly #disksInUse = new Set<string>();
  readonly #linksInUse = new Set<string>();
  #skipped = 0;

  constructor(topology: Topology, journal: Journal) {
    this.#topology = topology;
    this.#journal = journal;
  }

  get all(): readonly Strike[] {
    return this.#struck;
  }

  get skipped(): number {
    return this.#skipped;
  }

  /** Resolves when the fault is over. */
  async carryOut(fault: PlannedFault): Promise<void> {
    const act = FAULTS[fault.kind].victims === "nats" ? await this.#onNats(fault) : await this.#onPart(fault);
    if (typeof act === "string") {
      this.#skipped += 1;
      this.#journal.say("skipped", { fault: fault.kind, victim: fault.victim, why: act });
      return;
    }
    const { victim, what } = act;
    const atMs = Date.now();
    const strike: Open = { fault, victim, what, atMs, struckAtMs: Infinity, endedAtMs: null };
    this.#struck.push(strike);
    this.#journal.say("strike", { fault: fault.kind, victim, what, forMs: fault.forMs });
    await act.begin();
    strike.struckAtMs = Date.now();
    await wait(fault.forMs);
    await act.end();
    strike.endedAtMs = Date.now();
    this.#journal.say("over", { fault: fault.kind, victim, what });
  }

  async #onPart(fault: PlannedFault): Promise<Act | string> {
    const server = this.#topology.nats.find((one) => one.name === fault.victim);
    if (server !== undefined) return this.#onServersDisk(server, fault);
    const part = await this.#find(fault.victim);
    if (part === undefined) return "nobody is that now";
    if (!part.running) return "it is down";
    const act = this.#actOn(part, fault);
    return typeof act === "string" ? act : { ...act, victim: part.name };
  }

  #actOn(part: Part, { kind, pick }: PlannedFault): Omit<Act, "victim"> | string {
    const one = (pids: readonly number[]): readonly number[] =>
      pids.length === 0 ? [] : [pids[Math.floor(pick * pids.length)]!];
    const { core, workers, apps } = part.isAgent ? partsOf(part.pid) : { core: [], workers: [], apps: [] };
    const link = this.#topology.links.get(part.name);
    switch (kind) {
      case "kill-controller":
      case "kill-keeper":
        return { what: `pid ${String(part.pid)}`, begin: () => part.kill(), end: () => this.#startAgain(part) };
      case "kill-machine":
        return { what: "all of it", begin: () => part.killMachine(), end: () => this.#startAgain(part) };
      case "kill-core":
        return killed(one(core));
      case "kill-worker":
        return killed(one(workers));
      case "kill-app":
        return killed(one(apps));
      case "stop-controller":
      case "stop-keeper":
        return stopped([part.pid]);
      case "stop-core":
        return stopped(one(core));
      case "stop-worker":
        return stopped(one(workers));
      case "stop-app":
        return stopped(one(apps));
      case "stop-machine":
        return stopped(part.processes());
      case "cut":
      case "hole":
      case "delay":
      case "trickle": {
        if (link === undefined) return "it has no relay";
        // One way has one trouble at a time: the end of the one would be the end of the other.
        if (this.#linksInUse.has(part.name)) return IN_TROUBLE;
        this.#linksInUse.add(part.name);
        const mode = modeOf(kind, pick);
        const end = (): void => {
          link.set({ kind: "pass" });
          this.#linksInUse.delete(part.name);
        };
        return { what: JSON.stringify(mode), begin: () => link.set(mode), end };
      }
      case "disk-full":
      case "disk-stall":
        return this.#onDisk(part.name, kind === "disk-full");
      case "clock-step": {
        const clock = this.#topology.clocks.get(part.name);
        if (clock === undefined) return "no such clock here";
        const ms = STEPS_MS[Math.floor(pick * STEPS_MS.length)]!;
        return { what: `by ${String(ms / 1_000)} s`, begin: () => clock.step(ms), end: () => clock.step(0) };
      }
      case "kill-nats":
      case "kill-nats-majority":
      case "stop-nats":
        return "it is no NATS server";
    }
  }

  /** Resolves, for a gateway, when somebody accepts there again: until then connections are refused. */
  async #startAgain(part: Part): Promise<void> {
    part.start();
    if (part.spec.kind === "gateway") await listening("127.0.0.1", this.#topology.port, LISTENS_MS);
  }

  #onDisk(name: string, full: boolean): Omit<Act, "victim"> | string {
    const disk = this.#topology.disks.get(name);
    if (disk === undefined) return "no such disk here";
    // A full disk can't be emptied while it is frozen: this process would hang on it.
    if (this.#disksInUse.has(name)) return "its disk is in trouble already";
    this.#disksInUse.add(name);
    return {
      what: full ? "no byte free" : "frozen",
      begin: () => (full ? disk.fill() : disk.freeze()),
      end: async () => {
        await (full ? disk.empty() : disk.thaw());
        this.#disksInUse.delete(name);
      },
    };
  }

  #onServersDisk(server: NatsPart, { kind }: PlannedFault): Act | string {
    // One that starts again must not be killed while that is waited for.
    if (this.#serversInUse.has(server)) return IN_TROUBLE;
    const full = kind === "disk-full";
    if (full && this.#wellBut([server]) === 0) return LAST_COPY;
    const act = this.#onDisk(server.name, full);
    if (typeof act === "string") return act;
    this.#serversInUse.add(server);
    if (full) this.#full.add(server);
    const end = async (): Promise<void> => {
      await act.end();
      await mendServer(server);
      this.#full.delete(server);
      this.#serversInUse.delete(server);
    };
    return { ...act, victim: server.name, end };
  }

  /** Servers that have no trouble, but for these. */
  #wellBut(these: readonly NatsPart[]): number {
    const { nats } = this.#topology;
    return nats.filter((one) => one.running && !this.#serversInUse.has(one) && !these.includes(one)).length;
  }

  async #onNats(fault: PlannedFault): Promise<Act | string> {
    const { nats } = this.#topology;
    const byName = nats.find((server) => server.name === fault.victim);
    const first = fault.victim === "nats-leader" ? await this.#topology.natsLeader() : byName;
    if (first?.running !== true) return "it is down";
    if (this.#serversInUse.has(first)) return IN_TROUBLE;
    const others = nats.filter((server) => server !== first && server.running && !this.#serversInUse.has(server));
    const also = fault.kind === "kill-nats-majority" ? others.slice(0, Math.floor(nats.length / 2)) : [];
    const all: readonly NatsPart[] = [first, ...also];
    const victim = { victim: first.name, what: all.map((server) => server.name).join(" ") };
    if (this.#full.size > 0 && this.#wellBut(all) === 0) return LAST_COPY;
    if (fault.kind === "stop-nats") return { ...victim, begin: () => first.stop(), end: () => first.cont() };
    for (const server of all) this.#serversInUse.add(server);
    const begin = async (): Promise<void> => {
      await Promise.all(all.map((server) => server.kill()));
    };
    const end = async (): Promise<void> => {
      await Promise.all(all.map((server) => server.restart()));
      for (const server of all) this.#serversInUse.delete(server);
    };
    return { ...victim, begin, end };
  }

  async #find(name: string): Promise<Part | undefined> {
    const { controllers, agents, operators } = this.#topology;
    if (name !== "leader" && name !== "follower") {
      return [...controllers, ...agents].find((part) => part.name === name);
    }
    const infos = await Promise.all(controllers.map((_, at) => operators.info(at)));
    return controllers.find((_, at) => infos[at]?.role === (name === "leader" ? "leader" : "follower"));
  }
}

const LISTENS_MS = 30_000;
const STEPS_MS = [-3_600_000, -60_000, -5_000, 5_000, 60_000, 3_600_000, 86_400_000];

/** Killed processes have someone who starts them again. */
function killed(pids: readonly number[]): Omit<Act, "victim"> | string {
  if (pids.length === 0) return NO_PROCESS;
  const begin = async (): Promise<void> => {
    for (const pid of pids) signal(pid, "SIGKILL");
    await allGone(pids);
  };
  return { what: `pid ${pids.join(" ")}`, begin, end: () => undefined };
}

function stopped(pids: readonly number[]): Omit<Act, "victim"> | string {
  if (pids.length === 0) return NO_PROCESS;
  const all = (name: NodeJS.Signals) => (): void => {
    for (const pid of pids) signal(pid, name);
  };
  return { what: `pid ${pids.join(" ")}`, begin: all("SIGSTOP"), end: all("SIGCONT") };
}

const IN_TROUBLE = "it is in trouble already";
/** A server whose disk is full may lose what it holds (nats-server 2.9.10, seen): no store outlives that of all copies. */
const LAST_COPY = "no other copy of the store would be well";
const NO_PROCESS = "there is no such process now";

function modeOf(kind: "cut" | "hole" | "delay" | "trickle", pick: number): RelayMode {
  switch (kind) {
    case "delay":
      return { kind, ms: 50 + Math.round(pick * 950) };
    case "trickle":
      return { kind, bytesPerSecond: 256 + Math.round(pick * 3_840) };
    case "cut":
    case "hole":
      return { kind };
  }
}
