/**
 * The one stream of the engine's events, kept alive: after every gap all is looked at anew (`connected`), because what
 * happened meanwhile was not said. That the engine is away is news (`lost`), and no container's end.
 */
import { Backoff } from "../../../../proto/kernel/backoff.ts";
import { sleep } from "../../../../proto/kernel/clock.ts";
import type { Clock } from "../../../../proto/kernel/clock.ts";
import type { Random } from "../../../../proto/kernel/random.ts";
import type { Engine, Filters, Stream } from "./engine.ts";

const RECONNECT = { baseMs: 100, maxMs: 5_000 };
const LINE_BYTES = 256 << 10;

export interface EngineEvent {
  /** "die", "start", "health_status: healthy", … */
  readonly action: string;
  readonly container: string;
  readonly labels: Readonly<Record<string, string>>;
}

export interface WatchEvents {
  connected(): void;
  lost(why: string): void;
  event(event: EngineEvent): void;
}

/** Until `signal` aborts. */
export async function watchEngine(
  engine: Engine,
  filters: Filters,
  ambient: { readonly clock: Clock; readonly random: Random },
  events: WatchEvents,
  signal: AbortSignal,
): Promise<void> {
  const backoff = new Backoff(RECONNECT, ambient.random);
  const isOver = (): boolean => signal.aborted; // a call: it changes over an await
  while (!isOver()) {
    try {
      const stream = await engine.events({ ...filters, type: ["container"] }, signal);
      backoff.reset();
      events.connected();
      await read(stream, events);
      if (!isOver()) events.lost(`the Docker engine at ${engine.where} broke off`);
    } catch (error) {
      if (!isOver()) events.lost(error instanceof Error ? error.message : String(error));
    }
    await sleep(ambient.clock, backoff.next(), signal);
  }
}

async function read(stream: Stream, events: WatchEvents): Promise<void> {
  let rest = "";
  stream.setEncoding("utf8");
  try {
    for await (const text of stream as AsyncIterable<string>) {
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) take(line, events);
      if (rest.length > LINE_BYTES) return;
    }
  } catch {
    return; // cut: the same as an end
  } finally {
    stream.destroy();
  }
}

function take(line: string, events: WatchEvents): void {
  if (line.trim() === "") return;
  let said: { Action?: string; Actor?: { ID?: string; Attributes?: Record<string, string> } };
  try {
    said = JSON.parse(line) as typeof said;
  } catch {
    return;
  }
  const { Action: action = "", Actor: { ID: container = "", Attributes: labels = {} } = {} } = said;
  events.event({ action, container, labels });
}
