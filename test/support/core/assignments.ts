/** Assignments for tests of the core, complete and with the right hash. */
import { EVERY_REQUEST, NO_FILTERS } from "../../../proto/contract/spec/types.ts";
import type {
  AssignedEndpoint,
  AssignedRevision,
  AssignedService,
  Assignment,
  RevisionMode,
} from "../../../proto/contract/assignment.ts";
import { assignmentHash } from "../../../proto/contract/canonical.ts";
import type { HealthSpec, ProbeSpec, RunSpec } from "../../../proto/contract/spec/types.ts";
import { WHOLE } from "../../../proto/contract/units.ts";

export const probe = (changes: Partial<ProbeSpec> = {}): ProbeSpec => ({
  kind: "http",
  path: "/healthz",
  intervalMs: 1_000,
  timeoutMs: 500,
  healthyThreshold: 1,
  unhealthyThreshold: 3,
  ...changes,
});

export const health = (changes: Partial<HealthSpec> = {}): HealthSpec => ({
  readiness: probe(),
  liveness: null,
  ...changes,
});

export const run = (changes: Partial<Extract<RunSpec, { kind: "process" }>> = {}): RunSpec => ({
  kind: "process",
  command: ["./server"],
  cwd: "/srv/shop",
  env: { A: "1" },
  count: 1,
  ...changes,
});

export const revision = (
  number: number,
  mode: RevisionMode = "serving",
  changes: Partial<AssignedRevision> = {},
): AssignedRevision => ({
  revision: number,
  version: `v${number}`,
  mode,
  weight: mode === "serving" ? WHOLE : 0,
  run: run(),
  health: health(),
  ...changes,
});

export const endpoint = (host: string, changes: Partial<AssignedEndpoint> = {}): AssignedEndpoint => ({
  host,
  address: "127.0.0.1",
  port: 9_000,
  mode: "serving",
  ...changes,
});

export const service = (
  revisions: readonly AssignedRevision[],
  changes: Partial<AssignedService> = {},
): AssignedService => ({
  name: "shop",
  rollout: "",
  listeners: [{ address: "127.0.0.1", port: 8_080, protocol: "http" }],
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
  drain: { timeoutMs: 10_000, sseMs: 1_000, websocketMs: 1_000, killMs: 2_000, onTimeout: "cut" },
  accepting: true,
  revisions,
  endpoints: [],
  sticky: null,
  routes: [],
  mirrors: [],
  ...changes,
});

export const assignment = (generation: number, services: readonly AssignedService[], epoch = 1): Assignment => ({
  epoch,
  generation,
  hash: assignmentHash(services),
  services,
});
