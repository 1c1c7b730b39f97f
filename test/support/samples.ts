/** Model values for tests of the controller: complete, plain, changed by what a test passes. */
import { EVERY_REQUEST, NO_FILTERS } from "../../proto/contract/spec/types.ts";
import type { HostTrack, JournalEntry, Rollout } from "../../control/model/rollout.ts";
import type { Host, Revision } from "../../control/model/service.ts";
import type { InstanceReport, Report, TrafficReport } from "../../proto/contract/report.ts";
import { specHash } from "../../proto/contract/spec/document.ts";
import { CUT_CAUSES, LOSS_CAUSES } from "../../proto/contract/report.ts";
import type { RollingStrategy, ServiceSpec } from "../../proto/contract/spec/types.ts";

export const strategy: RollingStrategy = {
  kind: "rolling",
  maxSurge: { kind: "count", value: 1 },
  maxUnavailable: { kind: "count", value: 0 },
  minHealthyMs: 0,
  healthyDeadlineMs: 5_000,
  progressDeadlineMs: 30_000,
  autoRevert: true,
  maxErrorRate: 0.5,
  minRequests: 100,
  onPartition: "pause",
  onSupersede: "retarget",
  rollbackWindow: 0,
  analysis: null,
  staggerMs: 0,
  orderBy: "",
  firstHostMs: 0,
};

export const spec = (changes: Partial<ServiceSpec> = {}): ServiceSpec => ({
  name: "shop",
  version: "v1",
  labels: {},
  listen: [{ address: "127.0.0.1", port: 0, protocol: "http" }],
  hostnames: [],
  rules: [
    {
      ...EVERY_REQUEST,
      ...NO_FILTERS,
      path: { type: "PathPrefix", value: "/" },
      timeouts: { requestMs: null },
      retry: { attempts: 1, methods: [] },
    },
  ],
  placement: { hosts: [], labels: {} },
  run: { kind: "process", command: ["node", "server.js"], cwd: "/", env: {}, count: 1 },
  health: null,
  drain: { timeoutMs: 1_000, sseMs: 500, websocketMs: 500, killMs: 500, onTimeout: "cut" },
  strategy,
  ...changes,
});

export function revision(number: number, changes: Partial<Revision> = {}): Revision {
  const own = changes.spec ?? spec({ version: `v${number}` });
  return {
    service: "shop",
    revision: number,
    version: `v${number}`,
    spec: own,
    specHash: specHash(own),
    createdAtMs: 1_000 + number,
    ...changes,
  };
}

export const host = (name: string, changes: Partial<Host> = {}): Host => ({
  name,
  role: "host",
  labels: {},
  address: "127.0.0.1",
  software: "test",
  adminState: "ready",
  inboundPorts: "assigned",
  ports: {},
  ...changes,
});

export const rollout = (changes: Partial<Rollout> = {}): Rollout => ({
  id: "shop-r1-000001",
  service: "shop",
  from: 0,
  to: 1,
  strategy,
  stage: { kind: "pending" },
  pause: null,
  hosts: [],
  startedAtMs: 1_000,
  endedAtMs: 0,
  progressAtMs: 1_000,
  change: 0,
  epoch: 1,
  acknowledgedLoss: 0,
  without: [],
  skipBakes: false,
  step: { index: 0, sinceMs: 0, confirmedAtMs: 0, promoted: false },
  split: { weight: 0, routes: [], mirrors: [] },
  analyses: [],
  accepted: [],
  lastBegunAtMs: 0,
  fastTrack: false,
  judgedFrom: {},
  actor: "test",
  ...changes,
});

export const track = (name: string): HostTrack => ({
  ...{ host: name, way: "surge", stage: "waiting", towards: 1, goal: 1, home: 0, revisions: [], routed: true },
  ...{ sinceMs: 1, drainSinceMs: 0, servesSinceMs: 0, healthyAtMs: 0, healthyMark: 0, unhealthyAtMs: 0 },
  ...{ exitsAllowed: 0, cutAllowed: false, waitingFor: "" },
});

export const entry = (of: Rollout, changes: Partial<JournalEntry> = {}): JournalEntry => ({
  rollout: of.id,
  change: of.change,
  atMs: 1_000,
  epoch: 1,
  actor: "test",
  stage: of.stage.kind,
  reason: "",
  message: "it moved",
  ...changes,
});

export const report = (changes: Partial<Report> = {}): Report => ({
  boot: "boot-1",
  seq: 1,
  applied: null,
  instances: [],
  endpoints: [],
  traffic: [],
  incidents: [],
  ...changes,
});

export const instance = (id: string, changes: Partial<InstanceReport> = {}): InstanceReport => ({
  service: "shop",
  revision: 1,
  version: "v1",
  id,
  state: "serving",
  sinceMs: 1,
  healthySinceMs: 1,
  wasReady: true,
  pid: 1,
  address: "127.0.0.1",
  port: 1,
  restarts: 0,
  exit: null,
  reason: "",
  output: [],
  inFlight: 0,
  started: 0,
  ...changes,
});

export const traffic = (
  endpoint: string,
  changes: Partial<Omit<TrafficReport, "lost" | "cut">> & {
    readonly lost?: Partial<Record<(typeof LOSS_CAUSES)[number], number>>;
    readonly cut?: Partial<Record<(typeof CUT_CAUSES)[number], number>>;
  } = {},
): TrafficReport => {
  const { lost = {}, cut = {}, ...rest } = changes;
  return {
    service: "shop",
    version: "v1",
    endpoint,
    started: 0,
    inFlight: 0,
    completed: 0,
    statusClasses: [0, 0, 0, 0, 0, 0],
    retried: 0,
    drained: 0,
    clientGone: 0,
    tunnels: 0,
    eventStreams: 0,
    bytesIn: 0,
    bytesOut: 0,
    latency: [],
    ...rest,
    lost: LOSS_CAUSES.map((cause) => lost[cause] ?? 0),
    cut: CUT_CAUSES.map((cause) => cut[cause] ?? 0),
  };
};
