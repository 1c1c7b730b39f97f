/**
 * What the core tells a worker: everything a request needs, as plain JSON, whole. `table.ts` compiles it once into the
 * immutable table that requests are routed by; a new one replaces the old in one assignment.
 */
import type { VersionMirror, VersionRoute } from "../../proto/contract/assignment.ts";
import type { DrainSpec, RuleSpec, StickySpec } from "../../proto/contract/spec/types.ts";

export interface TableConfig {
  /** Grows by one with every change; the worker answers `applied` with it. Local to this agent's core. */
  readonly sequence: number;
  /** Sent as `Via` pseudonym, and named in errors that Baton itself answers. */
  readonly agent: string;
  readonly listeners: readonly ListenerConfig[];
  readonly services: readonly ServiceConfig[];
}

export interface ListenerConfig {
  /** `address:port` as bound: the name under which the keeper hands the descriptor over. */
  readonly key: string;
  /** The services reachable through it: indices into `services`. */
  readonly services: readonly number[];
}

export interface ServiceConfig {
  readonly name: string;
  readonly hostnames: readonly string[];
  readonly rules: readonly RuleConfig[];
  readonly drain: DrainSpec;
  /** false: answer with `Connection: close` and let idle connections go; requests that come are still served. */
  readonly accepting: boolean;
  /** Shares of new requests, oldest version first, newest last (split.ts); they sum to WHOLE or are all 0. */
  readonly versions: readonly VersionConfig[];
  /** Where requests that reach no endpoint are counted. */
  readonly slot: number;
  /** Sticky split, routes and mirrors count only where the endpoint is an app. */
  readonly sticky: StickySpec | null;
  readonly routes: readonly VersionRoute[];
  readonly mirrors: readonly VersionMirror[];
}

export type RuleConfig = RuleSpec;

export interface VersionConfig {
  /** 0: of other agents. */
  readonly revision: number;
  readonly version: string;
  readonly weight: number;
  readonly endpoints: readonly EndpointConfig[];
}

export interface EndpointConfig {
  /** Instance id, or the host's name at a gateway. */
  readonly id: string;
  readonly address: string;
  readonly port: number;
  /** app: an instance. agent: another Baton agent's inbound listener, whose `baton-error` header is believed. */
  readonly kind: "app" | "agent";
  /** draining: nothing new; what runs on it is finished, by the service's drain policy, from the moment it says so. */
  readonly mode: "serving" | "draining";
  /** Its record in the statistics file; never reused within a boot. */
  readonly slot: number;
}
