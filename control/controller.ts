/**
 * The controller, put together: the ground (tokens, clocks, measuring), then either a term on the embedded store, for
 * life, or one of several controllers on NATS (lead/cluster.ts), then what listens. Read it top to bottom to see what a
 * start and a stop are.
 *
 * Errors  `startController` rejects with StoreUnusable, TokenUnusable, ListenFailed: one sentence each, nothing left
 *         open behind it. NATS that can't be reached is no error: it is waited for.
 */
import { setLogger } from "@grpc/grpc-js";
import { formatHostPort, isLoopback } from "../proto/contract/address.ts";
import type { HostPort } from "../proto/contract/address.ts";
import { SESSION } from "../proto/contract/limits.ts";
import { natsNames } from "../proto/contract/nats.ts";
import type { NatsOptions } from "../proto/contract/nats.ts";
import type { Clock } from "../proto/kernel/clock.ts";
import type { Log } from "../proto/kernel/log.ts";
import type { Random } from "../proto/kernel/random.ts";
import { killGroup } from "../proto/runtime/process-group.ts";
import type { Leave } from "./analysis/command.ts";
import { measureWith } from "./analysis/measure.ts";
import { readSourceTokens } from "./analysis/tokens.ts";
import { readToken, TokenUnusable } from "./api/auth.ts";
import type { Token } from "./api/auth.ts";
import { serveGrpc } from "./api/grpc.ts";
import { serveHttp } from "./api/http.ts";
import type { HttpOptions } from "./api/http.ts";
import type { OperatorServer } from "./api/service.ts";
import type { Ground } from "./desk.ts";
import type { SessionStream } from "./fleet/session.ts";
import { openSqliteStore } from "./store/sqlite/open.ts";
import { openTerm } from "./term.ts";

export interface ControllerOptions {
  readonly grpc: HostPort;
  readonly http: HostPort;
  /** The embedded store's folder; unused on NATS. */
  readonly stateDir: string;
  /** Several controllers on NATS, of which this is one, in place of the embedded store. */
  readonly nats?: NatsOptions;
  /** Its name among several. */
  readonly id?: string;
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
  /** 0 on NATS: it is the leader's, and known once there is one. */
  readonly epoch: number;
  /** Gentle and idempotent: agents are told to come back, what is under way is finished, the store is closed. */
  stop(reason: string): Promise<void>;
}

export async function startController(options: ControllerOptions): Promise<Controller> {
  const { clock, log } = options;
  // By itself grpc-js speaks to stderr, in its own words, of what is told here in one line.
  setLogger({ error: (message: string) => log.debug({}, message) });
  const agentToken = readToken(options.agentTokenFile);
  const operatorToken = readToken(options.operatorTokenFile);
  askForTokens(options, agentToken, operatorToken);
  const tokens = readSourceTokens(options.analysisTokens ?? []);
  // Wall time that follows the monotonic clock: a stepped wall clock moves no deadline of a rollout.
  const [wall, mono] = [clock.now(), clock.monotonic()];
  const ground = {
    ...{ clock, log, random: options.random, software: options.software, id: options.id ?? "", operatorToken },
    startedAtMs: wall,
    now: () => Math.round(wall + clock.monotonic() - mono),
    measure: measureWith({ clock, tokens, commands: options.analysisCommands === true ? leave() : null }),
    leaseMs: options.leaseMs ?? SESSION.leaseMs,
    reportEveryMs: options.reportEveryMs ?? SESSION.reportEveryMs,
  };
  const work = options.nats === undefined ? await alone(options, ground) : await several(options, options.nats, ground);
  const undo: (() => Promise<void>)[] = [() => work.closed()];
  const unwind = async (): Promise<void> => {
    for (const step of undo.reverse()) await step();
  };
  let stopped: Promise<void> | undefined;
  const stop = async (reason: string): Promise<void> => {
    log.info({ reason }, "stopping");
    await work.stop(reason);
    await unwind();
  };
  try {
    // HTTP first: /readyz is there to be asked before the first agent comes.
    const { metrics } = work;
    const http = await serveHttp({
      ...{ listen: options.http, token: operatorToken, metrics },
      notReady: () => (stopped === undefined ? work.notReady() : "stopping"),
    });
    undo.push(() => http.close());
    const { operators } = work;
    const session = (stream: SessionStream): void => work.session(stream);
    const grpc = await serveGrpc({ listen: options.grpc, operators, agentToken, clock, session });
    undo.push(() => grpc.close());
    const { epoch } = work;
    return { grpc: grpc.address, http: http.address, epoch, stop: (reason) => (stopped ??= stop(reason)) };
  } catch (error) {
    await work.stop("it could not start");
    await unwind();
    throw error;
  }
}

/** What is done behind the listeners. */
interface Work extends Pick<HttpOptions, "metrics" | "notReady"> {
  readonly epoch: number;
  readonly operators: OperatorServer;
  session(stream: SessionStream): void;
  stop(reason: string): Promise<void>;
  /** After the listeners. */
  closed(): Promise<void>;
}

type Base = Omit<Ground, "leader" | "troubles">;

/** On the embedded store: it leads for life. */
async function alone(options: ControllerOptions, base: Base): Promise<Work> {
  const { clock, pid, stateDir } = options;
  const { store, damaged } = openSqliteStore({ folder: stateDir, pid, nowMs: clock.now() });
  try {
    const ground = { ...base, leader: () => base.id, troubles: () => [] };
    const term = await openTerm({ ground, store, damaged, fenced: (why) => options.fatal(why) });
    const { epoch, operators, metrics } = term;
    return {
      ...{ epoch, operators, metrics },
      notReady: () => term.notReady(),
      session: (stream) => term.session(stream),
      stop: (reason) => term.stop(reason),
      closed: () => store.close(),
    };
  } catch (error) {
    await store.close();
    throw error;
  }
}

/** One of several. What it takes is loaded here alone. */
async function several(options: ControllerOptions, nats: NatsOptions, base: Base): Promise<Work> {
  const { Cluster } = await import("./lead/cluster.ts");
  const { metricsOf, operatorsOf } = await import("./api/face.ts");
  const { openNats } = await import("../proto/runtime/nats.ts");
  const { clock, random, log } = options;
  const inbox = natsNames(nats.cluster).controlInbox;
  const cluster = new Cluster({
    ...{ nats, ground: base },
    openLink: (onTrouble, signal) =>
      openNats({ nats, name: `baton control ${base.id}`, inbox, clock, random, log, signal, onTrouble }),
    became: ({ role, epoch }) => log.info({ role, epoch }, role === "leader" ? "leads" : "follows"),
  });
  cluster.start();
  return {
    epoch: 0,
    operators: operatorsOf(cluster, base),
    metrics: metricsOf(cluster),
    notReady: () => cluster.troubles()[0] ?? (cluster.desk === null ? "no part taken yet in leading or following" : ""),
    session: (stream) => cluster.session(stream),
    stop: (reason) => cluster.stop(reason),
    closed: () => Promise.resolve(),
  };
}

/** Whoever reaches the port may stop the fleet. */
function askForTokens(options: ControllerOptions, agentToken: Token, operatorToken: Token): void {
  const { grpc, http } = options;
  if (!isLoopback(grpc.address) && (agentToken === null || operatorToken === null)) {
    throw new TokenUnusable(
      `${formatHostPort(grpc.address, grpc.port)} is beyond loopback, where anyone may connect: ` +
        "give --token-file, or both --agent-token-file and --operator-token-file",
    );
  }
  if (!isLoopback(http.address) && operatorToken === null) {
    throw new TokenUnusable(
      `${formatHostPort(http.address, http.port)} is beyond loopback: give --token-file or --operator-token-file`,
    );
  }
}

/** Commands see the controller's own environment: whoever gave them leave has put there what they need. */
const leave = (): Leave => ({ env: process.env, killGroup });
