/** The kinds of faults: whom each may befall, how often it is drawn, and what of the client's it may cut. */

export const FAULT_KINDS = [
  "kill-controller",
  "kill-core",
  "kill-worker",
  "kill-keeper",
  "kill-machine",
  "kill-app",
  "kill-nats",
  "kill-nats-majority",
  "stop-controller",
  "stop-core",
  "stop-worker",
  "stop-keeper",
  "stop-machine",
  "stop-app",
  "stop-nats",
  "cut",
  "hole",
  "delay",
  "trickle",
  "disk-full",
  "disk-stall",
  "clock-step",
] as const;
export type FaultKind = (typeof FAULT_KINDS)[number];

/** Whom it may befall. `link` is one part's way to the others. */
export type Victims = "controller" | "agent" | "host" | "nats" | "link" | "disk" | "clock";

export interface FaultSpec {
  readonly victims: Victims;
  readonly weight: number;
  /** How long it lasts, or how long a killed part stays down, milliseconds. */
  readonly lastsMs: readonly [number, number];
  /**
   * What the client may lose by it, and nothing else may:
   *   in-flight  what was under way on it at the moment of the strike
   *   refused    at a gateway: connections, until another process holds its listening socket
   */
  readonly mayCut: "nothing" | "in-flight" | "refused" | "in-flight+refused";
}

const HANGS: readonly [number, number] = [200, 8_000];
const DOWN: readonly [number, number] = [0, 3_000];

export const FAULTS: Readonly<Record<FaultKind, FaultSpec>> = {
  "kill-controller": { victims: "controller", weight: 8, lastsMs: DOWN, mayCut: "nothing" },
  "kill-core": { victims: "agent", weight: 8, lastsMs: [0, 0], mayCut: "nothing" },
  "kill-worker": { victims: "agent", weight: 8, lastsMs: [0, 0], mayCut: "in-flight" },
  // Workers finish what they have; but nobody holds the listening socket until there is another keeper.
  "kill-keeper": { victims: "agent", weight: 4, lastsMs: DOWN, mayCut: "refused" },
  "kill-machine": { victims: "agent", weight: 4, lastsMs: DOWN, mayCut: "in-flight+refused" },
  "kill-app": { victims: "host", weight: 6, lastsMs: [0, 0], mayCut: "in-flight" },
  "kill-nats": { victims: "nats", weight: 8, lastsMs: [0, 8_000], mayCut: "nothing" },
  "kill-nats-majority": { victims: "nats", weight: 4, lastsMs: [0, 8_000], mayCut: "nothing" },
  "stop-controller": { victims: "controller", weight: 6, lastsMs: HANGS, mayCut: "nothing" },
  "stop-core": { victims: "agent", weight: 5, lastsMs: HANGS, mayCut: "nothing" },
  "stop-worker": { victims: "agent", weight: 5, lastsMs: HANGS, mayCut: "nothing" },
  "stop-keeper": { victims: "agent", weight: 4, lastsMs: HANGS, mayCut: "nothing" },
  "stop-machine": { victims: "agent", weight: 5, lastsMs: HANGS, mayCut: "nothing" },
  "stop-app": { victims: "host", weight: 4, lastsMs: HANGS, mayCut: "nothing" },
  "stop-nats": { victims: "nats", weight: 5, lastsMs: HANGS, mayCut: "nothing" },
  cut: { victims: "link", weight: 6, lastsMs: [200, 9_000], mayCut: "nothing" },
  hole: { victims: "link", weight: 8, lastsMs: [500, 12_000], mayCut: "nothing" },
  delay: { victims: "link", weight: 4, lastsMs: [1_000, 10_000], mayCut: "nothing" },
  trickle: { victims: "link", weight: 4, lastsMs: [1_000, 10_000], mayCut: "nothing" },
  "disk-full": { victims: "disk", weight: 5, lastsMs: [500, 8_000], mayCut: "nothing" },
  "disk-stall": { victims: "disk", weight: 5, lastsMs: [200, 8_000], mayCut: "nothing" },
  "clock-step": { victims: "clock", weight: 5, lastsMs: [1_000, 15_000], mayCut: "nothing" },
};
