/**
 * All instances on this host: made and left as plan.ts decides, found again by the next core from their records.
 *
 * Kept     one that is gone is still told of for GONE_MS, so that the controller sees how it ended.
 */
import { instanceId } from "../../../proto/contract/ids.ts";
import type { Millis } from "../../../proto/kernel/clock.ts";
import type { PlanAction } from "../apply/plan.ts";
import { APP_ADDRESS } from "../drivers/driver.ts";
import type { Driver, DriverEvents, RunState } from "../drivers/driver.ts";
import { ProcessDriver, runOfProcess } from "../drivers/process.ts";
import type { ProcessState } from "../../keeper/protocol.ts";
import { Instance, requestOf } from "./instance.ts";
import type { InstanceRecord, InstanceView } from "./record.ts";
import type { DriverGround, InstanceWorld } from "./world.ts";

const GONE_MS = 60_000;

/** Beyond `drain.kill`, at the agent's end. */
const END_GRACE_MS = 5_000;

export class Instances {
  readonly #world: InstanceWorld;
  readonly #ground: DriverGround;
  readonly #processes: ProcessDriver;
  readonly #containers: Driver | undefined;
  readonly #all = new Map<string, Instance>();
  readonly #goneAt = new Map<string, Millis>();
  #ending: (() => void) | undefined;
  #ended: Promise<void> | undefined;

  constructor(world: Omit<InstanceWorld, "driver"> & DriverGround) {
    const events: DriverEvents = {
      news: (run) => this.#news(run),
      note: (run, words) => this.#owner(run)?.note(run, words),
    };
    this.#ground = world;
    this.#processes = new ProcessDriver(world);
    this.#containers = world.docker?.(events, world.boot);
    this.#world = {
      ...world,
      driver: ({ kind }) => (kind === "docker" ? (this.#containers ?? this.#processes) : this.#processes),
      changed: () => {
        this.#ending?.();
        world.changed();
      },
    };
  }

  /** Finds again what the core before had: runs by their drivers' word, and whether they were in service. */
  adopt(records: readonly InstanceRecord[], inService: ReadonlySet<string>): void {
    for (const record of records) {
      const { address, port, up } = record;
      const driver = this.#world.driver(record.run);
      const run = record.process === "" ? undefined : driver.adopt(requestOf(record), up ? { address, port } : null);
      this.#all.set(record.id, new Instance(this.#world, record, { run, inService: inService.has(record.id) }));
    }
    const { link } = this.#ground;
    const ours = new Set(records.map(({ process }) => process));
    for (const [id, process] of link.processes) {
      if (ours.has(id)) continue;
      // Nobody's: an older start that was not cleared away, or records that were lost. It must not run beside its successor.
      this.#world.log.warn({ process: id, pid: process.pid }, "a process that no record explains is ended");
      if (process.exit === null && process.error === null) link.kill(id, "SIGKILL");
      else link.forget(id);
    }
  }

  carryOut(action: PlanAction): void {
    switch (action.kind) {
      case "create": {
        const { service, revision, index } = action;
        const id = instanceId(service, revision, index, this.#world.random, (taken) => this.#all.has(taken));
        const { kind: _, index: __, ...wanted } = action;
        const record: InstanceRecord = {
          ...wanted,
          id,
          address: action.address ?? APP_ADDRESS,
          port: action.port ?? 0,
          process: "",
          up: false,
          starts: 0,
          restarts: 0,
          exit: null,
        };
        this.#world.log.info({ instance: id, service, version: action.version, mode: action.mode }, "instance");
        this.#all.set(id, new Instance(this.#world, record));
        return;
      }
      case "mode":
        this.#world.log.info({ instance: action.id, mode: action.mode }, "instance");
        return this.#all.get(action.id)?.setMode(action.mode);
      case "policy":
        return this.#all.get(action.id)?.setPolicy(action.health, action.drain);
    }
  }

  all(): readonly Instance[] {
    return [...this.#all.values()];
  }

  views(): InstanceView[] {
    return this.all().map((instance) => instance.view());
  }

  runs(service: string): boolean {
    return this.all().some(({ record, gone }) => record.service === service && record.process !== "" && !gone);
  }

  get(id: string): Instance | undefined {
    return this.#all.get(id);
  }

  records(): InstanceRecord[] {
    return this.all()
      .filter((instance) => !instance.gone)
      .map((instance) => instance.record);
  }

  processNews(process: ProcessState): void {
    const run = runOfProcess(process);
    if (this.#owner(run.id) !== undefined) this.#news(run);
    else if (run.exit !== null || run.error !== null) this.#ground.link.forget(run.id);
  }

  /**
   * The agent's end, once no worker sends to them: processes are the keeper's to end, containers are ours. Where there is
   * a pod another agent comes to the same host, and finds them as they are.
   */
  endContainers(): Promise<void> {
    if (this.#ground.link.options.pod !== undefined) return Promise.resolve();
    return (this.#ended ??= this.#endContainers());
  }

  async #endContainers(): Promise<void> {
    const own = this.all().filter(({ record, gone }) => record.run.kind === "docker" && !gone);
    if (own.length === 0) return;
    const { clock } = this.#world;
    const { promise, resolve } = Promise.withResolvers<undefined>();
    const longest = Math.max(...own.map(({ record }) => record.drain.killMs));
    const late = clock.after(longest + END_GRACE_MS, () => resolve(undefined));
    this.#ending = () => {
      if (own.every(({ gone }) => gone)) resolve(undefined);
    };
    for (const instance of own) instance.stop();
    this.#ending();
    await promise;
    late.cancel();
  }

  #news(run: RunState): void {
    this.#owner(run.id)?.news(run);
  }

  #owner(run: string): Instance | undefined {
    return this.#all.get(run.slice(0, run.lastIndexOf(".")));
  }

  /** Lets go of what was told of long enough; keeps output files within their bounds. */
  tidy(): void {
    const now = this.#world.clock.monotonic();
    for (const instance of this.all()) {
      if (!instance.gone) continue;
      const since = this.#goneAt.get(instance.id) ?? now;
      this.#goneAt.set(instance.id, since);
      if (now - since < GONE_MS) continue;
      this.#all.delete(instance.id);
      this.#goneAt.delete(instance.id);
    }
    this.#world.output.tidy(new Set(this.#all.keys()));
  }

  close(): void {
    for (const instance of this.all()) instance.close();
  }
}
