import fc from "fast-check";
import { expect, test } from "vitest";
import { Compiled } from "../../../control/compiled.ts";
import { Concerned } from "../../../control/concerned.ts";
import type { ServiceInput } from "../../../control/compiled.ts";
import { compile } from "../../../control/desired/compile.ts";
import type { HostTrack, Rollout } from "../../../control/model/rollout.ts";
import type { Host, Revision, Service } from "../../../control/model/service.ts";
import type { HostView } from "../../../control/model/view.ts";
import { desires } from "../../../control/rollout/engine.ts";
import type { AssignedService } from "../../../proto/contract/assignment.ts";
import { assignmentHash, serviceHash } from "../../../proto/contract/canonical.ts";
import { hashed } from "../../../control/fleet/hashes.ts";
import { host, revision, rollout, spec } from "../../support/samples.ts";

const SERVICES = ["cart", "shop"] as const;
const HOSTS = ["a", "b", "c"] as const;

const revisions: Readonly<Record<string, readonly Revision[]>> = Object.fromEntries(
  SERVICES.map((service) => [
    service,
    [1, 2].map((n) => {
      // The cart's second version is placed elsewhere.
      const hosts = service === "shop" ? [] : n === 1 ? ["a", "b"] : ["b", "c"];
      return revision(n, {
        service,
        spec: spec({ name: service, version: `v${n}`, placement: { hosts, labels: {} } }),
      });
    }),
  ]),
);

const change = fc.oneof(
  fc.record({
    kind: fc.constant("view" as const),
    service: fc.constantFrom(...SERVICES),
    host: fc.constantFrom(...HOSTS, "gw"),
    lease: fc.constantFrom("live" as const, "live" as const, "unknown" as const, "lost" as const),
    runs: fc.subarray([1, 2]),
    state: fc.constantFrom("starting" as const, "ready" as const, "serving" as const),
    agreed: fc.boolean(),
    inFlight: fc.nat(1),
    rejected: fc.constantFrom("", "", "port taken"),
  }),
  fc.record({
    kind: fc.constant("track" as const),
    service: fc.constantFrom(...SERVICES),
    host: fc.constantFrom(...HOSTS),
    modes: fc.array(fc.constantFrom("standby" as const, "serving" as const, "draining" as const), { maxLength: 2 }),
    routed: fc.boolean(),
  }),
  fc.record({ kind: fc.constant("end" as const), service: fc.constantFrom(...SERVICES), stable: fc.nat(2) }),
  fc.record({
    kind: fc.constant("host" as const),
    host: fc.constantFrom(...HOSTS),
    drained: fc.boolean(),
    port: fc.nat(1),
  }),
  fc.record({ kind: fc.constant("retire" as const), service: fc.constantFrom(...SERVICES) }),
);
type Change = typeof change extends fc.Arbitrary<infer T> ? T : never;

const track = (name: string, patch: Partial<HostTrack> = {}): HostTrack => ({
  ...{ host: name, way: "surge", stage: "waiting", towards: 2, goal: 2, home: 1, routed: true },
  revisions: [{ revision: 1, mode: "serving" }],
  ...{ sinceMs: 1, drainSinceMs: 0, servesSinceMs: 0, healthyAtMs: 0, healthyMark: 0, unhealthyAtMs: 0 },
  ...{ exitsAllowed: 0, cutAllowed: false, waitingFor: "", ...patch },
});

class World {
  services: readonly Service[] = SERVICES.map((name) => ({ name, stable: 1, previous: 0, newest: 2 }));
  hosts: readonly Host[] = [
    ...HOSTS.map((name) => host(name)),
    host("gw", { role: "gateway", inboundPorts: "declared" }),
  ];
  rollouts = new Map<string, Rollout>();
  views = new Map<string, Readonly<Record<string, HostView>>>(SERVICES.map((name) => [name, {}]));

  play(it: Change): void {
    switch (it.kind) {
      case "view": {
        const instances = it.runs.map((n) => ({
          ...{
            id: `i${n}`,
            revision: n,
            state: it.state,
            healthySinceMs: it.state === "starting" ? 0 : 1,
            wasReady: it.state !== "starting",
          },
          ...{ restarts: 0, inFlight: it.inFlight, exit: "", reason: "" },
        }));
        const view: HostView = {
          ...{ name: it.host, role: it.host === "gw" ? "gateway" : "host", lease: it.lease, adminState: "ready" },
          ...{ appliedHash: it.agreed ? "x" : "y", askedHash: "x", rejected: it.rejected, instances },
          endpointInFlight: { a: it.inFlight },
        };
        this.views.set(it.service, { ...this.views.get(it.service), [it.host]: view });
        return;
      }
      case "track": {
        const known = this.rollouts.get(it.service);
        const base = known ?? rollout({ id: `${it.service}-r2`, service: it.service, from: 1, to: 2 });
        const asked = it.modes.map((mode, i) => ({ revision: i + 1, mode }));
        const hosts = HOSTS.map((name) => {
          const before = base.hosts.find((one) => one.host === name) ?? track(name);
          return name === it.host ? { ...before, revisions: asked, routed: it.routed } : before;
        });
        this.rollouts.set(it.service, { ...base, hosts, change: base.change + 1 });
        return;
      }
      case "end":
        this.rollouts.delete(it.service);
        this.services = this.services.map((s) => (s.name === it.service ? { ...s, stable: it.stable } : s));
        return;
      case "host": {
        const adminState = it.drained ? "drain" : "ready";
        const ports = it.port === 0 ? {} : { "shop/0": 4_001, "cart/0": 4_002 };
        this.hosts = this.hosts.map((of): Host => (of.name === it.host ? { ...of, adminState, ports } : of));
        return;
      }
      case "retire": {
        const name = it.service;
        const there = this.services.some((service) => service.name === name);
        const without = this.services.filter((service) => service.name !== name);
        const back = [...without, { name, stable: 1, previous: 0, newest: 2 }];
        this.services = there ? without : back.toSorted((a, b) => (a.name < b.name ? -1 : 1));
      }
    }
  }

  readonly #concerned = new Concerned();

  inputs(): ServiceInput[] {
    return this.services.map((service) => {
      const rollout = this.rollouts.get(service.name);
      const all = revisions[service.name]!;
      const asked = [service.stable, ...(rollout === undefined ? [] : [1, 2])];
      const inQuestion = asked.map((n) => all.find((one) => one.revision === n));
      const hosts = this.#concerned.of(service.name, { all: this.hosts, revisions: inQuestion, rollout });
      return { service, hosts, revisions: all, rollout, views: this.views.get(service.name)! };
    });
  }

  readonly host = (name: string): Host | undefined => this.hosts.find((host) => host.name === name);
}

test("desired state that is kept is the one compiled afresh, whatever changed in between", () => {
  fc.assert(
    fc.property(fc.array(change, { maxLength: 50, size: "max" }), (changes) => {
      const world = new World();
      const kept = new Compiled();
      let previous = new Map<string, AssignedService[]>();
      const seen = new Map<string, readonly AssignedService[]>();
      for (const one of [null, ...changes]) {
        if (one !== null) world.play(one);
        const inputs = world.inputs();
        const rollouts = inputs.flatMap(({ rollout: of }) => (of === undefined ? [] : [of]));
        previous = compile({
          ...{ services: world.services, hosts: world.hosts, rollouts, previous },
          revisions: inputs.flatMap((input) => input.revisions),
          desires: new Map(rollouts.map((of) => [of.service, desires(of)])),
          views: new Map(
            [...world.views].map(([name, hosts]) => [name, { change: 0, hosts, traffic: {}, unexplainedLoss: 0 }]),
          ),
        });
        const changed = kept.update(inputs, world.host);
        for (const { name } of world.hosts) {
          expect(kept.of(name)).toEqual(previous.get(name) ?? []);
          // Whoever is not named as changed has the very same list.
          if (!changed.has(name)) expect(kept.of(name)).toBe(seen.get(name) ?? kept.of(name));
          seen.set(name, kept.of(name));
        }
      }
    }),
    { numRuns: 100 },
  );
});

test("a rollout of one service leaves what is asked for the other the object that it was", () => {
  const world = new World();
  const kept = new Compiled();
  kept.update(world.inputs(), world.host);
  const [cart] = kept.of("a");
  world.play({ kind: "track", service: "shop", host: "b", modes: ["serving", "standby"], routed: true });
  const changed = kept.update(world.inputs(), world.host);
  expect(kept.of("a")[0]).toBe(cart);
  expect(changed.has("b")).toBe(true);
  world.play({ kind: "track", service: "shop", host: "b", modes: ["draining", "serving"], routed: true });
  expect([...kept.update(world.inputs(), world.host)]).toEqual(["b"]);
  expect([...kept.update(world.inputs(), world.host)]).toEqual([]);
});

test("hashes that are kept are those of the contract", () => {
  const world = new World();
  const kept = new Compiled();
  kept.update(world.inputs(), world.host);
  const both = kept.of("gw");
  for (const services of [both, both.slice(0, 1), both, both.slice(1), []]) {
    const { hash, hashes } = hashed(services);
    expect(hash).toBe(assignmentHash(services));
    expect(hashes).toEqual(Object.fromEntries(services.map((service) => [service.name, serviceHash(service)])));
  }
});
