import fc from "fast-check";
import { expect, test } from "vitest";
import type { SessionPort } from "../../../control/fleet/agent.ts";
import { Fleet } from "../../../control/fleet/fleet.ts";
import { fleetView } from "../../../control/fleet/view.ts";
import { FleetViews } from "../../../control/fleet/views.ts";
import { Books } from "../../../control/ledger/books.ts";
import type { Host } from "../../../control/model/service.ts";
import type { HostView } from "../../../control/model/view.ts";
import type { Applied, AssignedService, Assignment } from "../../../proto/contract/assignment.ts";
import { assignmentHash, serviceHash } from "../../../proto/contract/canonical.ts";
import type { InstanceReport, Report } from "../../../proto/contract/report.ts";
import { INSTANCE_STATES } from "../../../proto/contract/report.ts";
import type { ControllerMessage } from "../../../proto/contract/session.ts";
import { silentLog } from "../../../proto/kernel/log.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { host, instance, report, spec, traffic } from "../../support/samples.ts";

const NAMES = ["a", "b", "gw"] as const;
const SERVICES = ["shop", "cart"];
const role = (name: string): "host" | "gateway" => (name === "gw" ? "gateway" : "host");

/** Variant 0..5 of what one agent is asked: none, one or both services, in one of two contents. */
function asked(variant: number): readonly AssignedService[] {
  const { rules, drain, listen } = spec();
  const face = { rollout: "", listeners: listen, rules, drain, accepting: true, sticky: null, routes: [], mirrors: [] };
  const of = (name: string): AssignedService => {
    return { name, ...face, hostnames: [variant > 2 ? "a.test" : "b.test"], revisions: [], endpoints: [] };
  };
  return [of("shop"), of("cart")].slice(0, variant % 3);
}

class Session implements SessionPort {
  readonly id = "s";
  readonly peer = "127.0.0.1:1";
  last: Assignment | null = null;
  send(message: ControllerMessage): void {
    if (message.kind === "assignment") this.last = message.assignment;
  }
  end(): void {
    this.last = null;
  }
}

/** As often as they stand here: what leads to an assignment in flight, and on from there. */
const KINDS = [
  ...(["join", "report", "report", "want", "want", "flush", "flush", "flush"] as const),
  ...(["applied", "rejected", "rejected", "leave", "wait", "drain"] as const),
];
const event = fc.record({
  kind: fc.constantFrom(...KINDS),
  name: fc.constantFrom("a", "a", "a", "a", "gw", "b"),
  number: fc.nat(5),
  state: fc.constantFrom(...INSTANCE_STATES),
  inFlight: fc.nat(2),
  held: fc.constantFrom("", "", "", "why"),
});
type Event = typeof event extends fc.Arbitrary<infer T> ? T : never;

class World {
  readonly clock = new FakeClock();
  readonly fleet: Fleet;
  readonly views: FleetViews;
  hosts: readonly Host[] = NAMES.map((name) => host(name, { role: role(name) }));
  readonly #sessions = new Map<string, Session>();
  readonly #applied = new Map<string, Applied>();
  readonly #lists = new Map<string, { readonly all: readonly Host[]; readonly hosts: readonly Host[] }>();
  #seq = 0;

  constructor() {
    const news = { changed: () => undefined, event: () => undefined, report: () => undefined, lost: () => undefined };
    this.fleet = new Fleet({ clock: this.clock, log: silentLog, leaseMs: 5_000, news }, NAMES);
    this.views = new FleetViews(this.fleet);
  }

  refresh(counting: boolean): void {
    this.views.refresh(
      SERVICES.map((service) => ({ service, hosts: this.hostsOf(service) })),
      () => counting,
    );
  }

  /** Of the cart's, one comes and goes: it is what it has to do with while it takes new traffic. */
  hostsOf(service: string): readonly Host[] {
    const all = this.hosts;
    const known = this.#lists.get(service);
    if (known?.all === all) return known.hosts;
    const hosts =
      service === "shop" ? all : all.filter(({ name, adminState }) => name !== "b" || adminState === "ready");
    this.#lists.set(service, { all, hosts });
    return hosts;
  }

  async play({ kind, name, number, state, inFlight, held }: Event): Promise<void> {
    const { fleet, clock } = this;
    const agent = fleet.agent(name)!;
    const session = this.#sessions.get(name);
    switch (kind) {
      case "join": {
        const fresh = new Session();
        const hello = { protocolVersion: 1, host: name, role: role(name), labels: {}, boot: "b", software: "t" };
        const rest = { address: "x", highestEpoch: 0, inboundPorts: "assigned" } as const;
        const connected = fleet.connect({ ...hello, ...rest, applied: this.#applied.get(name) ?? null }, fresh);
        if (connected.kind === "open") {
          connected.agent.toldEpoch = 1;
          this.#sessions.set(name, fresh);
        }
        break;
      }
      case "leave":
        if (session !== undefined) fleet.disconnected(agent, session);
        this.#sessions.delete(name);
        break;
      case "report":
        if (session !== undefined)
          fleet.receive(agent, session, { kind: "report", report: this.#report(name, number, state, inFlight) });
        break;
      case "applied":
        if (session?.last == null) break;
        this.#applied.set(name, applied(session.last));
        fleet.receive(agent, session, { kind: "applied", applied: applied(session.last) });
        break;
      case "rejected":
        if (session?.last == null) break;
        fleet.receive(agent, session, { kind: "rejected", rejected: { ...session.last, why: "no" } });
        break;
      case "want":
        fleet.want(name, asked(number), held);
        break;
      case "flush":
        fleet.flush(1);
        break;
      case "wait":
        await clock.advance(number * 1_500);
        break;
      case "drain":
        this.hosts = this.hosts.map((of) => {
          const adminState = of.adminState === "ready" ? "drain" : "ready";
          return of.name === name ? { ...of, adminState } : of;
        });
    }
    // The controller looks at leases four times a second.
    fleet.sweep();
  }

  #report(name: string, number: number, state: InstanceReport["state"], inFlight: number): Report {
    this.#seq += 1;
    const rows = { a: number, b: inFlight };
    return report({
      boot: "b",
      seq: this.#seq,
      applied: this.#applied.get(name) ?? null,
      instances: Array.from({ length: number % 3 }, (_, i) =>
        instance(`i${i}`, { service: SERVICES[i % 2]!, state, inFlight, started: this.#seq }),
      ),
      traffic: Object.entries(rows).map(([endpoint, level]) => traffic(endpoint, { inFlight: level })),
    });
  }

  fresh(service: string): Readonly<Record<string, HostView>> {
    const of = { service, rollout: "", change: 0 };
    return fleetView(this.fleet, new Books({ counts: [], ledgers: [] }, 0, 0), this.hostsOf(service), of).hosts;
  }
}

function applied({ epoch, generation, services }: Assignment): Applied {
  const hashes = Object.fromEntries(services.map((service) => [service.name, serviceHash(service)]));
  return { epoch, generation, hash: assignmentHash(services), services: hashes };
}

/** Without what nobody counts on. */
const still = (views: Readonly<Record<string, HostView>>): unknown =>
  Object.values(views).map((view) => {
    return { ...view, endpointInFlight: {}, instances: view.instances.map((i) => ({ ...i, inFlight: 0 })) };
  });

test("views that are kept are the views made afresh, whatever happened in between", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(event, fc.boolean()), { maxLength: 60, size: "max" }),
      fc.boolean(),
      async (events, counting) => {
        const world = new World();
        for (const [one, look] of events) {
          await world.play(one);
          if (!look) continue;
          world.refresh(counting);
          for (const service of SERVICES) {
            if (counting) expect(world.views.of(service)).toEqual(world.fresh(service));
            else expect(still(world.views.of(service))).toEqual(still(world.fresh(service)));
          }
        }
        // Who begins to count has the newest at once.
        world.refresh(true);
        for (const service of SERVICES) expect(world.views.of(service)).toEqual(world.fresh(service));
      },
    ),
    { numRuns: 100 },
  );
});

test("reports that say nothing new leave every record the object that it was", async () => {
  const world = new World();
  const quiet = { kind: "report", name: "a", number: 2, state: "serving", inFlight: 0, held: "" } as const;
  await world.play({ ...quiet, kind: "join" });
  await world.play(quiet);
  world.refresh(false);
  const before = world.views.of("shop");
  for (let n = 0; n < 20; n++) await world.play({ ...quiet, inFlight: n });
  world.refresh(false);
  expect(world.views.of("shop")).toBe(before);
});

test("a change that nobody was told of is seen within ten seconds", async () => {
  const world = new World();
  await world.play({ kind: "want", name: "a", number: 2, state: "serving", inFlight: 0, held: "" });
  world.refresh(false);
  expect(world.views.of("shop")["a"]?.askedHash).not.toBe("");
  world.fleet.agent("a")!.held = "told to nobody";
  for (let n = 0; n < 40; n++) world.fleet.sweep();
  world.refresh(false);
  expect(world.views.of("shop")["a"]?.askedHash).toBe("");
});
