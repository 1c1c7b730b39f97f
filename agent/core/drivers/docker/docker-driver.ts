/**
 * The Docker driver: each run is a container of its own, found again by its labels whatever became of the agent.
 *
 * Truth   what the engine says when it can be asked; while it can't, everything is as it was, and each run says why nothing
 *         is heard of it. After every gap, and every RESYNC_MS, all of this agent's containers are listed and compared.
 * Sweep   containers with this agent's labels that no run explains are ended gently and removed: records were lost, or an
 *         agent was killed between two steps. Nothing without those labels is ever touched.
 * Cost    one event stream, one list each RESYNC_MS, one log stream a container.
 */
import { join } from "node:path";
import { dockerNetwork } from "../../../../proto/contract/spec/docker.ts";
import type { DockerRun } from "../../../../proto/contract/spec/docker.ts";
import type { RunSpec } from "../../../../proto/contract/spec/types.ts";
import { sleep } from "../../../../proto/kernel/clock.ts";
import type { Millis } from "../../../../proto/kernel/clock.ts";
import type { Ambient } from "../../ports.ts";
import type { CheckResult } from "../../probes/check.ts";
import type { Adopted, Driver, DriverEvents, RunRequest } from "../driver.ts";
import { assumed, DOCKER_FILE } from "../lazy-docker.ts";
import type { OutputFiles } from "../output.ts";
import type { PickPort } from "../process.ts";
import { engineAddress } from "./address.ts";
import { LABEL, ownFilter, scopeOf, shares } from "./container.ts";
import type { Owner } from "./container.ts";
import { ContainerRun } from "./container-run.ts";
import type { RunWorld } from "./container-run.ts";
import { Engine } from "./engine.ts";
import type { Listed } from "./engine.ts";
import { Images } from "./images.ts";
import { agentNetwork } from "./own-container.ts";
import { watchEngine } from "./watch.ts";
import type { EngineEvent } from "./watch.ts";

const RESYNC_MS = 15_000;
/** How long a start waits for an engine that does not say that it is back. */
const PATIENCE_MS = 5_000;
/** For a container that no run explains: Docker's own grace. */
const SWEEP_GRACE_MS = 10_000;

export interface DockerOptions extends Ambient {
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly stateDir: string;
  readonly owner: Owner;
  readonly output: OutputFiles;
  readonly pickPort: PickPort;
  readonly events: DriverEvents;
}

export class DockerDriver implements Driver {
  readonly #options: DockerOptions;
  readonly #engine: Engine;
  readonly #images: Images;
  readonly #world: RunWorld;
  readonly #runs = new Map<string, ContainerRun>();
  readonly #sweeping = new Set<string>();
  readonly #over = new AbortController();
  #waiting: (() => void)[] = [];
  #trouble = "";
  #tidying: Promise<void> = Promise.resolve();

  /** Throws a sentence when the environment names no engine. */
  constructor(options: DockerOptions) {
    const { clock, log, files, stateDir, environment, owner, output, events } = options;
    const address = engineAddress(environment);
    if (typeof address === "string") throw new Error(address);
    this.#options = options;
    this.#engine = new Engine(address, clock);
    this.#images = new Images(this.#engine, files, join(stateDir, DOCKER_FILE), clock, log);
    this.#world = {
      ...{ engine: this.#engine, images: this.#images, owner, clock, log, events },
      outputFile: (instance) => output.path(instance),
      networkMode: (run) => this.#networkMode(run),
      engineBack: (signal) => this.#engineBack(signal),
      settled: (run) => this.#tidy(run),
    };
    // Behind whoever adopts: what no run explains is swept away.
    clock.after(0, () => this.#begin());
  }

  port(run: RunSpec, last: number): Promise<number> {
    if (run.kind !== "docker" || last > 0) return Promise.resolve(last);
    return shares(run) ? this.#options.pickPort() : Promise.resolve(run.network === "bridge" ? 0 : run.port);
  }

  launch(asked: RunRequest): void {
    const { run } = asked;
    if (run.kind !== "docker" || this.#runs.has(asked.id)) return;
    const container = new ContainerRun(this.#world, asked, run);
    this.#runs.set(asked.id, container);
    void container.start();
  }

  adopt(asked: RunRequest, wasUp: { readonly address: string; readonly port: number } | null): Adopted {
    const { run } = asked;
    if (run.kind !== "docker") return undefined;
    if (wasUp === null) {
      this.launch(asked);
      return "coming";
    }
    const container = new ContainerRun(this.#world, asked, run);
    container.assume();
    this.#runs.set(asked.id, container);
    return assumed(asked, wasUp, this.#options.clock.now());
  }

  kill(id: string, signal: "SIGTERM" | "SIGKILL", graceMs: Millis): void {
    this.#runs.get(id)?.kill(signal, graceMs);
  }

  forget(id: string): void {
    const run = this.#runs.get(id);
    if (run === undefined) return;
    this.#runs.delete(id);
    // What can't be removed now is swept later: no run explains it any more.
    void run.clear().then(
      () => this.#tidy(run),
      (error: unknown) => this.#options.log.debug({ err: error, run: id }, "its container is removed later"),
    );
  }

  health(id: string): CheckResult {
    return this.#runs.get(id)?.health() ?? { ok: false, why: "it is not running" };
  }

  close(): void {
    this.#over.abort();
  }

  #begin(): void {
    const { owner, clock, random, log } = this.#options;
    const { signal } = this.#over;
    void watchEngine(
      this.#engine,
      ownFilter(owner),
      { clock, random },
      {
        connected: () => this.#connected(),
        lost: (why) => this.#lost(why),
        event: (event) => this.#event(event),
      },
      signal,
    );
    const again = clock.every(RESYNC_MS, () => void this.#resync());
    signal.addEventListener("abort", () => again.cancel());
    log.info({ engine: this.#engine.where }, "containers are run by this Docker engine");
  }

  #connected(): void {
    if (this.#trouble !== "") this.#options.log.info({ engine: this.#engine.where }, "the Docker engine is back");
    this.#trouble = "";
    for (const run of this.#runs.values()) if (run.isUp) run.note("");
    for (const wake of this.#waiting.splice(0)) wake();
    void this.#resync();
  }

  #lost(why: string): void {
    const first = this.#trouble === "";
    this.#trouble = `${why}; what runs is left as it is`;
    if (first) this.#options.log.warn({ engine: this.#engine.where }, this.#trouble);
    for (const run of this.#runs.values()) if (run.isUp) run.note(this.#trouble);
  }

  #event({ action, labels }: EngineEvent): void {
    const matters = ["die", "start", "destroy", "oom"].includes(action) || action.startsWith("health_status");
    if (matters) void this.#runs.get(labels[LABEL.run] ?? "")?.look();
  }

  async #resync(): Promise<void> {
    // One that comes up while the list is on its way is not in it.
    const up = [...this.#runs.values()].filter((run) => run.isUp);
    let list: readonly Listed[];
    try {
      list = await this.#engine.list(ownFilter(this.#options.owner));
    } catch (error) {
      this.#options.log.debug({ err: error }, "containers can't be listed now");
      return;
    }
    const byRun = new Map(list.map((one) => [one.labels[LABEL.run] ?? "", one]));
    for (const run of up) run.sync(byRun.get(run.asked.id));
    for (const one of list) if (!this.#runs.has(one.labels[LABEL.run] ?? "")) void this.#sweep(one);
  }

  async #sweep({ id, running, labels }: Listed): Promise<void> {
    if (this.#sweeping.has(id)) return;
    this.#sweeping.add(id);
    const fields = { container: id.slice(0, 12), run: labels[LABEL.run], running };
    try {
      if (running) {
        this.#options.log.warn(fields, "a container that no record explains is ended");
        await this.#engine.stop(id, SWEEP_GRACE_MS);
      }
      await this.#engine.remove(id);
    } catch (error) {
      this.#options.log.debug({ err: error, ...fields }, "can't be removed now");
    } finally {
      this.#sweeping.delete(id);
    }
  }

  #networkMode(run: DockerRun): Promise<string> {
    const network = dockerNetwork(run.network);
    return network?.kind === "agent" ? agentNetwork(this.#engine) : Promise.resolve(run.network);
  }

  async #engineBack(signal: AbortSignal): Promise<void> {
    const woken = new AbortController();
    this.#waiting.push(() => woken.abort());
    await sleep(this.#options.clock, PATIENCE_MS, AbortSignal.any([signal, woken.signal]));
  }

  /** One after another: two would count the same images. */
  #tidy({ asked, run }: ContainerRun): void {
    const wanted = (): ReadonlySet<string> => new Set(this.#runs.values().map((one) => one.run.image));
    this.#tidying = this.#tidying
      .then(() => this.#images.tidy(asked.service, run.retain, wanted()))
      .catch((error: unknown) => this.#options.log.debug({ err: error }, "images are tidied later"));
  }
}

export { scopeOf };
