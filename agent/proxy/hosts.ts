/**
 * Who is behind a listener, by the host that a request names: the exact name, else the longest wildcard, else those who
 * answer for any. Services that share a host name there are told apart by their rules, all of them in one order; what
 * none of them takes is not offered to those of a less specific name (as with virtual hosts elsewhere).
 *
 * Cost    one service that answers for any host costs one compare; else a string, a map lookup, a walk of the wildcards.
 */
import { bySpecificity } from "./match.ts";
import type { Rule } from "./rules.ts";
import type { Service } from "./service.ts";

/** One host name's services. */
export class Host {
  /** There is no other. */
  readonly only: Service | null;
  /** Of all of them, the most specific first; of equal ones the one of the service that was named first. */
  readonly rules: readonly { readonly service: Service; readonly rule: Rule }[];

  constructor(services: readonly Service[]) {
    this.only = services.length === 1 ? (services[0] ?? null) : null;
    this.rules = services
      .flatMap((service) => service.rules.map((rule) => ({ service, rule })))
      .sort((a, b) => bySpecificity(a.rule.match, b.rule.match));
  }
}

export class ListenerTable {
  /** Every request is for this one: no host to look at. */
  readonly only: Service | null;
  /** Some service behind it takes new traffic; one without services has nothing to part from. */
  readonly accepting: boolean;
  /** Where a request is in flight whose head is not whole yet: nobody knows whose it is, so the first one's. -1: none. */
  readonly slot: number;
  readonly #exact = new Map<string, Host>();
  /** The longest suffix is the most specific one (Gateway API), and the first. */
  readonly #wildcards: readonly { readonly suffix: string; readonly host: Host }[];
  readonly #any: Host | null;

  /** The services' rules are those of the table that this is a part of. */
  constructor(services: readonly { readonly service: Service; readonly hostnames: readonly string[] }[]) {
    const named = new Map<string, Service[]>();
    for (const { service, hostnames } of services) {
      for (const hostname of hostnames.length === 0 ? [""] : hostnames) {
        const name = hostname.toLowerCase();
        named.set(name, [...(named.get(name) ?? []), service]);
      }
    }
    const wildcards: { suffix: string; host: Host }[] = [];
    let any: Host | null = null;
    for (const [name, own] of named) {
      const host = new Host([...new Set(own)]);
      if (name === "") any = host;
      else if (name.startsWith("*.")) wildcards.push({ suffix: name.slice(1), host });
      else this.#exact.set(name, host);
    }
    this.#any = any;
    this.#wildcards = wildcards.sort((a, b) => b.suffix.length - a.suffix.length);
    this.accepting = services.length === 0 || services.some(({ service }) => service.accepting);
    this.slot = services[0]?.service.slot ?? -1;
    this.only = named.size === 1 ? (any?.only ?? null) : null;
  }

  /** `authority` is a Host value, port and all. */
  host(authority: string): Host | null {
    const name = withoutPort(authority).toLowerCase();
    const exact = this.#exact.get(name);
    if (exact !== undefined) return exact;
    for (const { suffix, host } of this.#wildcards) {
      if (name.length > suffix.length && name.endsWith(suffix)) return host;
    }
    return this.#any;
  }
}

/** `host:port`, `[::1]:port`, `host` → the host. */
function withoutPort(authority: string): string {
  const colon = authority.lastIndexOf(":");
  return colon === -1 || authority.endsWith("]") ? authority : authority.slice(0, colon);
}
