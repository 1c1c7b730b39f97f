/**
 * The data path's bounds, in one record. Sizes are bytes, times milliseconds, the rest counts.
 *
 * Memory of a connection is bounded by: a head being gathered (`headBytes`), a request kept for sending again
 * (`replayBytes` + what one read brings), one bulk read buffer (`bulkBytes`) each way while a body streams.
 */
export interface Limits {
  /** A message's start line and fields together; beyond it 431 (414 when the request line alone is longer than `targetBytes`). */
  readonly headBytes: number;
  readonly targetBytes: number;
  readonly headFields: number;
  /** Trailer section of a chunked body. */
  readonly trailerBytes: number;
  /** One read of small traffic, shared by all connections of a worker. */
  readonly readBytes: number;
  /** A connection's own read buffer, taken when reads fill the shared one. */
  readonly bulkBytes: number;
  /** How much of one request is kept so that it can be sent again (R1, R6, R10), and of all requests together. */
  readonly replayBytes: number;
  readonly replayTotalBytes: number;
  /** Client connections open at once; beyond it a new one is answered 503 and closed. */
  readonly connections: number;
  /** Connections to one endpoint, and requests waiting for a connection to it; beyond both, 503 overload. */
  readonly upstreamConnections: number;
  /** From the first byte of a head to its last. */
  readonly headMs: number;
  /** Between requests on a client's connection. */
  readonly idleMs: number;
  /** Without one byte of a body that is being sent or taken. */
  readonly stallMs: number;
  readonly connectMs: number;
  /** How long a body is held back for the instance's 100 (R9). */
  readonly continueMs: number;
  /** An idle upstream connection is closed after this, or earlier when its app is known to (R1). */
  readonly upstreamIdleMs: number;
  /** R3: how long, and how much, is read and thrown away after our FIN. */
  readonly lingerMs: number;
  readonly lingerBytes: number;
  /** R2: with nobody to listen in its place, an idle connection is closed at drain after this long with nothing read. */
  readonly drainIdleMs: number;
  /** R18: a client that takes less than this per second while draining is cut, once it had `slowAfterMs`. */
  readonly slowBytesPerSecond: number;
  readonly slowAfterMs: number;
  /** S3: both ways silent for this long is a good moment to say 1012, and how long the client has to answer it. */
  readonly quietMs: number;
  readonly farewellMs: number;
  /** R16: jittered pause before trying again when every endpoint failed. */
  readonly backoffBaseMs: number;
  readonly backoffMaxMs: number;
  /** Attempts of a request that was never sent (R6). */
  readonly attempts: number;
  /** Passive ejection: how long, doubling to the maximum; and the most of a version's endpoints, in percent. */
  readonly ejectMs: number;
  readonly ejectMaxMs: number;
  readonly ejectPercent: number;
  /** A new endpoint's share of picks grows from a tenth to the whole in this time (R17). */
  readonly slowStartMs: number;
  /** Copies of requests under way at once, the bytes kept for them, how much of an answer is read, how long it may take. */
  readonly mirrors: number;
  readonly mirrorBytes: number;
  readonly mirrorAnswerBytes: number;
  readonly mirrorMs: number;
  /** One access record in this many; failures are always recorded. */
  readonly accessLogEvery: number;
}

export const DEFAULT_LIMITS: Limits = {
  headBytes: 64 << 10,
  targetBytes: 32 << 10,
  headFields: 100,
  trailerBytes: 8 << 10,
  readBytes: 64 << 10,
  bulkBytes: 256 << 10,
  replayBytes: 1 << 20,
  replayTotalBytes: 64 << 20,
  connections: 20_000,
  upstreamConnections: 4_096,
  headMs: 10_000,
  idleMs: 75_000,
  stallMs: 60_000,
  connectMs: 1_500,
  continueMs: 1_000,
  upstreamIdleMs: 60_000,
  lingerMs: 2_000,
  lingerBytes: 8 << 20,
  drainIdleMs: 5_000,
  slowBytesPerSecond: 1_024,
  slowAfterMs: 5_000,
  quietMs: 100,
  farewellMs: 2_000,
  backoffBaseMs: 25,
  backoffMaxMs: 250,
  attempts: 8,
  ejectMs: 1_000,
  ejectMaxMs: 30_000,
  ejectPercent: 50,
  slowStartMs: 5_000,
  mirrors: 64,
  mirrorBytes: 16 << 20,
  mirrorAnswerBytes: 1 << 20,
  mirrorMs: 10_000,
  accessLogEvery: 100,
};
