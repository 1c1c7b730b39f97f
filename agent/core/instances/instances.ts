/**
 * All instances on this host: made and left as plan.ts decides, found again by the next core from their records.
 *
 * Kept     one that is gone is still told of for GONE_MS, so that the controller sees how it ended.
 */
import { instanceId } from "../../../proto/contract/ids.ts";
import type { Millis } from "../../../proto/kernel/clock.ts";
import type { PlanAction } from "../apply/plan.ts";
import { APP_ADDRESS } from "../drivers/process.ts";
import type { ProcessState } from "../../keeper/protocol.ts";
import { Instance } from "./instance.ts";
import type { InstanceRecord, InstanceView } from "./record.ts";
import type { InstanceWorld } from "./world.ts";

const GONE_MS = 60_000;

export class Instances {
  readonly #world: InstanceWorld;
  readonly #all = new Map<string, Instance>();
  readonly #goneAt = new Map<string, Millis>();

  constructor(world: InstanceWorld) {
    this.#world = world;
  }

  /** Finds again what the core before had: processes by the keeper's word, and whether they were in service. */
  adopt(
    records: readonly InstanceRecord[],
    processes: ReadonlyMap<string, ProcessState>,
    inService: ReadonlySet<string>,
  ): void {
    for (const record of records) {
      const adoption = { process: processes.get(record.process), inService: inService.has(record.id) };
      this.#all.set(record.id, new Instance(this.#world, record, adoption));
    }
    const ours = new Set(records.map(({ process }) => process));
    for (const [id, process] of processes) {
      if (ours.has(id)) continue;
      // Nobody's: an older start that was not cleared away, or records that were lost. It must not run beside its successor.
      this.#world.log.warn({ process: id, pid: process.pid }, "a process that no record explains is ended");
      if (process.exit === null && process.error === null) this.#world.link.kill(id, "SIGKILL");
      else this.#world.link.forget(id);
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

  get(id: string): Instance | undefined {
    return this.#all.get(id);
  }

  records(): InstanceRecord[] {
    return this.all()
      .filter((instance) => !instance.gone)
      .map((instance) => instance.record);
  }

  processNews(process: ProcessState): void {
    const owner = this.#all.get(process.spec.id.slice(0, process.spec.id.lastIndexOf(".")));
    if (owner !== undefined) owner.processNews(process);
    else if (process.exit !== null || process.error !== null) this.#world.link.forget(process.spec.id);
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
