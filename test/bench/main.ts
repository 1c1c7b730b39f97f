/**
 * `npm run bench`: what Baton's path costs a request, beside HAProxy's and nginx's, in one paired run: the peers are up
 * together, warmed, and measured in turn, round by round, first by another each time, so that what slows the machine for
 * a while slows them all. Ratios are taken within rounds.
 *
 * It judges nothing: exit 0 when every measurement succeeded, 1 when one could not be made, 2 for a bad option.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { ensurePrograms } from "../support/debian.ts";
import { SMALL_HEAD, variedHeads } from "./heads.ts";
import { writeScript } from "./load.ts";
import { cores, machine, machineLine, PROGRAMS } from "./machine.ts";
import { measure } from "./measure.ts";
import type { Bench, Peer, Sample } from "./measure.ts";
import { parseOptions, USAGE, UsageError } from "./options.ts";
import type { Options } from "./options.ts";
import { START } from "./peers.ts";
import { busiest, tail } from "./processes.ts";
import type { Program } from "./processes.ts";
import { hottest, profileEnv } from "./profile.ts";
import { doubts, ratios, table } from "./report.ts";
import { ANSWER, ECHO_PATH, freePorts, startUpstream } from "./upstream.ts";

const READY_MS = 20_000;
const ATTEMPT_MS = 2_000;
const say = (text: string): void => void process.stdout.write(`${text}\n`);

async function main(options: Options, stack: AsyncDisposableStack, signal: AbortSignal): Promise<void> {
  const haproxy = options.peers.includes("haproxy") ? [PROGRAMS.haproxy] : [];
  ensurePrograms([PROGRAMS.wrk, PROGRAMS.nginx, ...haproxy]);
  const folder = mkdtempSync(join(tmpdir(), "baton-bench-"));
  stack.defer(() => rmSync(folder, { recursive: true, force: true }));
  const own = (program: Program): Program => {
    stack.defer(() => program.stop());
    return program;
  };

  const on = cores();
  const [upstreamPort = 0, profilePort = 0, ...ports] = await freePorts(2 + options.peers.length);
  const upstream = own(startUpstream(join(folder, "upstream"), on.upstream, upstreamPort, options.bulkMiB));
  await ready(upstream, upstreamPort, signal);

  const heads = requests(options);
  const script = join(folder, "load.lua");
  writeScript(script, heads, options.clients, options.rate);
  const bench: Bench = { load: { script, clients: options.clients, core: on.load }, cores: on, signal };

  const peers: Peer[] = [];
  for (const [at, name] of options.peers.entries()) {
    const place = { folder: join(folder, name), core: on.proxy, port: ports[at] ?? 0, upstreamPort };
    peers.push({ name, port: place.port, program: own(START[name](place)) });
  }
  say(machineLine(machine()));
  say(describe(options, heads));
  for (const peer of peers) say(`${peer.name.padEnd(8)} ${await headerWork(peer, signal)}`);

  const samples = await rounds(bench, peers, options);
  say("");
  say(table(samples, options));
  say("");
  say(ratios(samples, options));
  for (const doubt of doubts(samples, options)) say(`note: ${doubt}`);
  if (options.json !== null) {
    writeFileSync(options.json, `${JSON.stringify({ machine: machine(), options, samples }, null, 2)}\n`);
  }
  if (options.profile) say(await profile(bench, { folder, core: on.proxy, port: profilePort, upstreamPort }, options));
}

async function rounds(bench: Bench, peers: readonly Peer[], options: Options): Promise<Sample[]> {
  for (const peer of peers) await measure(bench, peer, options.warmupSeconds);
  const samples: Sample[] = [];
  for (let round = 0; round < options.rounds; round++) {
    const turn = round % peers.length;
    for (const peer of [...peers.slice(turn), ...peers.slice(0, turn)]) {
      const sample = await measure(bench, peer, options.seconds);
      samples.push(sample);
      const rate = (sample.requests / sample.seconds).toFixed(0);
      const cost = ((sample.cpuSeconds / sample.requests) * 1e6).toFixed(2);
      say(
        `round ${String(round + 1)}  ${peer.name.padEnd(8)} ${cost.padStart(8)} µs CPU  ${rate.padStart(7)} requests/s`,
      );
    }
  }
  return samples;
}

function requests(options: Options): readonly string[] {
  if (options.bulkMiB !== null) return [SMALL_HEAD.replace(" / ", " /bulk ")];
  return options.head === "small" ? [SMALL_HEAD] : variedHeads(options.variants, options.seed);
}

function describe(options: Options, heads: readonly string[]): string {
  const bytes = heads.reduce((sum, head) => sum + head.length, 0) / heads.length;
  const answer = options.bulkMiB === null ? `${String(ANSWER.length)}-byte` : `${String(options.bulkMiB)}-MiB`;
  const pace = options.rate === null ? "as fast as they are answered" : `at ${String(options.rate)} requests/s`;
  return (
    `keep-alive GETs ${pace}, ${String(options.clients)} clients, ${String(heads.length)} distinct heads of ` +
    `${bytes.toFixed(0)} bytes on average, ${answer} answers; proxy on one core, load and upstream on the other`
  );
}

/** Waits until it answers as the service itself would, so that nothing is measured but the working path. */
async function ready(program: Program, port: number, signal: AbortSignal): Promise<void> {
  const until = performance.now() + READY_MS;
  let last = "nothing";
  while (performance.now() < until) {
    signal.throwIfAborted();
    try {
      const attempt = AbortSignal.any([signal, AbortSignal.timeout(ATTEMPT_MS)]);
      const asked = fetch(`http://127.0.0.1:${String(port)}/`, { signal: attempt });
      const answer = await Promise.race([asked, program.failed]);
      const body = await answer.text();
      if (answer.status === 200 && body === ANSWER) return;
      last = `${String(answer.status)} ${body.slice(0, 200)}`;
    } catch (error) {
      // A TypeError is fetch's word for "no connection", a DOMException that the attempt took too long.
      if (!(error instanceof TypeError || error instanceof DOMException)) throw error;
      last = error instanceof DOMException ? error.message : String(error.cause);
    }
    await sleep(50);
  }
  throw new Error(`${program.name} did not answer as the service would: ${last}\n${tail(program.logFile)}`);
}

async function headerWork(peer: Peer, signal: AbortSignal): Promise<string> {
  await ready(peer.program, peer.port, signal);
  const answer = await fetch(`http://127.0.0.1:${String(peer.port)}${ECHO_PATH}`, { signal });
  const lines = (await answer.text()).split("\n").map((line) => line.split(": "));
  const added = lines.filter(([name, value]) => name !== "host" && value !== undefined && value !== "");
  return `adds ${added.map(([name]) => name?.replaceAll("_", "-") ?? "").join(", ") || "nothing"}`;
}

async function profile(bench: Bench, place: Parameters<typeof START.baton>[0], options: Options): Promise<string> {
  const profiles = join(place.folder, "profiles");
  mkdirSync(profiles);
  const program = START.baton({ ...place, folder: join(place.folder, "profiled"), env: profileEnv(profiles) });
  try {
    await ready(program, place.port, bench.signal);
    await measure(bench, { name: "baton", port: place.port, program }, options.seconds);
    const worker = busiest(program.pid);
    await program.stop();
    return `\nbaton's worker under the same load, by self time:\n${hottest(profiles, worker)}`;
  } finally {
    await program.stop();
  }
}

const interrupt = new AbortController();
for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
  process.once(name, () => interrupt.abort(new Error(`stopped by ${name}`)));
const stack = new AsyncDisposableStack();
try {
  await main(parseOptions(process.argv.slice(2)), stack, interrupt.signal);
} catch (thrown) {
  const error: unknown = interrupt.signal.aborted ? interrupt.signal.reason : thrown;
  const usage = error instanceof UsageError;
  process.stderr.write(
    `bench: ${error instanceof Error ? error.message : String(error)}\n${usage ? `${USAGE}\n` : ""}`,
  );
  process.exitCode = usage ? 2 : 1;
} finally {
  await stack.disposeAsync();
}
