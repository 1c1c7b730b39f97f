/**
 * A process full of light agents. Its parent's first message is its part; then it answers `counts` with its totals, and
 * takes `rate` as the requests a second that each agent is to count. Ends when the parent does.
 */
import { LightAgent } from "./light-agent.ts";
import type { Pace } from "./light-agent.ts";
import { Line, NatsWay, nothing } from "./line.ts";
import type { Counts, Way } from "./line.ts";

export interface Part {
  readonly over: "grpc" | "nats";
  /** The controllers' addresses, or the NATS servers' URLs, with commas between. */
  readonly to: string;
  readonly agents: readonly Planned[];
  /** Over so many connections. */
  readonly connections: number;
  readonly pace: Pace;
}

export interface Planned {
  readonly host: string;
  readonly role: "host" | "gateway";
  readonly labels: Readonly<Record<string, string>>;
}

export type Asked = { readonly kind: "counts" } | { readonly kind: "rate"; readonly perSecond: number };
export interface Answer extends Counts {
  readonly connected: number;
}

/** Hellos a second: a fleet does not start in one moment. */
const HELLOS = 1_000;

async function main(part: Part): Promise<void> {
  const counts = nothing();
  const overNats: NatsWay[] = [];
  if (part.over === "nats") {
    for (let i = 0; i < part.connections; i++) overNats.push(await NatsWay.open(part.to, counts));
  }
  const ways: readonly Way[] =
    part.over === "nats" ? overNats : Array.from({ length: part.connections }, () => new Line(part.to, counts));
  const agents: LightAgent[] = [];
  process.on("message", (asked: Asked) => {
    if (asked.kind === "rate") for (const agent of agents) agent.rate = asked.perSecond;
    else {
      const connected = agents.filter((agent) => agent.connected).length;
      if (part.over === "nats") NatsWay.sum(overNats, counts);
      process.send?.({ ...counts, connected } satisfies Answer);
    }
  });
  process.on("disconnect", () => process.exit(0));
  for (const [i, planned] of part.agents.entries()) {
    agents.push(new LightAgent({ ...planned, way: ways[i % ways.length]!, pace: part.pace }));
    if (i % (HELLOS / 50) === 0) await new Promise((wait) => setTimeout(wait, 20));
  }
}

process.once("message", (part: Part) => void main(part));
