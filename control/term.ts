/**
 * The desk of the controller that leads (one that stands alone always does): registry, books, fleet and analysis →
 * loop and operations. One term is one epoch: it is raised first, then the store is loaded, so that what is loaded is
 * what no other controller can change any more.
 *
 * Errors  `openTerm` rejects as the store does; nothing is left running then.
 */
import type { Hello } from "../proto/contract/session.ts";
import { AnalysisRunner } from "./analysis/runner.ts";
import { controlMetrics } from "./api/metrics.ts";
import type { OperatorContext } from "./api/context.ts";
import { operatorService } from "./api/operator.ts";
import type { Desk, Ground } from "./desk.ts";
import { Fleet } from "./fleet/fleet.ts";
import { serveSession } from "./fleet/session.ts";
import type { SessionOptions, SessionStream } from "./fleet/session.ts";
import { Books } from "./ledger/books.ts";
import { Loop } from "./loop.ts";
import { Narrator } from "./narrator.ts";
import { Operations } from "./operations.ts";
import { raiseEpoch, Registry } from "./registry.ts";
import { due } from "./rollout/analysis/run.ts";
import { Serial } from "./serial.ts";
import type { Store } from "./store/store.ts";

/** How agents are heard other than by streams to this process. */
export interface OtherSessions {
  /** Why agents can't be told anything now; "" while they can. */
  readonly trouble: string;
  stop(reason: string): Promise<void>;
}

export interface TermOptions {
  readonly ground: Ground;
  readonly store: Store;
  /** The store that was found could not be used, and an empty one is in its place. */
  readonly damaged: { readonly setAside: string; readonly why: string } | null;
  /** Told once the controller answers; `session` is what a hello needs. */
  readonly sessions?: (session: SessionOptions & { readonly epoch: () => number }) => OtherSessions;
  /** Another controller has taken over: this term is over. */
  fenced(why: string): void;
}

export interface Term extends Desk {
  /** A stream that an agent has opened to this very process. */
  session(stream: SessionStream): void;
}

export async function openTerm(options: TermOptions): Promise<Term> {
  const { ground, store } = options;
  const { clock, random, log, leaseMs, reportEveryMs } = ground;
  const now = (): number => ground.now();
  await raiseEpoch(store, 0);
  const state = await store.load();
  const registry = new Registry(store, state);
  registry.onLost = (why) => options.fenced(why);
  const serial = new Serial();
  const narrator = new Narrator({ registry, serial, clock, log });
  const books = new Books(state, clock.monotonic(), clock.now());
  const news = narrator.newsOf(books, () => loop.heard());
  const fleet = new Fleet(
    { clock, log, leaseMs, reportEveryMs, news },
    state.hosts.map((host) => host.name),
  );
  const analysis = new AnalysisRunner({
    ...{ clock, log, now, due, news: () => loop.poke(), measure: ground.measure },
    active: () => registry.active(),
    version: (service, revision) => registry.revision(service, revision)?.version ?? "",
  });
  const metrics = controlMetrics({ registry, fleet, books, clock }, true);
  const loop = new Loop({
    ...{ registry, fleet, books, serial, clock, log, now, acts: true },
    measurements: (rollout) => analysis.results(rollout),
    measured: (ms) => metrics.round(ms),
  });
  const operations = new Operations({ registry, fleet, books, loop, serial, clock, random, now });
  const over = new AbortController();
  const context: OperatorContext = {
    ...{ operations, loop, registry, fleet, books, clock, log, ground, role: "leader", stopping: over.signal },
  };
  const epochFor = (hello: Hello): Promise<number> => {
    // An equal epoch is ours only if we told it: a new store begins at 1 again, and so did the lost one.
    const ours = fleet.agent(hello.host)?.toldEpoch ?? 0;
    const above = hello.highestEpoch < registry.epoch || hello.highestEpoch === ours;
    return above ? Promise.resolve(registry.epoch) : serial.run(() => narrator.raiseEpoch(hello));
  };
  const event = narrator.event.bind(narrator);
  const session = { fleet, clock, random, log, epochFor, event };
  const others = options.sessions?.({ ...session, epoch: () => registry.epoch });

  const active = state.rollouts.filter((rollout) => rollout.endedAtMs === 0).length;
  const empty = state.services.length === 0 && state.hosts.length === 0;
  const untold = empty && (await store.events({ afterSeq: 0, service: "", limit: 1 })).length === 0;
  if (ground.id !== "" && untold) narrator.emptyStore();
  narrator.started(registry.epoch, options.damaged, active, ground.id);
  loop.onRound(() => analysis.look());
  loop.start();

  const stop = async (reason: string): Promise<void> => {
    narrator.event("controller_stopping", "", reason);
    await loop.stop();
    await serial.idle();
    await analysis.stop();
    fleet.shutdown(reason);
    await others?.stop(reason);
    over.abort();
  };
  let stopped: Promise<void> | undefined;
  return {
    ...{ role: "leader", metrics },
    operators: operatorService(context, ground.operatorToken),
    trusted: operatorService(context, null),
    get epoch() {
      return registry.epoch;
    },
    get position() {
      return registry.position;
    },
    notReady: () => {
      if (over.signal.aborted) return "stopping";
      return registry.trouble === "" ? (others?.trouble ?? "") : registry.trouble;
    },
    session: (stream) => serveSession(stream, session),
    stop: (reason) => (stopped ??= stop(reason)),
  };
}
