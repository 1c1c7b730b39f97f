/**
 * Which addresses an assignment asks for, under the core's own names for them. Pure.
 *
 * A declared address is its own name, so two services may share one (told apart by `Host`). A port that the kernel is to
 * choose is named after the service and its place, and asked for again by the number it had before (state/ports.ts).
 */
import type { Assignment } from "../../../proto/contract/assignment.ts";
import { canonicalAddress, formatHostPort, overlaps } from "../../../proto/contract/address.ts";
import type { BindRequest } from "../keeper-link.ts";

export interface WantedListener extends BindRequest {
  /** Every (service, index) that takes its traffic here. */
  readonly uses: readonly { readonly service: string; readonly index: number }[];
}

/** `assigned`: the kernel chooses every port, whatever the assignment says. */
export function wantedListeners(assignment: Assignment | null, ports: "declared" | "assigned"): WantedListener[] {
  const wanted = new Map<string, WantedListener>();
  for (const { name: service, listeners } of assignment?.services ?? []) {
    listeners.forEach((listener, index) => {
      const address = canonicalAddress(listener.address);
      const port = ports === "assigned" ? 0 : listener.port;
      const name = port === 0 ? `${service}/${String(index)}@${address}` : formatHostPort(address, port);
      const uses = [...(wanted.get(name)?.uses ?? []), { service, index }];
      wanted.set(name, { name, address, port, uses });
    });
  }
  return [...wanted.values()];
}

/** One sentence for each thing that makes an assignment impossible here; [] when there is none. */
export function listenerConflicts(assignment: Assignment, wanted: readonly WantedListener[]): string[] {
  const problems: string[] = [];
  const hostnames = new Map(assignment.services.map(({ name, hostnames: list }) => [name, list]));
  wanted.forEach((listener, at) => {
    for (const other of wanted.slice(at + 1)) {
      if (!overlaps(listener, other)) continue;
      problems.push(`${listener.name} and ${other.name} are one port on this host; use one spelling of the address`);
    }
    const taken = new Map<string, string>();
    for (const { service } of listener.uses) {
      const names = hostnames.get(service) ?? [];
      for (const name of names.length === 0 ? ["*"] : names) {
        const before = taken.get(name);
        if (before !== undefined && before !== service) {
          const what = name === "*" ? "any hostname" : `the hostname ${name}`;
          problems.push(`services ${before} and ${service} both answer for ${what} on ${listener.name}`);
        }
        taken.set(name, service);
      }
    }
  });
  return problems;
}
