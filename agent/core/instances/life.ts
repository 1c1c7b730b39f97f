/**
 * One instance's life as a value: from its first start over crashes and restarts to its end. Pure; instance.ts carries
 * out the effects.
 *
 *   waiting → launching → running → stopping → gone
 *      ↑__________|___________|__________|          (ended, but still wanted)
 *   external → gone
 *
 * Units   `until`, `killAt` and `now` are monotonic milliseconds, `startedAtMs` is wall time.
 * Errors  none; an event that means nothing in a phase changes nothing (a late exit, a second stop).
 */
import type { Millis } from "../../../proto/kernel/clock.ts";

export type Life =
  /** Not ours to start or stop. */
  | { readonly kind: "external" }
  /** To be started at `until`: the first time at once, after a crash with backoff. */
  | { readonly kind: "waiting"; readonly until: Millis }
  /** The driver was asked. */
  | { readonly kind: "launching" }
  | { readonly kind: "running"; readonly pid: number; readonly startedAtMs: Millis }
  /** SIGTERM is said; SIGKILL follows at `killAt`. `again`: it is to be started anew once it has ended. */
  | {
      readonly kind: "stopping";
      readonly pid: number;
      readonly killAt: Millis;
      readonly killed: boolean;
      readonly again: boolean;
    }
  | { readonly kind: "gone" };

export type LifeEvent =
  /** The time that the phase waits for has come. */
  | { readonly kind: "due" }
  | { readonly kind: "up"; readonly pid: number; readonly startedAtMs: Millis }
  /** It exited, or could not be executed; `delay` until the next try, if there is to be one. */
  | { readonly kind: "ended"; readonly delay: Millis }
  /** It is not wanted any more, and nothing is in flight on it (or its time is over). */
  | { readonly kind: "stop"; readonly killMs: Millis }
  /** It is wanted, but this process of it is no good: liveness failed. */
  | { readonly kind: "restart"; readonly killMs: Millis };

export type LifeEffect =
  | { readonly kind: "launch" }
  | { readonly kind: "kill"; readonly signal: "SIGTERM" | "SIGKILL" }
  /** Say `due` then; replaces the timer before it. */
  | { readonly kind: "timer"; readonly at: Millis };

export interface LifeStep {
  readonly life: Life;
  readonly effects: readonly LifeEffect[];
}

export function next(life: Life, event: LifeEvent, now: Millis): LifeStep {
  switch (life.kind) {
    case "external":
      return event.kind === "stop" ? to({ kind: "gone" }) : to(life);
    case "waiting":
      if (event.kind === "due") return to({ kind: "launching" }, { kind: "launch" });
      return event.kind === "stop" ? to({ kind: "gone" }) : to(life);
    case "launching":
      if (event.kind === "up") return to({ kind: "running", pid: event.pid, startedAtMs: event.startedAtMs });
      return leaving(life, 0, event, now);
    case "running":
      if (event.kind === "up" && (event.pid !== life.pid || event.startedAtMs !== life.startedAtMs)) {
        return to({ ...life, pid: event.pid, startedAtMs: event.startedAtMs }); // now its driver knows, or it was started by hand
      }
      return leaving(life, life.pid, event, now);
    case "stopping":
      return stopping(life, event, now);
    case "gone":
      return to(life);
  }
}

function leaving(life: Life, pid: number, event: LifeEvent, now: Millis): LifeStep {
  switch (event.kind) {
    case "ended":
      return again(event.delay, now);
    case "stop":
    case "restart": {
      const killAt = now + event.killMs;
      return to(
        { kind: "stopping", pid, killAt, killed: false, again: event.kind === "restart" },
        { kind: "kill", signal: "SIGTERM" },
        { kind: "timer", at: killAt },
      );
    }
    case "up":
    case "due":
      return to(life);
  }
}

function stopping(life: Life & { kind: "stopping" }, event: LifeEvent, now: Millis): LifeStep {
  switch (event.kind) {
    case "ended":
      return life.again ? again(event.delay, now) : to({ kind: "gone" });
    case "due":
      return life.killed ? to(life) : to({ ...life, killed: true }, { kind: "kill", signal: "SIGKILL" });
    case "stop":
      return to({ ...life, again: false });
    case "up":
      return to({ ...life, pid: event.pid });
    case "restart":
      return to(life);
  }
}

function again(delay: Millis, now: Millis): LifeStep {
  return to({ kind: "waiting", until: now + delay }, { kind: "timer", at: now + delay });
}

const to = (life: Life, ...effects: LifeEffect[]): LifeStep => ({ life, effects });

export const isAlive = (life: Life): boolean => life.kind === "running" || life.kind === "external";
