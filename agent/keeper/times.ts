/** The keeper's own times, milliseconds. None of them is a service's: those are in its drain policy, and the proxy's. */
export const TIMES = {
  /** A core or worker that held out this long was healthy: its successor starts at once. */
  stableMs: 1_000,
  restartBaseMs: 100,
  restartMaxMs: 5_000,
  /** Start of a worker with a table to `serving`. */
  serveMs: 30_000,
  /** SIGTERM to the core's first word after it. */
  coreAnswerMs: 5_000,
  /** SIGTERM to SIGKILL for apps that the core did not end, and for what an ended app or a killed agent left. */
  appGraceMs: 5_000,
  /** For a prompt stop. */
  promptGraceMs: 500,
  /** How long the workers of a keeper that was killed may finish what they carry. */
  leftoverGraceMs: 10_000,
  /** How long an address in use is tried again while workers left behind still live. */
  leftoverBindMs: 3_000,
  /** How much of the stop's time is kept for workers and apps when the core needs all of it. */
  stopReserveMs: 5_000,
  /** One Ctrl-C can arrive twice, from the terminal and through npm: signals this close are one. */
  sameSignalMs: 500,
} as const;

/** Failures of a generation that is to replace one that serves. */
export const GENERATION_FAILURES = 3;
