/**
 * Images: there before a container is made of them, and taken away again when nobody wants them.
 *
 * Pulls   of one image at the same time are one pull; it is given up when the last that waits for it gives up.
 * Kept    `docker.json` names the images that Baton has brought to this host, and for which service. Of those alone, those
 *         that nothing uses are removed, but for the newest `retain`; what was there before is never touched.
 * Errors  EngineError, in the engine's words.
 */
import { parseImage } from "../../../../proto/contract/spec/docker.ts";
import type { DockerRun } from "../../../../proto/contract/spec/docker.ts";
import type { Clock, Millis } from "../../../../proto/kernel/clock.ts";
import type { Log } from "../../../../proto/kernel/log.ts";
import type { StateFiles } from "../../ports.ts";
import { readCredentials } from "./credentials.ts";
import { EngineError } from "./engine.ts";
import type { Engine } from "./engine.ts";
import { readPull } from "./pull.ts";

const LAYOUT = 1;
const KEPT = 256;

interface Brought {
  readonly service: string;
  readonly image: string;
  readonly id: string;
  /** When it was last wanted. */
  readonly atMs: Millis;
}

interface Pull {
  readonly done: Promise<void>;
  readonly cut: AbortController;
  readonly listeners: Set<(words: string) => void>;
}

export class Images {
  readonly #engine: Engine;
  readonly #files: StateFiles;
  readonly #path: string;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #pulls = new Map<string, Pull>();
  #brought: readonly Brought[];

  constructor(engine: Engine, files: StateFiles, path: string, clock: Clock, log: Log) {
    this.#engine = engine;
    this.#files = files;
    this.#path = path;
    this.#clock = clock;
    this.#log = log;
    this.#brought = this.#read();
    if (this.#brought.length === 0) this.#write(); // from now on it is known that containers were run here
  }

  /** Resolves when it is there, as the run's policy has it. */
  async ensure(service: string, run: DockerRun, say: (words: string) => void, signal: AbortSignal): Promise<void> {
    const here = await this.#engine.image(run.image);
    if (run.pullPolicy === "Never" && here === null) {
      throw new EngineError("refused", `image ${run.image} is not on this host, and pullPolicy is Never`);
    }
    if (run.pullPolicy === "Always" || here === null) {
      await this.#pull(run, say, signal);
      const now = await this.#engine.image(run.image);
      if (now === null) throw new EngineError("refused", `image ${run.image} was pulled, and yet is not there`);
      if (now !== here) this.#bring(service, run.image, now);
    } else this.#bring(service, run.image, here, true);
  }

  /** Once a later version runs: what of the same service is not wanted any more. `wanted`: images of living runs. */
  async tidy(service: string, retain: number, wanted: ReadonlySet<string>): Promise<void> {
    // The newest is first: what a tag named before it moved on is not what is wanted under that tag.
    const isNewest = (one: Brought): boolean => this.#brought.find(({ image }) => image === one.image) === one;
    const unused = this.#brought
      .filter((one) => one.service === service && !(wanted.has(one.image) && isNewest(one)))
      .sort((a, b) => b.atMs - a.atMs);
    for (const one of unused.slice(retain)) {
      const tagged = await this.#engine.image(one.image);
      // A tag that has moved on leaves the image that it named without a name.
      const gone = await this.#engine.removeImage(tagged === one.id ? one.image : one.id);
      if (!gone) continue; // another's container uses it: looked at again next time
      this.#log.info({ image: one.image, service }, "an image that is not wanted any more is removed");
      this.#keep(this.#brought.filter((other) => other !== one));
    }
  }

  async #pull(run: DockerRun, say: (words: string) => void, signal: AbortSignal): Promise<void> {
    const key = `${run.image} ${run.credentialsFile ?? ""}`;
    const pull = this.#pulls.get(key) ?? this.#begin(key, run);
    pull.listeners.add(say);
    say(`pulling ${run.image}`);
    try {
      await Promise.race([pull.done, aborted(signal)]);
    } finally {
      pull.listeners.delete(say);
      if (pull.listeners.size === 0) {
        this.#pulls.delete(key);
        pull.cut.abort();
      }
    }
  }

  #begin(key: string, run: DockerRun): Pull {
    const cut = new AbortController();
    const listeners = new Set<(words: string) => void>();
    const say = (percent: number): void => {
      for (const listener of listeners) listener(`pulling ${run.image}${percent === 0 ? "" : ` ${String(percent)} %`}`);
    };
    const done = this.#carryOut(run, say, cut.signal).finally(() => {
      if (this.#pulls.get(key)?.cut === cut) this.#pulls.delete(key);
    });
    done.catch(() => undefined); // those who wait are told; there may be none left
    const pull = { done, cut, listeners };
    this.#pulls.set(key, pull);
    return pull;
  }

  async #carryOut(run: DockerRun, say: (percent: number) => void, signal: AbortSignal): Promise<void> {
    const { repository, registry, tag, digest } = parseImage(run.image) ?? fail(run.image);
    const file = run.credentialsFile;
    const credentials = file === null ? ({ kind: "ok", value: null } as const) : readCredentials(file, registry);
    if (credentials.kind === "wrong") throw new EngineError("refused", credentials.why);
    this.#log.info({ image: run.image }, "pulling");
    try {
      const stream = await this.#engine.pull(repository, digest || tag, credentials.value, signal);
      await readPull(stream, this.#clock, say);
    } catch (error) {
      if (!(error instanceof EngineError) || error.kind === "unreachable") throw error;
      throw new EngineError("refused", `image ${run.image} can't be pulled: ${error.message}`, error.status);
    }
  }

  /** `known`: it was there, which makes it ours only if it was before. */
  #bring(service: string, image: string, id: string, known = false): void {
    const same = (one: Brought): boolean => one.service === service && one.image === image && one.id === id;
    if (known && !this.#brought.some(same)) return;
    const now = { service, image, id, atMs: this.#clock.now() };
    this.#keep([now, ...this.#brought.filter((one) => !same(one))].slice(0, KEPT));
  }

  #keep(brought: readonly Brought[]): void {
    this.#brought = brought;
    this.#write();
  }

  #read(): readonly Brought[] {
    const file = this.#files.read(this.#path);
    if (file.kind === "damaged") {
      this.#log.warn({ ...file }, "it can't be used; the images that it named stay on the host");
    }
    if (file.kind !== "ok") return [];
    const { layout, images } = JSON.parse(file.content) as { layout: number; images: readonly Brought[] };
    return layout === LAYOUT ? images : [];
  }

  #write(): void {
    try {
      this.#files.write(this.#path, JSON.stringify({ layout: LAYOUT, images: this.#brought }));
    } catch (error) {
      this.#log.error({ err: error, path: this.#path }, "can't be written; images will be left on the host");
    }
  }
}

const fail = (image: string): never => {
  throw new EngineError("refused", `${image} is no image's name`);
};

const aborted = (signal: AbortSignal): Promise<never> =>
  new Promise((_, reject) => {
    const end = (): void => reject(new EngineError("unreachable", "given up"));
    if (signal.aborted) end();
    else signal.addEventListener("abort", end, { once: true });
  });
