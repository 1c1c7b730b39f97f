/**
 * One run as one container: image, create, start, up; its end, and what is left of it. What is so is what the engine says,
 * looked at again after every event, every call and every gap; what was asked proves nothing.
 *
 *   starting → up → over          `starting` waits for an engine that is away, however long: that is no failure
 *
 * Again   each step looks first whether it was taken already: a core that takes over in mid-start goes on from there.
 * Errors  none thrown: a step that the engine refuses is the run's end, in the engine's words.
 */
import { sleep } from "../../../../proto/kernel/clock.ts";
import type { Clock, Millis } from "../../../../proto/kernel/clock.ts";
import type { Log } from "../../../../proto/kernel/log.ts";
import type { DockerRun } from "../../../../proto/contract/spec/docker.ts";
import type { CheckResult } from "../../probes/check.ts";
import type { DriverEvents, RunExit, RunRequest } from "../driver.ts";
import { containerName, createOptions, isOwn, LABEL, readContainer } from "./container.ts";
import type { Owner, Seen } from "./container.ts";
import { EngineError } from "./engine.ts";
import type { Engine, Inspected, Listed } from "./engine.ts";
import type { Images } from "./images.ts";
import { LogFollower } from "./logs.ts";

/** How long an end is held back for the last of its output. */
const OUTPUT_MS = 1_000;

export interface RunWorld {
  readonly engine: Engine;
  readonly images: Pick<Images, "ensure">;
  readonly owner: Owner;
  readonly clock: Clock;
  readonly log: Log;
  readonly events: DriverEvents;
  readonly outputFile: (instance: string) => string;
  /** The engine's word for the network. */
  readonly networkMode: (run: DockerRun) => Promise<string>;
  /** Resolves when the engine may be there again. */
  readonly engineBack: (signal: AbortSignal) => Promise<void>;
  /** One is up: images may have become superfluous. */
  readonly settled: (run: ContainerRun) => void;
}

interface Stop {
  readonly signal: "SIGTERM" | "SIGKILL";
  readonly graceMs: Millis;
}

export class ContainerRun {
  readonly asked: RunRequest;
  readonly run: DockerRun;
  readonly #world: RunWorld;
  readonly #cut = new AbortController();
  #phase: "starting" | "up" | "over" = "starting";
  /** Its id once that is known; until then its name finds it. */
  #container: string;
  #seen: Seen | undefined;
  #hasImage = true;
  #logs: LogFollower | undefined;
  #stop: Stop | undefined;

  /** What the engine has been asked to do of it. */
  #saying: Stop | undefined;

  constructor(world: RunWorld, asked: RunRequest, run: DockerRun) {
    this.#world = world;
    this.asked = asked;
    this.run = run;
    this.#container = containerName(world.owner, asked.instance);
  }

  get isUp(): boolean {
    return this.#phase === "up";
  }

  /** It was up when a core before this one saw it last: believed until the engine says otherwise. */
  assume(): void {
    this.#phase = "up";
  }

  async start(): Promise<void> {
    for (;;) {
      try {
        await this.#steps();
        return;
      } catch (error) {
        if (this.#cut.signal.aborted) {
          this.#over(null, "it was stopped before it had started");
          return;
        }
        if (!(error instanceof EngineError) || error.kind === "refused") {
          this.#over(null, error instanceof Error ? error.message : String(error));
          return;
        }
        this.note(error.message);
        await this.#world.engineBack(this.#cut.signal);
      }
    }
  }

  kill(signal: Stop["signal"], graceMs: Millis): void {
    this.#stop = { signal, graceMs };
    if (this.#phase === "starting") this.#cut.abort();
    if (this.#phase === "up") void this.#carryOutStop();
  }

  /** An event named it, or all are looked at. */
  async look(): Promise<void> {
    if (this.#phase !== "up") return;
    try {
      const found = await this.#world.engine.inspect(this.#container);
      if (this.#isOver()) return;
      const { owner } = this.#world;
      const labels = found?.Config.Labels ?? {};
      if (found === null || !isOwn(owner, labels) || labels[LABEL.run] !== this.asked.id) {
        this.#over(null, "its container is gone: somebody removed it");
      } else if (await this.#isAstray(found)) {
        this.#over(null, "its container is in another network namespace than this agent: another one takes its place");
      } else await this.#take(readContainer(found, this.asked, this.run));
    } catch (error) {
      this.#world.log.debug({ err: error, run: this.asked.id }, "can't be looked at now");
    }
  }

  /** The agent's own container, or the one it has joined, was made anew beside it: its app can't be reached any more. */
  async #isAstray({ HostConfig, State }: Inspected): Promise<boolean> {
    if (this.run.network !== "agent" || !State.Running) return false;
    return HostConfig.NetworkMode !== (await this.#world.networkMode(this.run));
  }

  /** After a gap, and now and then; `listed` is undefined when the engine has no such container. */
  sync(listed: Listed | undefined): void {
    if (this.#phase !== "up") return;
    const known = this.#seen !== undefined && listed?.running === true;
    if (!known) void this.look();
    else if (this.#stop !== undefined) void this.#carryOutStop();
    if (known && this.#logs?.following === false) this.#follow();
  }

  health(): CheckResult {
    if (this.#seen === undefined) return { ok: false, why: "the Docker engine has not said yet" };
    const { health } = this.#seen;
    if (health === null) return { ok: false, why: "its image has no HEALTHCHECK" };
    if (health.status === "healthy") return { ok: true };
    return { ok: false, why: health.output === "" ? health.status : `${health.status}: ${health.output}` };
  }

  /** What is left of it is taken away. */
  async clear(): Promise<void> {
    this.#cut.abort();
    this.#logs?.stop();
    const { engine, owner } = this.#world;
    const found = await engine.inspect(this.#container);
    if (found !== null && isOwn(owner, found.Config.Labels) && found.Config.Labels[LABEL.run] === this.asked.id) {
      await engine.remove(found.Id);
    }
  }

  note(words: string): void {
    if (this.#phase !== "over") this.#world.events.note(this.asked.id, words);
  }

  async #steps(): Promise<void> {
    const { engine, images, owner, networkMode } = this.#world;
    const { asked, run } = this;
    const { signal } = this.#cut;
    const before = await engine.inspect(containerName(owner, asked.instance));
    if (before !== null) {
      const labels = before.Config.Labels;
      if (!isOwn(owner, labels)) {
        const why = `there is a container ${containerName(owner, asked.instance)} already, which is not this agent's`;
        throw new EngineError("refused", why);
      }
      if (labels[LABEL.run] !== asked.id) await engine.remove(before.Id);
      else if (before.State.Status !== "created") return this.#take(readContainer(before, asked, run));
      else this.#container = before.Id;
    }
    if (before === null || this.#container !== before.Id) {
      this.#hasImage = false;
      await images.ensure(asked.service, run, (words) => this.note(words), signal);
      this.#hasImage = true;
      const mode = await networkMode(run);
      signal.throwIfAborted();
      this.#container = await engine.create(createOptions(asked, run, owner, mode));
    }
    this.note("");
    signal.throwIfAborted();
    await engine.start(this.#container);
    const found = await engine.inspect(this.#container);
    if (found === null) throw new EngineError("refused", "its container is gone: somebody removed it");
    await this.#take(readContainer(found, asked, run));
  }

  async #take(seen: Seen): Promise<void> {
    if (this.#isOver()) return;
    const before = this.#seen;
    this.#seen = seen;
    this.#container = seen.id;
    if (seen.phase !== "running") {
      await this.#ended(seen.exit);
      return;
    }
    if (seen.port === 0) {
      if (before !== undefined) return; // its network is taken down: the event of its end is on the way
      this.#over(null, `its container has no address in network ${this.run.network}`);
      return;
    }
    this.#phase = "up";
    if (this.#logs?.following !== true) this.#follow();
    const same = before?.startedAtMs === seen.startedAtMs && before.port === seen.port;
    if (!same) {
      const { pid, startedAtMs, address, port } = seen;
      this.#world.events.news({ id: this.asked.id, pid, startedAtMs, address, port, exit: null, error: null });
      this.#world.settled(this);
    }
    if (this.#stop !== undefined && before === undefined) void this.#carryOutStop();
  }

  /** The exit is told with all that it said last. */
  async #ended(exit: RunExit | null): Promise<void> {
    if (this.#logs?.following !== true) this.#follow();
    const cut = new AbortController();
    await Promise.race([this.#logs?.done, sleep(this.#world.clock, OUTPUT_MS, cut.signal)]);
    cut.abort();
    this.#over(exit, null);
  }

  #over(exit: RunExit | null, error: string | null): void {
    if (this.#isOver()) return;
    this.#phase = "over";
    const { pid = 0, startedAtMs = this.#world.clock.now(), address = "", port = this.asked.port } = this.#seen ?? {};
    const why = exit === null ? (error ?? "it ended") : error;
    const begun = this.#hasImage ? {} : ({ begun: false } as const);
    this.#world.events.news({ id: this.asked.id, pid, startedAtMs, address, port, exit, error: why, ...begun });
  }

  /** A call, not a field: it changes over an `await`. */
  #isOver(): boolean {
    return this.#phase === "over";
  }

  #follow(): void {
    const { engine, log, outputFile } = this.#world;
    this.#logs = new LogFollower(engine, this.#container, outputFile(this.asked.instance), log);
  }

  async #carryOutStop(): Promise<void> {
    const { engine, log } = this.#world;
    const asked = this.#stop;
    if (asked === this.#saying) return; // an app may take a second signal for "at once"
    this.#saying = asked;
    try {
      if (asked?.signal === "SIGTERM") await engine.stop(this.#container, asked.graceMs);
      else await engine.kill(this.#container);
      await this.look();
    } catch (error) {
      // Said again once the engine is back (sync).
      log.warn({ err: error, run: this.asked.id, signal: asked?.signal }, "a container could not be stopped now");
      if (this.#saying === asked) this.#saying = undefined;
    }
  }
}
