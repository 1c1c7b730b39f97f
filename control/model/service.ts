/** What the controller keeps of services and hosts. Pure values; the store reads and writes them whole. */
import type { ServiceSpec } from "../../proto/contract/spec/types.ts";

export interface Revision {
  readonly service: string;
  /** 1, 2, 3 … per service; never reused. */
  readonly revision: number;
  readonly version: string;
  readonly spec: ServiceSpec;
  readonly specHash: string;
  readonly createdAtMs: number;
}

export interface Service {
  readonly name: string;
  /** The revision that traffic rests on when nothing rolls; 0 until the first rollout ends well. */
  readonly stable: number;
  /** The stable one before it, for `undo`; 0 if none. */
  readonly previous: number;
  /** The newest stored revision. */
  readonly newest: number;
}

export interface Host {
  readonly name: string;
  readonly role: "host" | "gateway";
  readonly labels: Readonly<Record<string, string>>;
  /** Where others reach its inbound listeners. */
  readonly address: string;
  readonly software: string;
  /** HAProxy's words: `drain` takes no new traffic from outside; what runs is finished. */
  readonly adminState: "ready" | "drain";
  /**
   * declared  it binds the listeners as the spec says (a machine of its own)
   * assigned  it binds port 0 at `address` and reports what it got (several agents on one machine)
   */
  readonly inboundPorts: "declared" | "assigned";
  /** Ports of its inbound listeners, as it reported them: "service/listener index" → port. */
  readonly ports: Readonly<Record<string, number>>;
}
