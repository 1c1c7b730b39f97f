/**
 * The controller, put together: store → registry, books, fleet, analysis → loop, operations → gRPC and HTTP. Read it
 * top to bottom to see what a start and a stop are.
 *
 * Errors  `startController` rejects with StoreUnusable, TokenUnusable, ListenFailed: one sentence each, nothing left
 *         open behind it.
 */
import { setLogger } from "@grpc/grpc-js";
import type { HostPort } from "../proto/contract/address.ts";
import { formatHostPort, isLoopback } from "../proto/contract/address.ts";
import { SESSION } from "../proto/contract/limits.ts";
import type { Hello } from "../proto/contract/session.ts";
import type { Clock } from "../proto/kernel/clock.ts";
import type { Log } from "../proto/kernel/log.ts";
import type { Random } from "../proto/kernel/random.ts";
import { killGroup } from "../proto/runtime/process-group.ts";
import type { Leave } from "./analysis/command.ts";
import { measureWith } from "./analysis/measure.ts";
import { AnalysisRunner } from "./analysis/runner.ts";
import { readSourceTokens } from "./analysis/tokens.ts";
import { readToken, TokenUnusable } from "./api/auth.ts";
import { serveGrpc } from "./api/grpc.ts";
import { serveHttp } from "./api/http.ts";
import { controlMetrics } from "./api/metrics.ts";
import { operatorService } from "./api/operator.ts";
import { Fleet } from "./fleet/fleet.ts";
import { serveSession } from "./fleet/session.ts";
import { Books } from "./ledger/books.ts";
import { Loop } from "./loop.ts";
import { Narrator } from "./narrator.ts";
import { Operations } from "./operations.ts";
import { Registry } from "./registry.ts";
import { due } from "./rollout/analysis/run.ts";
import { Serial } from "./serial.ts";
import { openSqliteStore } from "./store/sqlite/open.ts";

export interface ControllerOptions {
  readonly grpc: HostPort;
  readonly http: HostPort;
  readonly stateDir: string;
  readonly agentTokenFile?: string;
  readonly operatorTokenFile?: string;
  /** Service documents may name programs that this process runs to measure a version. */
  readonly analysisCommands?: boolean;
  /** ORIGIN=FILE: bearer tokens for Prometheus and webhooks. */
  readonly analysisTokens?: readonly string[];
  readonly software: string;
  readonly pid: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Another controller has taken over, or the store is beyond use: the process is to end. */
  fatal(why: string): void;
  /** Of a small fleet (fleet/pace.ts); tests shorten them. */
  readonly leaseMs?: number;
  readonly reportEveryMs?: number;
}

export interface Controller {
  /** As really bound. */
  readonly grpc: string;
  readonly http: string;
  readonly epoch: number;
  /** Gentle and idempotent: agents are told to come back, what is under way is finished, the store is closed. */
  stop(reason: string): Promise<void>;
}

export async function startController(options: ControllerOptions): Promise<Controller> {
  const { clock, random, log, software } = options;
  // By itself grpc-js speaks to stderr, in its own words, of what is told here in one line.
  setLogger({ error: (message: string) => log.debug({}, message) });
  const agentToken = readToken(options.agentTokenFile);
  const operatorToken = readToken(options.operatorTokenFile);
  if (!isLoopback(options.grpc.address) && (agentToken === null || operatorToken === null)) {
    throw new TokenUnusable(
      `${formatHostPort(options.grpc.address, options.grpc.port)} is beyond loopback, where anyone may connect: ` +
        "give --token-file, or both --agent-token-file and --operator-token-file",
    );
  }
  if (!isLoopback(options.http.address) && operatorToken === null) {
    throw new TokenUnusable(
      `${formatHostPort(options.http.address, options.http.port)} is beyond loopback: give --token-file or --operator-token-file`,
    );
  }
  const tokens = readSourceTokens(options.analysisTokens ?? []);
  const leaseMs = options.leaseMs ?? SESSION.leaseMs;
  const reportEveryMs = options.reportEveryMs ?? SESSION.reportEveryMs;

  const { store, damaged } = openSqliteStore({ folder: options.stateDir, pid: options.pid, nowMs: clock.now() });
  const undo: (() => Promise<void>)[] = [() => store.close()];
  const unwind = async (): Promise<void> => {
    for (const step of undo.reverse()) await step();
  };
  try {
    const state = await store.load();
    const registry = new Registry(store, state);
    const epoch = await registry.raiseEpoch(0);
    const serial = new Serial();
    // Wall time that follows the monotonic clock: a stepped wall clock moves no deadline of a rollout.
    const [wall, mono] = [clock.now(), clock.monotonic()];
    const now = (): number => Math.round(wall + clock.monotonic() - mono);

    const narrator = new Narrator({ registry, serial, clock, log });
    const books = new Books(state, clock.monotonic());
    const news = narrator.newsOf(books, () => loop.heard());
    const fleet = new Fleet(
      { clock, log, leaseMs, reportEveryMs, news },
      state.hosts.map((host) => host.name),
    );
    const analysis = new AnalysisRunner({
      ...{ clock, log, now, due, news: () => loop.poke() },
      measure: measureWith({ clock, tokens, commands: options.analysisCommands === true ? leave() : null }),
      active: () => registry.active(),
      version: (service, revision) => registry.revision(service, revision)?.version ?? "",
    });
    const metrics = controlMetrics({ registry, fleet, books, clock });
    const loop = new Loop({
      ...{ registry, fleet, books, serial, clock, log, now },
      measurements: (rollout) => analysis.results(rollout),
      measured: (ms) => metrics.round(ms),
      fenced: (why) => options.fatal(why),
    });
    const operations = new Operations({ registry, fleet, books, loop, serial, clock, random, now });

    const stopping = new AbortController();
    const startedAtMs = clock.now();
    const operators = operatorService({
      ...{ operations, loop, registry, fleet, books, clock, log, software, startedAtMs },
      token: operatorToken,
      stopping: stopping.signal,
    });
    const epochFor = (hello: Hello): Promise<number> => {
      // An equal epoch is ours only if we told it: a new store begins at 1 again, and so did the lost one.
      const ours = fleet.agent(hello.host)?.toldEpoch ?? 0;
      const above = hello.highestEpoch < registry.epoch || hello.highestEpoch === ours;
      return above ? Promise.resolve(registry.epoch) : serial.run(() => narrator.raiseEpoch(hello));
    };
    const event = narrator.event.bind(narrator);
    const session = { fleet, clock, random, log, epochFor, event };

    // HTTP first: /readyz is there to be asked before the first agent comes.
    const http = await serveHttp({
      listen: options.http,
      token: operatorToken,
      metrics,
      notReady: () => (stopping.signal.aborted ? "stopping" : registry.trouble),
    });
    undo.push(() => http.close());
    const grpc = await serveGrpc({
      ...{ listen: options.grpc, operators, agentToken, clock },
      session: (call) => serveSession(call, session),
    });
    undo.push(() => grpc.close());
    narrator.started(epoch, damaged, state.rollouts.filter((rollout) => rollout.endedAtMs === 0).length);
    loop.onRound(() => analysis.look());
    loop.start();

    let stopped: Promise<void> | undefined;
    const stop = async (reason: string): Promise<void> => {
      log.info({ reason }, "stopping");
      narrator.event("controller_stopping", "", reason);
      await serial.idle();
      await loop.stop();
      await analysis.stop();
      fleet.shutdown(reason);
      stopping.abort();
      await unwind();
    };
    return { grpc: grpc.address, http: http.address, epoch, stop: (reason) => (stopped ??= stop(reason)) };
  } catch (error) {
    await unwind();
    throw error;
  }
}

/** Commands see the controller's own environment: whoever gave them leave has put there what they need. */
const leave = (): Leave => ({ env: process.env, killGroup });
