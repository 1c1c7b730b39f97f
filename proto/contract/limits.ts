/** Every bound that both sides must agree on, in one place. Sizes are bytes, times milliseconds, the rest counts. */
export const LIMITS = {
  /** A service's or host's name (a DNS label), a version, a label's value: each fits a metric label, a path, a header. */
  nameLength: 63,
  /** One YAML file of documents. */
  specFileBytes: 1 << 20,
  documentsPerFile: 256,
  /** One gRPC message either way. */
  messageBytes: 4 << 20,
  /** What a controller answers its operators: a rollout's view is 450 bytes a host, the list of hosts a little more. */
  answerBytes: 64 << 20,
  servicesPerAgent: 256,
  listenersPerService: 16,
  instancesPerHost: 64,
  /** Of one service: */
  labels: 64,
  hostnames: 64,
  rules: 256,
  /** Of one match, of each kind: Gateway API's bound. */
  headerMatches: 16,
  queryMatches: 16,
  /** What one header filter sets, adds and removes, of each: Gateway API's bound. */
  headerFields: 16,
  headerNameLength: 256,
  headerValueLength: 4_096,
  /** Characters, and instructions that RE2 makes of them (Envoy warns and refuses by the same measure). */
  regexLength: 1_024,
  regexProgram: 500,
  /** Header routes, and mirrors, of one service at once; matches of each. */
  versionRoutes: 16,
  routeMatches: 16,
  /** Of one canary, and of one analysis. */
  steps: 64,
  metrics: 16,
  placementHosts: 1_024,
  externalInstances: 1_024,
  arguments: 256,
  variables: 256,
  /** Of one container: */
  mounts: 64,
  ulimits: 32,
  /** Revisions of one service that an agent runs at once: the old, the new, and what still drains. */
  revisionsPerService: 16,
  /** Host agents that a gateway balances one service over. */
  endpointsPerService: 1_024,
  /** Ids, reasons, messages and paths on the wire, characters. */
  idLength: 128,
  textLength: 4_096,
  incidents: 64,
  /** Live (service, version, endpoint) records in an agent's statistics. */
  statSlots: 4_096,
  /** What is kept of an app's output for `rollout status`. */
  outputLines: 20,
  outputLineBytes: 512,
  /** An app's output file is rotated at this size; one older file is kept. */
  outputFileBytes: 8 << 20,
} as const;

/** Times the session lives by, milliseconds. */
export const SESSION = {
  reportEveryMs: 250,
  leaseMs: 5_000,
  reconnectBaseMs: 100,
  reconnectMaxMs: 5_000,
} as const;

/** Loopback defaults; every one can be changed, and 0 asks the kernel for a port. */
export const PORTS = { controllerGrpc: 7400, controllerHttp: 7480, agentAdmin: 15_000, agentOutbound: 15_001 } as const;

/** Exit codes of `baton`. */
export const EXIT = {
  done: 0,
  failed: 1,
  usage: 2,
  paused: 3,
  timeout: 4,
  inconclusive: 5,
  superseded: 6,
  unreachable: 7,
} as const;

/** The session protocol's version; a peer of another major version is refused with both numbers named. */
export const PROTOCOL_VERSION = 1;
