import { expect, test } from "vitest";
import type { AssignedService } from "../../../proto/contract/assignment.ts";
import { compile } from "../../../control/desired/compile.ts";
import { placed } from "../../../control/desired/placement.ts";
import type { CompileInput } from "../../../control/desired/types.ts";
import type { HostDesire } from "../../../control/model/rollout.ts";
import type { Host, Revision } from "../../../control/model/service.ts";
import type { FleetView, HostView } from "../../../control/model/view.ts";
import { revisionOf as revision, STRATEGY } from "../../sim/model/revisions.ts";
import { instance } from "../rollout/bench.ts";

const spec = (n: number): Revision => revision(n, { strategy: STRATEGY, onTimeout: "cut" });
const host = (name: string, patch: Partial<Host> = {}): Host => ({
  name,
  role: "host",
  labels: {},
  address: "127.0.0.1",
  software: "1",
  adminState: "ready",
  inboundPorts: "assigned",
  ports: { "shop/0": name.charCodeAt(0) + 40_000 },
  ...patch,
});
const gateway = host("gw", { role: "gateway", inboundPorts: "declared", ports: {} });
const said = (name: string, patch: Partial<HostView> = {}): HostView => ({
  name,
  role: name === "gw" ? "gateway" : "host",
  lease: "live",
  adminState: "ready",
  appliedHash: "x",
  askedHash: "x",
  rejected: "",
  instances: name === "gw" ? [] : [instance(1)],
  endpointInFlight: {},
  ...patch,
});
const view = (...hosts: readonly HostView[]): ReadonlyMap<string, FleetView> =>
  new Map([
    ["shop", { change: 0, traffic: {}, unexplainedLoss: 0, hosts: Object.fromEntries(hosts.map((h) => [h.name, h])) }],
  ]);

function base(patch: Partial<CompileInput> = {}): CompileInput {
  return {
    services: [{ name: "shop", stable: 1, previous: 0, newest: 2 }],
    revisions: [spec(1), spec(2)],
    rollouts: [],
    desires: new Map(),
    hosts: [gateway, host("a"), host("b")],
    views: view(said("gw"), said("a"), said("b")),
    previous: new Map(),
    ...patch,
  };
}
const at = (compiled: Map<string, AssignedService[]>, name: string): AssignedService => {
  const service = compiled.get(name)?.[0];
  if (service === undefined) throw new Error(`nothing is assigned to ${name}`);
  return service;
};
const endpoints = (compiled: Map<string, AssignedService[]>): readonly string[] =>
  at(compiled, "gw").endpoints.map((endpoint) => `${endpoint.host} ${endpoint.mode}`);

test("without a rollout every host serves the stable revision, and gateways send to all of them", () => {
  const compiled = compile(base());
  expect(at(compiled, "a").revisions).toMatchObject([{ revision: 1, mode: "serving", weight: 10_000 }]);
  expect(at(compiled, "a").listeners).toEqual([{ address: "127.0.0.1", port: 0, protocol: "http" }]);
  expect(at(compiled, "gw").listeners).toEqual([{ address: "127.0.0.1", port: 8080, protocol: "http" }]);
  expect(at(compiled, "gw").endpoints).toEqual([
    { host: "a", address: "127.0.0.1", port: 40_097, mode: "serving" },
    { host: "b", address: "127.0.0.1", port: 40_098, mode: "serving" },
  ]);
});

test("the order in which hosts and services are stored changes no hash", () => {
  const input = base();
  const turned = base({ hosts: [...input.hosts].reverse(), revisions: [...input.revisions].reverse() });
  expect(JSON.stringify(at(compile(turned), "gw"))).toBe(JSON.stringify(at(compile(input), "gw")));
});

test("a lost host, or one with nothing ready, stays an endpoint: only the gateway's own ejection acts on that (I5)", () => {
  const previous = compile(base());
  const silent = base({
    previous,
    views: view(said("gw"), said("a", { lease: "lost" }), said("b", { instances: [] })),
  });
  expect(endpoints(compile(silent))).toEqual(["a serving", "b serving"]);
});

test("a controller that has just started keeps unheard hosts as endpoints, though it remembers nothing", () => {
  const views = view(
    said("gw"),
    said("a", { lease: "unknown", instances: [] }),
    said("b", { lease: "unknown", instances: [] }),
  );
  expect(endpoints(compile(base({ views })))).toEqual(["a serving", "b serving"]);
});

test("another controller keeps a host whose apps have crashed where the gateway sends to it (I5)", () => {
  const crashed = (gw: HostView): CompileInput =>
    base({ views: view(gw, said("a", { instances: [instance(1, { state: "failed" })] }), said("b")) });
  const counts = said("gw", { endpointInFlight: { a: 0, b: 2 } });
  expect(endpoints(compile(crashed(counts)))).toEqual(["a serving", "b serving"]);
  expect(endpoints(compile(crashed(said("gw"))))).toEqual(["b serving"]);
  // It has not said what it does.
  expect(endpoints(compile(crashed(said("gw", { appliedHash: "" }))))).toEqual(["a serving", "b serving"]);
  expect(endpoints(compile(crashed(said("gw", { lease: "unknown" }))))).toEqual(["a serving", "b serving"]);
});

test("another controller drains what is to go out, as the one before would have", () => {
  const hosts = [gateway, host("a", { adminState: "drain" }), host("b")];
  const views = view(said("gw", { endpointInFlight: { a: 0, b: 0 } }), said("a"), said("b"));
  const first = compile(base({ hosts, views }));
  expect(endpoints(first)).toEqual(["a draining", "b serving"]);
  expect(endpoints(compile(base({ hosts, views, previous: first })))).toEqual(["b serving"]);
});

test("a host comes in only when its port is known and something ready serves there", () => {
  const hosts = [gateway, host("a", { ports: {} }), host("b")];
  const views = view(said("gw"), said("a"), said("b", { instances: [instance(1, { state: "starting" })] }));
  expect(endpoints(compile(base({ hosts, views })))).toEqual([]);
});

test("a host that is drained by an operator stops accepting, drains at the gateways, and is gone when nothing is in flight", () => {
  const hosts = [gateway, host("a", { adminState: "drain" }), host("b")];
  const busy = view(said("gw", { endpointInFlight: { a: 1 } }), said("a"), said("b"));
  const first = compile(base({ hosts, views: busy, previous: compile(base()) }));
  expect(at(first, "a").accepting).toBe(false);
  expect(at(first, "a").revisions).toMatchObject([{ mode: "serving" }]);
  expect(endpoints(first)).toEqual(["a draining", "b serving"]);
  const still = compile(base({ hosts, views: busy, previous: first }));
  expect(endpoints(still)).toEqual(["a draining", "b serving"]);
  expect(endpoints(compile(base({ hosts, previous: still })))).toEqual(["b serving"]);
  const unapplied = view(said("gw", { appliedHash: "older" }), said("a"), said("b"));
  expect(endpoints(compile(base({ hosts, previous: still, views: unapplied })))).toEqual(["a draining", "b serving"]);
});

test("a host that is asked to run nothing is not sent to, whatever a lost rollout left on it", () => {
  const nothing: HostDesire[] = [
    { host: "a", revisions: [], routed: true, split: null },
    { host: "b", revisions: [{ revision: 1, mode: "serving" }], routed: true, split: null },
  ];
  const desires = new Map([["shop", nothing]]);
  const lost = view(said("gw"), said("a", { lease: "lost" }), said("b"));
  expect(endpoints(compile(base({ desires, views: lost })))).toEqual(["b serving"]);
  const busy = view(said("gw", { endpointInFlight: { a: 1 } }), said("a", { lease: "lost" }), said("b"));
  expect(endpoints(compile(base({ desires, views: busy, previous: compile(base()) })))).toEqual([
    "a draining",
    "b serving",
  ]);
});

test("a host found serving another revision keeps it until the right one is ready beside it", () => {
  const behind = (instances: HostView["instances"]) =>
    at(
      compile(
        base({
          services: [{ name: "shop", stable: 2, previous: 1, newest: 2 }],
          views: view(said("a", { instances })),
        }),
      ),
      "a",
    ).revisions.map((r) => `${r.revision} ${r.mode} ${r.weight}`);
  expect(behind([instance(1)])).toEqual(["1 serving 10000", "2 standby 0"]);
  expect(behind([instance(1), instance(2, { state: "starting" })])).toEqual(["1 serving 10000", "2 standby 0"]);
  expect(behind([instance(1), instance(2, { state: "ready" })])).toEqual(["2 serving 10000"]);
  // Back from a restart with both of them starting: taking either away may take the one that serves.
  expect(behind([instance(1, { state: "starting" }), instance(2, { state: "starting" })])).toEqual([
    "1 serving 5000",
    "2 serving 5000",
  ]);
  expect(behind([instance(1, { state: "failed" })])).toEqual(["2 serving 10000"]);
});

// Found by the simulation, seed 51011: the host was lost in the rollout before, and its version was never ready there.
test("a target that has a share only does not take the place of what a host was found serving", () => {
  const share = (weight: number) => {
    const split = { target: 3, weight, sticky: null, routes: [], mirrors: [] };
    const revisions: HostDesire["revisions"] = [
      { revision: 2, mode: "serving" },
      { revision: 3, mode: "serving" },
    ];
    const instances = [instance(1), instance(2, { state: "starting" }), instance(3, { state: "ready" })];
    const desires = new Map([["shop", [{ host: "a", revisions, routed: true, split }]]]);
    const input = base({ revisions: [spec(1), spec(2), spec(3)], desires, views: view(said("a", { instances })) });
    return at(compile(input), "a").revisions.map((r) => `${r.revision} ${r.mode} ${r.weight}`);
  };
  for (const weight of [0, 2_000]) expect(share(weight)).toEqual(["1 serving 10000", "2 standby 0", "3 standby 0"]);
  expect(share(10_000)).toEqual(["2 serving 0", "3 serving 10000"]);
});

test("in a rollout the desires are the word, and the gateway keeps the stable revision's face until it is promoted", () => {
  const desires: HostDesire[] = [
    {
      host: "a",
      routed: true,
      split: null,
      revisions: [
        { revision: 2, mode: "serving" },
        { revision: 1, mode: "draining" },
      ],
    },
    { host: "b", routed: false, split: null, revisions: [{ revision: 1, mode: "draining" }] },
  ];
  const wider = { ...spec(2), spec: { ...spec(2).spec, hostnames: ["new.example"] } };
  const input = base({ revisions: [spec(1), wider], desires: new Map([["shop", desires]]), previous: compile(base()) });
  const compiled = compile(input);
  expect(at(compiled, "a").revisions.map((r) => [r.revision, r.mode, r.weight])).toEqual([
    [1, "draining", 0],
    [2, "serving", 10_000],
  ]);
  expect(at(compiled, "a").hostnames).toEqual(["new.example"]);
  expect(at(compiled, "b").accepting).toBe(false);
  expect(at(compiled, "gw").hostnames).toEqual([]);
  expect(endpoints(compiled)).toEqual(["a serving", "b draining"]);
});

test("an external service without hosts is served by the gateways, each version by its own addresses", () => {
  const instances = [
    { version: "v1", host: null, address: "127.0.0.1", port: 9001 },
    { version: "v2", host: null, address: "127.0.0.1", port: 9002 },
    { version: "v1", host: "elsewhere", address: "127.0.0.1", port: 9003 },
  ];
  const external = { ...spec(1), spec: { ...spec(1).spec, run: { kind: "external" as const, instances } } };
  expect(placed(external.spec, [gateway])).toEqual(["gw"]);
  expect(placed(external.spec, [gateway, host("a")])).toEqual(["a"]);
  const assigned = at(compile(base({ revisions: [external], hosts: [gateway] })), "gw");
  expect(assigned.endpoints).toEqual([]);
  expect(assigned.listeners).toEqual([{ address: "127.0.0.1", port: 8080, protocol: "http" }]);
  expect(assigned.revisions[0]?.run).toEqual({ kind: "external", instances: [instances[0]] });
});

test("placement: names or labels; neither means every host, and a gateway is never one for processes", () => {
  const hosts = [gateway, host("b", { labels: { zone: "x" } }), host("a")];
  const place = (names: readonly string[], labels: Readonly<Record<string, string>>) =>
    placed({ ...spec(1).spec, placement: { hosts: names, labels } }, hosts);
  expect(place([], {})).toEqual(["a", "b"]);
  expect(place(["a"], {})).toEqual(["a"]);
  expect(place([], { zone: "x" })).toEqual(["b"]);
  expect(place(["a"], { zone: "x" })).toEqual(["a", "b"]);
  expect(place(["gone"], {})).toEqual([]);
});

test("switched to a version that is not ready on a host, whose machine is just back, the one before stands in there", () => {
  const both = [
    { revision: 1, mode: "serving" },
    { revision: 2, mode: "serving" },
  ] as const;
  const split = { target: 2, weight: 10_000, sticky: null, routes: [], mirrors: [] };
  const desires = new Map([["shop", [{ host: "a", revisions: both, routed: true, split }]]]);
  const weights = (state: "starting" | "serving", before: "starting" | "serving" = "serving"): readonly number[] => {
    const views = view(
      said("gw"),
      said("b"),
      said("a", { instances: [instance(1, { state: before }), instance(2, { state })] }),
    );
    return at(compile(base({ desires, views })), "a").revisions.map((revision) => revision.weight);
  };
  expect(weights("starting")).toEqual([10_000, 0]);
  expect(weights("serving")).toEqual([0, 10_000]);
  // Nobody is there to stand in: it is as it was asked to be.
  expect(weights("starting", "starting")).toEqual([0, 10_000]);
});

test("a host that is not placed any more serves on until gateways have let go of it, also after a rollout that left it behind", () => {
  const leaves = (n: number): Revision => {
    const whole = spec(n);
    return { ...whole, spec: { ...whole.spec, placement: { hosts: ["a"], labels: {} } } };
  };
  const before = compile(base());
  const services = [{ name: "shop", stable: 2, previous: 1, newest: 2 }];
  const next = { services, revisions: [spec(1), leaves(2)] };
  const busy = said("gw", { endpointInFlight: { b: 1 } });
  const first = compile(base({ ...next, previous: before, views: view(busy, said("a"), said("b")) }));
  expect(endpoints(first)).toEqual(["a serving", "b draining"]);
  expect(at(first, "b")).toBe(at(before, "b"));
  const second = compile(base({ ...next, previous: first, views: view(said("gw"), said("a"), said("b")) }));
  expect(endpoints(second)).toEqual(["a serving"]);
  expect(at(second, "b")).toBe(at(before, "b"));
  const third = compile(base({ ...next, previous: second, views: view(said("gw"), said("a"), said("b")) }));
  expect(third.get("b")).toEqual([]);
});
