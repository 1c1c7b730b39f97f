/**
 * The Docker driver, loaded when first there is a container to run or to look after: its client costs a core that has none
 * 100 ms of its start and some memory. Calls wait for it in their order.
 *
 * Errors  a driver that can't be had (no engine is named, its client is not installed) fails each run with that sentence.
 */
import type { RunSpec } from "../../../proto/contract/spec/types.ts";
import type { Clock, Millis } from "../../../proto/kernel/clock.ts";
import type { CheckResult } from "../probes/check.ts";
import type { Adopted, Driver, DriverEvents, RunRequest, RunState } from "./driver.ts";

/** In the state folder; its being there says that containers were run here. */
export const DOCKER_FILE = "docker.json";

export class LazyDocker implements Driver {
  readonly #load: () => Promise<Driver>;
  readonly #events: DriverEvents;
  readonly #clock: Clock;
  #loading: Promise<Driver | string> | undefined;
  #driver: Driver | undefined;

  constructor(load: () => Promise<Driver>, events: DriverEvents, clock: Clock) {
    this.#load = load;
    this.#events = events;
    this.#clock = clock;
  }

  /** Containers were run here before: what is left of them is to be looked after, also when nobody asks for any. */
  begin(): void {
    void this.#ready();
  }

  async port(run: RunSpec, last: number): Promise<number> {
    const driver = await this.#ready();
    return typeof driver === "string" ? last : driver.port(run, last);
  }

  launch(asked: RunRequest): void {
    void this.#ready().then((driver) => {
      if (typeof driver === "string") this.#failed(asked, driver);
      else driver.launch(asked);
    });
  }

  adopt(asked: RunRequest, wasUp: { readonly address: string; readonly port: number } | null): Adopted {
    void this.#ready().then((driver) => {
      // Without it nothing is known, which is no reason to call what runs dead.
      if (typeof driver === "string") this.#events.note(asked.id, driver);
      else driver.adopt(asked, wasUp);
    });
    if (wasUp === null) return "coming";
    return assumed(asked, wasUp, this.#clock.now());
  }

  kill(id: string, signal: "SIGTERM" | "SIGKILL", graceMs: Millis): void {
    this.#then((driver) => driver.kill(id, signal, graceMs));
  }

  forget(id: string): void {
    this.#then((driver) => driver.forget(id));
  }

  health(id: string): CheckResult {
    return this.#driver?.health(id) ?? { ok: false, why: "the Docker engine has not said yet" };
  }

  #then(act: (driver: Driver) => void): void {
    void this.#ready().then((driver) => {
      if (typeof driver !== "string") act(driver);
    });
  }

  #ready(): Promise<Driver | string> {
    this.#loading ??= this.#load().then(
      (driver) => (this.#driver = driver),
      (error: unknown) => `containers can't be run: ${error instanceof Error ? error.message : String(error)}`,
    );
    return this.#loading;
  }

  #failed({ id, port }: RunRequest, error: string): void {
    const startedAtMs = this.#clock.now();
    this.#events.news({ id, pid: 0, startedAtMs, address: "", port, exit: null, error });
  }
}

/** What a core believes of a container before the engine has said a word. */
export const assumed = (
  { id }: RunRequest,
  { address, port }: { readonly address: string; readonly port: number },
  now: Millis,
): RunState => ({
  ...{ id, pid: 0, startedAtMs: now, address, port, exit: null, error: null },
});
