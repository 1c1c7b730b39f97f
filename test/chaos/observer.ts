/** Looks at the cluster all the time, and has each look judged: invariants from outside, epochs from the logs. */
import { setTimeout as wait } from "node:timers/promises";
import type { Commander } from "./commands.ts";
import { maxOut } from "./documents.ts";
import { Epochs } from "./epochs.ts";
import { Invariants } from "./invariants.ts";
import type { Strikes } from "./strikes.ts";
import type { Topology } from "./topology.ts";
import { look } from "./watch.ts";

const LOOK_MS = 300;

export class Observer {
  readonly #topology: Topology;
  readonly #commander: Commander;
  readonly #strikes: Strikes;
  readonly #broken: (sentence: string) => void;
  readonly #epochs: Epochs;
  readonly #invariants = new Invariants();
  #stopping = false;
  #running: Promise<void> = Promise.resolve();

  constructor(topology: Topology, commander: Commander, strikes: Strikes, broken: (sentence: string) => void) {
    this.#topology = topology;
    this.#commander = commander;
    this.#strikes = strikes;
    this.#broken = broken;
    const logs = (parts: Topology["agents"]): { readonly name: string; readonly logFile: string }[] =>
      parts.map(({ name, spec }) => ({ name, logFile: spec.logFile }));
    this.#epochs = new Epochs(logs(topology.agents), logs(topology.controllers));
  }

  /** Resolves after the first look. */
  async start(): Promise<void> {
    await this.#look();
    this.#running = this.#loop();
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#running;
    for (const sentence of this.#epochs.look()) this.#broken(sentence);
    if (this.#epochs.seen === 0) this.#broken("no agent's log told of an assignment: nothing was judged by it");
    if (this.#epochs.epochs.size === 0) this.#broken("no controller's log told of its epoch: nothing was judged by it");
  }

  async #loop(): Promise<void> {
    while (!this.#stopping) {
      await wait(LOOK_MS);
      await this.#look();
    }
  }

  async #look(): Promise<void> {
    const now = await look(this.#topology);
    const { deployments, said } = this.#commander;
    const allowed = Math.max(0, ...deployments.map(maxOut));
    const around = { strikes: this.#strikes.all, maxOut: allowed, said };
    for (const sentence of [...this.#invariants.judge(now, around), ...this.#epochs.look()]) this.#broken(sentence);
  }
}
