/**
 * A pull, read to its end: the engine says JSON lines of progress, and its last word is whether it worked.
 *
 * Errors  rejects with EngineError, in the engine's words: "manifest for shop:v9 not found".
 * Bounds  a line of LINE_BYTES; STALL_MS without a word and the pull is given up.
 */
import type { Clock } from "../../../../proto/kernel/clock.ts";
import { EngineError } from "./engine.ts";
import type { Stream } from "./engine.ts";

const LINE_BYTES = 256 << 10;
const STALL_MS = 120_000;

/** `progress` gets whole percents, as often as they change. */
export function readPull(stream: Stream, clock: Clock, progress: (percent: number) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const layers = new Layers();
    let rest = "";
    let last = -1;
    let over = false;
    let timer = clock.after(STALL_MS, () => undefined);
    const end = (error?: EngineError): void => {
      if (over) return;
      over = true;
      timer.cancel();
      stream.destroy();
      if (error === undefined) resolve();
      else reject(error);
    };
    const patience = (): void => {
      timer.cancel();
      timer = clock.after(STALL_MS, () => end(new EngineError("refused", "no progress for 2 minutes")));
    };
    const take = (line: string): void => {
      const said = parse(line);
      if (said === undefined) return;
      if (said.error !== undefined) {
        end(new EngineError("refused", said.error));
        return;
      }
      const percent = layers.take(said);
      if (percent !== last) progress((last = percent));
    };
    patience();
    stream.setEncoding("utf8");
    stream.on("data", (text: string) => {
      patience();
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) take(line);
      if (rest.length > LINE_BYTES) end(new EngineError("refused", "the engine's answer to a pull can't be read"));
    });
    stream.on("end", () => {
      take(rest);
      end();
    });
    stream.on("close", () => end(new EngineError("unreachable", "the engine broke off in mid-pull")));
  });
}

interface Said {
  readonly id?: string;
  readonly status?: string;
  readonly error?: string;
  readonly progressDetail?: { readonly current?: number; readonly total?: number };
}

function parse(line: string): Said | undefined {
  if (line.trim() === "") return undefined;
  try {
    return JSON.parse(line) as Said;
  } catch {
    return undefined;
  }
}

/** Of the bytes of those layers whose size is known by now. */
class Layers {
  readonly #sizes = new Map<string, { current: number; total: number }>();

  take({ id, status, progressDetail }: Said): number {
    if (id !== undefined && status === "Downloading" && (progressDetail?.total ?? 0) > 0) {
      this.#sizes.set(id, { current: progressDetail?.current ?? 0, total: progressDetail?.total ?? 0 });
    }
    const known = id === undefined ? undefined : this.#sizes.get(id);
    if (known !== undefined && (status === "Download complete" || status === "Pull complete"))
      known.current = known.total;
    let [current, total] = [0, 0];
    for (const size of this.#sizes.values()) {
      current += size.current;
      total += size.total;
    }
    return total === 0 ? 0 : Math.floor((current / total) * 100);
  }
}
