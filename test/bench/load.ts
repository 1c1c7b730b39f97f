/**
 * The load: wrk with requests made beforehand and sent as they are.
 *
 * wrk is a closed loop: a client sends its next request when the answer to the last is there. At saturation its latency
 * therefore says how long the queue of `clients` is, and compares peers only at the same throughput; `--rate` spaces
 * requests out by a random pause on every connection (exponential, so that they come as Poisson's do), which leaves the
 * proxy idle time and makes latency its own. Pauses are whole milliseconds, drawn with the remainder carried over; the
 * rate is met to a few percent. For an answer that took more than twice the mean, wrk also counts the requests that it
 * held back (its correction for coordinated omission), so p99 errs towards the slow side, for every peer alike.
 *
 * Errors  any failed or non-2xx answer is an Error: a figure measured over failures is no figure.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { writeFileSync } from "node:fs";

export interface Load {
  readonly script: string;
  readonly clients: number;
  readonly core: number;
}

export interface LoadResult {
  readonly requests: number;
  readonly seconds: number;
  readonly bytes: number;
  readonly p50Micros: number;
  readonly p99Micros: number;
}

/** What a request takes beyond its pause, on average: the answer, and wrk's timers, which run late by half their step. */
const BEYOND_PAUSE_MS = 0.35;

/** Writes wrk's script. A rate is divided over the clients. */
export function writeScript(file: string, heads: readonly string[], clients: number, rate: number | null): void {
  const lines = heads.map((head) => `  ${JSON.stringify(head)},`);
  const pause =
    rate === null
      ? ""
      : `
local owed = 0
delay = function()
  owed = owed - math.log(1 - math.random()) * ${String(Math.max(0, (1000 * clients) / rate - BEYOND_PAUSE_MS))}
  local whole = math.floor(owed)
  owed = owed - whole
  return whole
end
`;
  writeFileSync(
    file,
    `local heads = {
${lines.join("\n")}
}
local at = 0
request = function()
  at = at % #heads + 1
  return heads[at]
end
${pause}
done = function(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\\nRESULT {"requests":%d,"micros":%d,"bytes":%.0f,"p50":%d,"p99":%d,"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d}\\n',
    summary.requests, summary.duration, summary.bytes, latency:percentile(50), latency:percentile(99),
    errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
`,
  );
}

type Words = Record<
  "requests" | "micros" | "bytes" | "p50" | "p99" | "connect" | "read" | "write" | "status" | "timeout",
  number
>;

export async function runLoad(load: Load, port: number, seconds: number, signal: AbortSignal): Promise<LoadResult> {
  const wrk = [
    "wrk",
    "-t1",
    `-c${String(load.clients)}`,
    `-d${String(seconds)}s`,
    "--timeout",
    "10s",
    "-s",
    load.script,
  ];
  const child = spawn(
    "setpriv",
    ["--pdeathsig", "KILL", "taskset", "-c", String(load.core), ...wrk, `http://127.0.0.1:${String(port)}/`],
    { stdio: ["ignore", "pipe", "pipe"], signal, killSignal: "SIGKILL" },
  );
  const [output, errors] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "close")]);
  const json = /^RESULT (.*)$/m.exec(output)?.[1];
  if (json === undefined) throw new Error(`wrk gave no result:\n${output}${errors}`);
  const words = JSON.parse(json) as Words;
  const bad = (["connect", "read", "write", "status", "timeout"] as const).filter((name) => words[name] > 0);
  if (bad.length > 0 || words.requests === 0) {
    const list = bad.map((name) => `${name} ${String(words[name])}`).join(", ");
    throw new Error(`the load saw failures among ${String(words.requests)} requests: ${list} (status: not 2xx or 3xx)`);
  }
  return {
    requests: words.requests,
    seconds: words.micros / 1e6,
    bytes: words.bytes,
    p50Micros: words.p50,
    p99Micros: words.p99,
  };
}
