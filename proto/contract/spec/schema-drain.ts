/** `drain`: how an instance leaves. And the order that two durations of a document must keep. */
import { formatDuration } from "../units.ts";
import { DEFAULTS } from "./defaults.ts";
import { duration, mapping, oneOf } from "./leaf.ts";
import type { DrainSpec } from "./types.ts";

/** A default gives way to what the document says; two things that the document says must agree. */
export interface Order {
  readonly key: string;
  readonly ms: number | undefined;
  readonly cap: number;
  readonly capKey: string;
}

export function disorder({ key, ms, cap, capKey }: Order): { path: string[]; message: string } | undefined {
  if (ms === undefined || ms <= cap) return undefined;
  return { path: [key], message: `${formatDuration(ms)} is longer than ${capKey}, ${formatDuration(cap)}` };
}

export const drain = mapping({
  timeout: duration(0, "30s").default(DEFAULTS.drain.timeoutMs),
  sse: duration(0, "5s").optional(),
  websocket: duration(0, "10s").optional(),
  kill: duration(0, "10s").default(DEFAULTS.drain.killMs),
  onTimeout: oneOf(["cut", "pause"]).default(DEFAULTS.drain.onTimeout),
}).transform((d, context): DrainSpec => {
  for (const [key, ms] of [
    ["sse", d.sse],
    ["websocket", d.websocket],
  ] as const) {
    const wrong = disorder({ key, ms, cap: d.timeout, capKey: "timeout" });
    if (wrong !== undefined) context.issues.push({ code: "custom", ...wrong, input: ms });
  }
  return {
    timeoutMs: d.timeout,
    sseMs: d.sse ?? Math.min(DEFAULTS.drain.sseMs, d.timeout),
    websocketMs: d.websocket ?? Math.min(DEFAULTS.drain.websocketMs, d.timeout),
    killMs: d.kill,
    onTimeout: d.onTimeout,
  };
});
