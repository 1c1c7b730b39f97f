/**
 * What agent and controller say to each other over one session, as either side's code holds it. `wire.ts` makes it of
 * protobuf and back; PROTOCOL.md says when each is sent.
 */
import type { Applied, Assignment, Rejected } from "./assignment.ts";
import type { Report } from "./report.ts";

export const ROLES = ["host", "gateway"] as const;
/** A host runs instances and serves them; a gateway takes traffic from outside and balances over the hosts. */
export type Role = (typeof ROLES)[number];

export const INBOUND_PORTS = ["declared", "assigned"] as const;
/** How an agent binds its inbound listeners: as the spec says, or on ports that the kernel gives. */
export type InboundPorts = (typeof INBOUND_PORTS)[number];

export interface Hello {
  readonly protocolVersion: number;
  /** The agent's name; one live session a name, and the newest wins. */
  readonly host: string;
  readonly role: Role;
  readonly labels: Readonly<Record<string, string>>;
  readonly boot: string;
  /** Baton's version. */
  readonly software: string;
  /** Where others reach this agent's inbound listeners: an IP literal or host name, no port. */
  readonly address: string;
  /** The highest ever seen, 0 for none: the controller's epoch must not be below it. */
  readonly highestEpoch: number;
  readonly applied: Applied | null;
  readonly inboundPorts: InboundPorts;
}

export interface Welcome {
  readonly epoch: number;
  readonly session: string;
  readonly reportEveryMs: number;
  readonly leaseMs: number;
}

/** Close this stream and open a new one within so long, at a moment of the agent's choosing. */
export interface Reconnect {
  readonly withinMs: number;
  readonly reason: string;
}

export type AgentMessage =
  | { readonly kind: "hello"; readonly hello: Hello }
  | { readonly kind: "applied"; readonly applied: Applied }
  | { readonly kind: "rejected"; readonly rejected: Rejected }
  | { readonly kind: "report"; readonly report: Report };

export type ControllerMessage =
  | { readonly kind: "welcome"; readonly welcome: Welcome }
  | { readonly kind: "assignment"; readonly assignment: Assignment }
  | { readonly kind: "reconnect"; readonly reconnect: Reconnect };
