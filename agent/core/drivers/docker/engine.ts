/**
 * The Docker engine, as much of it as Baton uses: dockerode behind a few typed calls.
 *
 * Errors  every call rejects with an EngineError and nothing else: `refused` in the engine's own words, or `unreachable`,
 *         which says nothing about what it runs. A call that is cut in mid-answer is `unreachable`: whether it was
 *         carried out is not known, so that every step is one that may be taken again.
 * Bounds  each call ends within CALL_MS (a stop: its grace more); dockerode alone would wait for ever.
 */
import Docker from "dockerode";
import type { Clock, Millis } from "../../../../proto/kernel/clock.ts";
import type { EngineAddress } from "./address.ts";

const CALL_MS = 30_000;

export class EngineError extends Error {
  readonly kind: "unreachable" | "refused";
  /** HTTP's; 0 when there was no answer. */
  readonly status: number;

  constructor(kind: EngineError["kind"], message: string, status = 0) {
    super(message);
    this.kind = kind;
    this.status = status;
  }
}

/** An answer that goes on. */
export type Stream = NodeJS.ReadableStream & { destroy(): void };

export type Filters = Readonly<Record<string, readonly string[]>>;

export interface Listed {
  readonly id: string;
  readonly running: boolean;
  readonly labels: Readonly<Record<string, string>>;
}

export type Inspected = Docker.ContainerInspectInfo;
export type CreateOptions = Docker.ContainerCreateOptions;
/** As the registry is shown it. */
export type Credentials = Docker.AuthConfigObject | { readonly identitytoken: string; readonly serveraddress: string };

export class Engine {
  readonly where: string;
  readonly #docker: Docker;
  readonly #clock: Clock;

  constructor({ where, options }: EngineAddress, clock: Clock) {
    this.where = where;
    this.#docker = new Docker(options);
    this.#clock = clock;
  }

  async list(filters: Filters): Promise<Listed[]> {
    const found = await this.#call((abortSignal) =>
      this.#docker.listContainers({ all: true, filters: mutable(filters), abortSignal }),
    );
    return found.map(({ Id: id, State, Labels: labels }) => ({ id, running: isRunning(State), labels }));
  }

  /** By id or name; null: there is none. */
  inspect(container: string): Promise<Inspected | null> {
    return this.#orNull(this.#call((abortSignal) => this.#docker.getContainer(container).inspect({ abortSignal })));
  }

  async create(options: CreateOptions): Promise<string> {
    return (await this.#call((abortSignal) => this.#docker.createContainer({ ...options, abortSignal }))).id;
  }

  async start(container: string): Promise<void> {
    await this.#unless(
      [304],
      this.#call((abortSignal) => this.#docker.getContainer(container).start({ abortSignal })),
    );
  }

  /** The image's own stop signal, then SIGKILL by the engine itself, also if we are gone by then. */
  async stop(container: string, graceMs: Millis): Promise<void> {
    const t = Math.ceil(graceMs / 1_000);
    const stopped = this.#call(
      (abortSignal) => this.#docker.getContainer(container).stop({ t, abortSignal }),
      CALL_MS + t * 1_000,
    );
    await this.#unless([304, 404], stopped);
  }

  async kill(container: string): Promise<void> {
    const killed = this.#call((abortSignal) =>
      this.#docker.getContainer(container).kill({ signal: "SIGKILL", abortSignal }),
    );
    await this.#unless([404, 409], killed); // it is not running, or not there
  }

  /** With the volumes that it alone has; a running one is killed. */
  async remove(container: string): Promise<void> {
    const removed = this.#call((abortSignal) =>
      this.#docker.getContainer(container).remove({ force: true, v: true, abortSignal }),
    );
    await this.#unless([404, 409], removed); // or it is being removed
  }

  /** Framed (logs.ts), with timestamps; `since` in seconds. It ends with the container. */
  logs(container: string, since: number, signal: AbortSignal): Promise<Stream> {
    const options = { follow: true as const, stdout: true, stderr: true, timestamps: true, since };
    return this.#stream(
      (abortSignal) => this.#docker.getContainer(container).logs({ ...options, abortSignal }) as Promise<Stream>,
      signal,
    );
  }

  events(filters: Filters, signal: AbortSignal): Promise<Stream> {
    return this.#stream(
      (abortSignal) => this.#docker.getEvents({ filters: mutable(filters), abortSignal }) as Promise<Stream>,
      signal,
    );
  }

  /** The image's id; null: it is not on this host. */
  async image(name: string): Promise<string | null> {
    const found = this.#call((abortSignal) =>
      this.#docker.getImage(name).inspect({ abortSignal } as Docker.ImageInspectOptions),
    );
    return (await this.#orNull(found))?.Id ?? null;
  }

  /** JSON lines of progress, and of what went wrong (pull.ts). */
  pull(repository: string, tag: string, credentials: Credentials | null, signal: AbortSignal): Promise<Stream> {
    const authconfig = credentials === null ? {} : { authconfig: credentials as Docker.AuthConfigObject };
    return this.#stream(
      (abortSignal) =>
        this.#docker.createImage({ fromImage: repository, tag, ...authconfig, abortSignal }) as Promise<Stream>,
      signal,
    );
  }

  /** false: something uses it. */
  async removeImage(name: string): Promise<boolean> {
    try {
      await this.#unless(
        [404],
        this.#call((abortSignal) => this.#docker.getImage(name).remove({ abortSignal })),
      );
      return true;
    } catch (error) {
      if (error instanceof EngineError && error.status === 409) return false;
      throw error;
    }
  }

  /** A stream has begun once its head is there; from then on whoever reads it sets the bounds. */
  #stream(begin: (signal: AbortSignal) => Promise<Stream>, signal: AbortSignal): Promise<Stream> {
    return this.#call(
      async (cut) => {
        const stream = await begin(AbortSignal.any([cut, signal]));
        stream.on("error", () => undefined); // its end is what counts, and is looked at by "close"
        return stream;
      },
      CALL_MS,
      signal,
    );
  }

  #call<T>(begin: (signal: AbortSignal) => Promise<T>, timeoutMs = CALL_MS, signal?: AbortSignal): Promise<T> {
    return new Promise((resolve, reject) => {
      const cut = new AbortController();
      const late = this.#clock.after(timeoutMs, () => {
        fail(this.#unreachable(`no answer in ${String(timeoutMs / 1_000)} s`));
        cut.abort();
      });
      const aborted = (): void => {
        fail(this.#unreachable("given up"));
        cut.abort();
      };
      const end = (): void => {
        late.cancel();
        signal?.removeEventListener("abort", aborted);
      };
      const fail = (error: EngineError): void => {
        end();
        reject(error);
      };
      if (signal?.aborted === true) {
        aborted();
        return;
      }
      signal?.addEventListener("abort", aborted, { once: true });
      begin(cut.signal).then(
        (value) => {
          end();
          resolve(value);
        },
        (error: unknown) => fail(this.#errorOf(error)),
      );
    });
  }

  #errorOf(error: unknown): EngineError {
    const { statusCode, json, message } = error as { statusCode?: number; json?: unknown; message?: string };
    if (statusCode === undefined) return this.#unreachable(message ?? String(error));
    const said = (json as { message?: unknown } | null | undefined)?.message;
    const words = typeof said === "string" ? said : (message ?? "").replace(/^\(HTTP code \d+\) [^-]*- /, "");
    return new EngineError("refused", words.trim(), statusCode);
  }

  #unreachable(why: string): EngineError {
    return new EngineError("unreachable", `the Docker engine can't be reached at ${this.where}: ${why}`);
  }

  async #unless(statuses: readonly number[], call: Promise<unknown>): Promise<void> {
    try {
      await call;
    } catch (error) {
      if (!(error instanceof EngineError && statuses.includes(error.status))) throw error;
    }
  }

  async #orNull<T>(call: Promise<T>): Promise<T | null> {
    try {
      return await call;
    } catch (error) {
      if (error instanceof EngineError && error.status === 404) return null;
      throw error;
    }
  }
}

/** "paused" has a process too. */
export const isRunning = (state: string): boolean => ["running", "paused", "restarting"].includes(state);

const mutable = (filters: Filters): Record<string, string[]> =>
  Object.fromEntries(Object.entries(filters).map(([key, values]) => [key, [...values]]));
