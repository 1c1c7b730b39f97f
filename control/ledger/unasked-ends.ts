/**
 * Instances that ended without being told to, read from an agent's reports. Told to end are those that were draining or
 * stopping; of the others an agent says `failed`, counts a restart, or reports the incident.
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
    const seen: Seen[] = [];
    const now = new Map(report.instances.map((instance) => [instance.id, instance]));
    for (const instance of report.instances) {
      const before = this.#before.get(instance.id);
      if (before === undefined || LEAVING.includes(before.state) || !endedUnasked(before, instance)) continue;
      const why = instance.reason === "" ? instance.state : instance.reason;
      seen.push(this.#seen(instance.service, `instance ${instance.id} of ${this.#host} ended: ${why}`));
    }
    this.#before = now;
    for (const end of seen) this.#down.set(end.service, end);
    for (const [service, end] of this.#down) {
      const serves = report.instances.some((i) => i.service === service && CARRYING.includes(i.state));
      if (serves) this.#down.delete(service);
      else seen.push(end);
    }
    return seen;
  }

  /** An end that the agent reported as an incident. */
  note(service: string, message: string): Seen {
    const seen = this.#seen(service, message);
    this.#down.set(service, seen);
    return seen;
  }

  #seen(service: string, message: string): Seen {
    return { host: this.#host, kind: "instance-ended", service, message };
  }
}

function endedUnasked(before: InstanceReport, now: InstanceReport): boolean {
  if (now.restarts > before.restarts) return true;
  return now.state === "failed" && before.state !== "failed";
}
