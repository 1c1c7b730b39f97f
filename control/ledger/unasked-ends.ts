/**
 * Instances that ended without being told to, read from an agent's reports. Told to end are those that were draining or
 * stopping; of the others an agent says `failed`, counts a restart, or reports the incident.
 *
 * One that was ready and does not answer its probes any more hangs, or is busy beyond measure: what it lets go of when it
 * wakes is its own doing. That is seen anew with every report as well.
 *
 * While a service has no ready instance on the host since such an end, the end is seen anew with every report: losses
 * go on for as long as nothing serves there, not for the moment of the crash alone.
 */
import type { InstanceReport, Report } from "../../proto/contract/report.ts";
import type { Seen } from "./types.ts";

const LEAVING: readonly string[] = ["draining", "stopping", "stopped"];
const CARRYING: readonly string[] = ["ready", "serving"];

export class UnaskedEnds {
  readonly #host: string;
  #before = new Map<string, InstanceReport>();
  /** Service → the end that left it with nothing ready. */
  readonly #down = new Map<string, Seen>();

  constructor(host: string) {
    this.#host = host;
  }

  observe(report: Report): readonly Seen[] {
    const [seen, silences]: [Seen[], Seen[]] = [[], []];
    const now = new Map(report.instances.map((instance) => [instance.id, instance]));
    for (const instance of report.instances) {
      const before = this.#before.get(instance.id);
      if (before === undefined || LEAVING.includes(before.state)) continue;
      const why = instance.reason === "" ? instance.state : instance.reason;
      if (silent(instance)) silences.push(this.#silence(instance, why));
      if (!endedUnasked(before, instance)) continue;
      seen.push(this.#seen(instance.service, `instance ${instance.id} of ${this.#host} ended: ${why}`));
    }
    this.#before = now;
    for (const end of seen) this.#down.set(end.service, end);
    for (const [service, end] of this.#down) {
      const serves = report.instances.some((i) => i.service === service && CARRYING.includes(i.state));
      if (serves) this.#down.delete(service);
      else seen.push(end);
    }
    return [...seen, ...silences];
  }

  /** An end that the agent reported as an incident. */
  note(service: string, message: string): Seen {
    const seen = this.#seen(service, message);
    this.#down.set(service, seen);
    return seen;
  }

  #silence({ id, service }: InstanceReport, why: string): Seen {
    const message = `instance ${id} of ${this.#host} was ready and does not answer its probes: ${why}`;
    return { host: this.#host, kind: "instance-silent", service, message };
  }

  #seen(service: string, message: string): Seen {
    return { host: this.#host, kind: "instance-ended", service, message };
  }
}

/** Its run was ready before. */
const silent = ({ state, wasReady }: InstanceReport): boolean => state === "starting" && wasReady;

function endedUnasked(before: InstanceReport, now: InstanceReport): boolean {
  if (now.restarts > before.restarts) return true;
  return now.state === "failed" && before.state !== "failed";
}
