/**
 * A run, in order: the schedule from the seed, a cluster, one good version, traffic; then episode after episode (a rollout,
 * faults and commands in the midst of it, the calm in which it is judged); in the end the whole ledger, and that nothing is
 * left behind. It ends at the first episode that is not as it should be: what is there to be looked at is still fresh.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { seededRandom } from "../../proto/kernel/random.ts";
import { systemClock, systemRandom } from "../../proto/runtime/system-clock.ts";
import type { ClientLedger, LossRecord } from "../loss/ledger.ts";
import type { Mix, Traffic } from "../loss/traffic.ts";
import { startTraffic } from "../loss/traffic.ts";
import { Commander } from "./commands.ts";
import { EMBEDDED, startEmbedded } from "./embedded.ts";
import { asked, judge } from "./episode.ts";
import type { Judged } from "./episode.ts";
import { Journal } from "./journal.ts";
import { processesOf } from "./leftovers.ts";
import { FLEET, startFleet } from "./nats.ts";
import type { ChaosOptions } from "./options.ts";
import type { Ended, Part } from "./part.ts";
import { Observer } from "./observer.ts";
import { episode } from "./schedule.ts";
import type { Episode, Roster } from "./schedule.ts";
import { settle } from "./settle.ts";
import { Strikes } from "./strikes.ts";
import type { Strike } from "./strikes.ts";
import type { Topology } from "./topology.ts";

export interface Outcome {
  readonly episodes: readonly Judged[];
  readonly strikes: readonly Strike[];
  readonly skipped: number;
  readonly client: ClientLedger | null;
  readonly wrong: readonly string[];
  /** How often each promise was put to the test. */
  readonly judgements: Readonly<Record<string, number>>;
  readonly seconds: number;
}

/** Long transfers and polls are few, so that a drain ends; all kinds are there. */
const MIX: Mix = { get: 60, short: 12, post: 16, upload: 3, download: 3, poll: 2, websocket: 2, events: 2 };
/** Two hangs of eight seconds, one after the other, are no loss: nothing is cut by them. */
const CLIENT_TIMEOUT_MS = 40_000;
const UP_MS = 60_000;
const SAY_EVERY_MS = 10_000;
/** No episode is shorter. */
const EPISODE_LEAST_MS = 15_000;
const RESTART_MS = 500;
/** A part whose disk failed may have ended for it, somewhat later too. */
const AFTER_DISK_MS = 15_000;

const rosterOf = ({ topology }: ChaosOptions): Roster => (topology === "nats" ? FLEET : EMBEDDED);

export function scheduleOf(options: ChaosOptions): readonly Episode[] {
  const most = Math.ceil((options.minutes * 60_000) / EPISODE_LEAST_MS);
  const numbers = options.episode === null ? Array.from({ length: most }, (_, i) => i + 1) : [options.episode];
  return numbers.map((number) => episode(options.seed, number, rosterOf(options), options));
}

export class Run {
  readonly #options: ChaosOptions;
  readonly #folder: string;
  readonly #say: (line: string) => void;
  readonly #signal: AbortSignal;
  readonly #journal: Journal;
  readonly #wrong: string[] = [];
  readonly #losses: LossRecord[] = [];
  /** Rollouts of episodes that are over. A controller that has just come may know fewer. */
  readonly #known = new Set<string>();
  readonly #judged: Judged[] = [];
  #strikes: Strikes | undefined;
  #stopping = false;

  constructor(options: ChaosOptions, folder: string, say: (line: string) => void, signal: AbortSignal) {
    this.#options = options;
    this.#folder = folder;
    this.#say = say;
    this.#signal = signal;
    this.#journal = new Journal(join(folder, "journal.jsonl"));
  }

  async play(): Promise<Outcome> {
    const began = Date.now();
    const schedule = scheduleOf(this.#options);
    writeFileSync(join(this.#folder, "schedule.jsonl"), schedule.map((one) => `${JSON.stringify(one)}\n`).join(""));
    const run = `${String(this.#options.seed)}-${String(began)}`;
    const onEnded = (ended: Ended): void => this.#onEnded(ended);
    const start = this.#options.topology === "nats" ? startFleet : startEmbedded;
    await using topology = await start({ folder: this.#folder, run, random: systemRandom, onEnded });
    for (const sentence of topology.missing) this.#say(`left out here: ${sentence}`);
    const strikes = new Strikes(topology, this.#journal);
    this.#strikes = strikes;
    const commander = new Commander(topology, this.#journal);
    const watched = { topology, commander, strikes, journal: this.#journal };
    const observer = new Observer(watched, (sentence) => this.#break(sentence));
    const outcome = (client: ClientLedger | null): Outcome => ({
      ...{ episodes: this.#judged, strikes: strikes.all, skipped: strikes.skipped, client, wrong: this.#wrong },
      ...{ judgements: { ...observer.judgements }, seconds: (Date.now() - began) / 1_000 },
    });
    await this.#up(topology, commander);
    if (this.#wrong.length > 0) return outcome(null);

    const traffic = this.#traffic(topology.port);
    const progress = setInterval(() => this.#say(this.#progress(began, traffic)), SAY_EVERY_MS);
    try {
      await observer.start();
      await this.#until(() => traffic.snapshot().total.ok > this.#options.rate, "the traffic flows", UP_MS);
      for (const planned of schedule) {
        const over = Date.now() - began > this.#options.minutes * 60_000;
        if (over || this.#wrong.length > 0 || this.#signal.aborted) break;
        await this.#unlessInterrupted(
          this.#episode(planned, { topology, commander, strikes, traffic, observer }).catch((error: unknown) =>
            this.#break(`episode ${String(planned.number)} could not be played: ${(error as Error).message}`),
          ),
        );
      }
    } finally {
      clearInterval(progress);
      await observer.stop();
    }
    if (this.#wrong.length > 0) this.#journal.say("events", { events: await topology.operators.events() });
    const client = await traffic.stop();
    if (!client.balanced) this.#break(`the client's ledger does not balance: ${String(client.inFlight)} in flight`);
    if (client.counters.violations > 0)
      this.#break(`${String(client.counters.violations)} bytes that nobody asked for`);
    this.#stopping = true;
    await topology.stop();
    for (const { pid, title } of processesOf(run)) this.#break(`left over: ${String(pid)} ${title}`);
    return outcome(client);
  }

  async #up(topology: Topology, commander: Commander): Promise<void> {
    const all = topology.agents.length;
    const live = async (): Promise<boolean> =>
      ((await topology.operators.hosts()) ?? []).filter((host) => host.live).length === all;
    await this.#until(live, "every agent is live", UP_MS);
    const said = await commander.deploy({ strategy: "rolling surge", behaviour: "" });
    if (said.kind !== "done") this.#break(`the first version was refused: ${said.why}`);
    else for (const sentence of (await settle(topology, commander)).wrong) this.#break(`at the start: ${sentence}`);
  }

  async #episode(
    planned: Episode,
    cluster: {
      readonly topology: Topology;
      readonly commander: Commander;
      readonly strikes: Strikes;
      readonly traffic: Traffic;
      readonly observer: Observer;
    },
  ): Promise<void> {
    const { topology, commander, strikes } = cluster;
    const { strategy, behaviour } = planned.deployment;
    this.#journal.say("episode", { ...planned });
    const what = `${strategy}${behaviour === "" ? "" : ` of a bad version (${behaviour})`}`;
    this.#say(`episode ${String(planned.number)}: ${what}; ${shown(planned)}`);
    commander.newEpisode();
    const from = { losses: this.#losses.length, strikes: strikes.all.length };
    const [before, known] = await Promise.all([this.#booksOf(topology), this.#rolloutsOf(topology)]);
    const startedAtMs = Date.now();
    await commander.deploy(planned.deployment);
    const at = async (ms: number, act: () => Promise<void>): Promise<void> => {
      await wait(Math.max(0, ms - (Date.now() - startedAtMs)));
      if (!this.#signal.aborted) await act();
    };
    await Promise.all([
      ...planned.faults.map((fault) => at(fault.atMs, () => strikes.carryOut(fault))),
      ...planned.commands.map((command) => at(command.atMs, () => commander.carryOut(command))),
    ]);
    const rest = await settle(topology, commander);
    const judged = await judge({
      ...{ planned, topology, commander, rest, known, before, startedAtMs },
      losses: () => this.#losses.slice(from.losses),
      strikes: () => strikes.all.slice(from.strikes),
      seen: () => cluster.observer.since(startedAtMs),
    });
    this.#judged.push(judged);
    this.#journal.say("judged", { ...judged });
    for (const sentence of judged.wrong) this.#break(`episode ${String(planned.number)}: ${sentence}`);
    this.#say(`episode ${String(planned.number)}: ${judged.summary}`);
  }

  /** Whoever interrupts does not want to wait for the calm after the episode. What it was at is dropped as it stands. */
  async #unlessInterrupted(playing: Promise<void>): Promise<void> {
    const interrupted = Promise.withResolvers<undefined>();
    this.#signal.addEventListener("abort", () => interrupted.resolve(undefined), { once: true });
    await Promise.race([playing, interrupted.promise]);
    if (this.#signal.aborted) playing.catch(() => undefined);
  }

  async #booksOf({ operators }: Topology): Promise<number> {
    const service = await asked(() => operators.service("demo"));
    if (service === null) throw new Error("no controller says what demo has lost so far");
    return Number(service.ledger?.lostTotal ?? 0n);
  }

  async #rolloutsOf({ operators }: Topology): Promise<ReadonlySet<string>> {
    const views = await asked(() => operators.rollouts());
    if (views === null) throw new Error("no controller tells the rollouts until now");
    for (const view of views) this.#known.add(view.id);
    return new Set(this.#known);
  }

  #traffic(port: number): Traffic {
    const { seed, rate } = this.#options;
    return startTraffic({
      ...{ target: { host: "127.0.0.1", port }, rate, mix: MIX, resend: true, timeoutMs: CLIENT_TIMEOUT_MS },
      ...{ maxInFlight: 40 * rate, clock: systemClock, random: seededRandom(seed) },
      onLoss: (loss) => {
        this.#losses.push(loss);
        this.#journal.say("lost", { ...loss });
      },
    });
  }

  /** A part ended though no strike has asked for it; it is started again as a supervisor would. */
  #onEnded({ part, how, atMs }: Ended): void {
    if (this.#stopping) return;
    const excused = this.#strikes?.all.some(
      ({ fault, victim, endedAtMs }) =>
        victim === part.name && fault.kind.startsWith("disk") && (endedAtMs ?? atMs) >= atMs - AFTER_DISK_MS,
    );
    this.#journal.say("ended", { part: part.name, how, excused });
    if (excused !== true) this.#break(`${part.name} ended by itself (${how}): ${lastLine(part)}`);
    setTimeout(() => {
      if (!this.#stopping) part.start();
    }, RESTART_MS);
  }

  #break(sentence: string): void {
    if (this.#wrong.includes(sentence)) return;
    this.#wrong.push(sentence);
    this.#journal.say("wrong", { sentence });
    this.#say(`WRONG: ${sentence}`);
  }

  async #until(probe: () => boolean | Promise<boolean>, what: string, timeoutMs: number): Promise<void> {
    const deadline = Date.now() + timeoutMs;
    for (; Date.now() < deadline; await wait(100, true)) {
      if (await probe()) return;
      if (this.#signal.aborted) return;
    }
    this.#break(`waited ${String(timeoutMs / 1_000)} s in vain until ${what}`);
  }

  #progress(began: number, traffic: Traffic): string {
    const { total, counters } = traffic.snapshot();
    const open = this.#strikes?.all.filter((strike) => strike.endedAtMs === null) ?? [];
    const now = open.map(({ fault, victim }) => `${fault.kind} ${victim}`).join(", ");
    const counts = `${String(total.started)} requests, ${String(total.lost)} lost, ${String(counters.skipped)} skipped`;
    return `${String(Math.round((Date.now() - began) / 1_000))} s: ${counts}${now === "" ? "" : `; now ${now}`}`;
  }
}

function shown({ faults, commands }: Episode): string {
  const struck = faults.map(({ atMs, kind, victim, forMs }) => `${seconds(atMs)} ${kind} ${victim} ${seconds(forMs)}`);
  const said = commands.map(({ atMs, verb }) => `${seconds(atMs)} ${verb}`);
  return [...struck, ...said].join(", ");
}

const seconds = (ms: number): string => `${(ms / 1_000).toFixed(1)} s`;

function lastLine({ spec }: Part): string {
  if (!existsSync(spec.logFile)) return "no log";
  return (readFileSync(spec.logFile, "utf8").trimEnd().split("\n").at(-1) ?? "").slice(0, 300);
}
