/**
 * The main job: a cluster, the demo application on it, steady mixed traffic through its gateway, and a rollout while
 * the traffic flows. Two ledgers say what became of every request: the client's own, and Baton's.
 *
 * Exit  with `once`: 0 only if every rollout succeeded and both ledgers say that nothing was lost; else what the
 *       rollout's end calls for, and 1 for a loss.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EXIT, PORTS } from "../../../proto/contract/limits.ts";
import { sleep } from "../../../proto/kernel/clock.ts";
import { systemClock } from "../../../proto/runtime/system-clock.ts";
import type { RolloutView } from "../../../proto/gen/baton/v1/operator.ts";
import { Api } from "../client.ts";
import { CliError } from "../errors.ts";
import { INTERRUPTED } from "../follow.ts";
import { remark, whenUnread } from "../output.ts";
import { ledgerBlock } from "../render/ledger.ts";
import { rolloutBlock } from "../render/rollout.ts";
import { count } from "../render/units.ts";
import type { NatsOptions } from "../../../proto/contract/nats.ts";
import type { Cluster, OnNats } from "./cluster.ts";
import { freePort, startCluster } from "./cluster.ts";
import { forget } from "./forget.ts";
import { hints } from "./hints.ts";
import { STOPS } from "./parts.ts";
import { roll, writeDocument } from "./service.ts";
import type { ClientVerdict } from "./traffic.ts";
import { startTraffic } from "./traffic.ts";

const GATEWAY_PORT = 8080;
/** Traffic before the first rollout and after the last: what a change costs shows against both. */
const STEADY_MS = 2_000;

export interface DemoOptions {
  readonly once: boolean;
  readonly to: string;
  readonly hosts: number;
  readonly workers: number;
  readonly rate: number;
  readonly rollouts: number;
  readonly state?: string;
  /** Absent: one controller with a store of its own. */
  readonly onNats?: DemoNats;
}

export interface DemoNats extends OnNats {
  /** Given servers on which nothing is to be left. */
  readonly forget?: NatsOptions;
}

export async function runDemo(options: DemoOptions): Promise<number> {
  using asked = interruption();
  const temporary = options.state === undefined;
  const folder = options.state ?? mkdtempSync(join(tmpdir(), "baton-"));
  let exitCode: number = EXIT.failed;
  try {
    exitCode = await inCluster(folder, options, asked.signal);
    return exitCode;
  } finally {
    const left = options.onNats?.forget === undefined ? "" : await forget(options.onNats.forget);
    if (left !== "") remark(left);
    const keep = exitCode !== EXIT.done && exitCode !== INTERRUPTED;
    if (temporary && !keep) rmSync(folder, { recursive: true, force: true });
    else if (temporary) remark(`state and logs are kept in ${folder}`);
  }
}

async function inCluster(folder: string, options: DemoOptions, asked: AbortSignal): Promise<number> {
  const { onNats } = options;
  const controllers = onNats === undefined ? "a controller" : controllersOn(onNats);
  remark(`baton up: ${controllers}, a gateway and ${String(options.hosts)} hosts on loopback`);
  await using cluster = await startCluster({
    ...options,
    folder,
    wellKnownPorts: !options.once,
    onEnded: remark,
    signal: asked,
  });
  const port = freePort(options.once ? 0 : GATEWAY_PORT);
  if (!options.once && port !== GATEWAY_PORT) {
    remark(`port ${String(GATEWAY_PORT)} is taken, so another one is used`);
    if (cluster.controllers[0]?.grpc.endsWith(`:${String(PORTS.controllerGrpc)}`) === false) {
      remark(
        `another controller has the usual port: say \`export BATON_CONTROLLER=${cluster.controllerAddress}\` first`,
      );
    }
  }
  for (const { name, grpc, http } of cluster.controllers) {
    remark(`  ${name.padEnd(11)} ${grpc}   metrics http://${http}/metrics`);
  }
  if (cluster.natsUrls.length > 0) remark(`  NATS        ${cluster.natsUrls.join(", ")}`);
  remark(`  gateway     http://127.0.0.1:${String(port)}/   the demo application`);
  remark(`  hosts       ${cluster.hosts.join(", ")}`);
  const broken = new AbortController();
  void cluster.broken.then((why) => broken.abort(new CliError(why, EXIT.failed)));
  const exitCode = await scene(cluster, port, options, AbortSignal.any([asked, broken.signal]));
  broken.signal.throwIfAborted();
  return exitCode;
}

function controllersOn({ controllers, agentsOver, nats }: OnNats): string {
  const servers = nats.kind === "given" ? nats.urls.length : nats.servers;
  const which = `${nats.kind === "own" ? "its own NATS" : "NATS"} (${plural(servers, "server")})`;
  return `${plural(controllers, "controller")} on ${which}, agents over ${agentsOver === "nats" ? "NATS" : "gRPC"}`;
}

const plural = (n: number, what: string): string => `${String(n)} ${what}${n === 1 ? "" : "s"}`;

/** `over` aborts when the user has asked to stop, or the cluster is broken: what runs is finished, and counted. */
async function scene(cluster: Cluster, port: number, options: DemoOptions, over: AbortSignal): Promise<number> {
  remark("\nv1 comes up on every host:");
  const first = await roll(cluster, port, "v1", over);
  if (first.exitCode !== EXIT.done) {
    process.stdout.write(`${rolloutBlock(first.view, Date.now())}\n`);
    return first.exitCode;
  }

  const kinds = "GETs with idle pauses, uploads, WebSockets, event streams, polls";
  remark(`\nmixed traffic, ${String(options.rate)} requests/s: ${kinds}`);
  await using traffic = startTraffic(`127.0.0.1:${String(port)}`, options.rate);
  await pause(STEADY_MS, over);

  let exitCode: number = EXIT.done;
  const views: RolloutView[] = [];
  for (let i = 0; i < options.rollouts && exitCode === EXIT.done && !over.aborted; i++) {
    const to = i % 2 === 0 ? options.to : "v1";
    remark(`\nrollout ${String(i + 1)} of ${String(options.rollouts)}: to ${to}, while the traffic flows:`);
    const done = await roll(cluster, port, to, over);
    exitCode = done.exitCode;
    views.push(done.view);
    process.stdout.write(`${rolloutBlock(done.view, Date.now())}\n\n`);
  }
  await pause(STEADY_MS, over);
  if (!options.once && !over.aborted) {
    const { started, lost } = traffic.soFar;
    process.stdout.write(`the client so far: ${count(started)} started, ${count(lost)} lost\n`);
    const write = (name: string): string => writeDocument(cluster.folder, name, port);
    remark(hints(cluster, port, { broken: write("v3"), canary: write("canary"), badCanary: write("canary-bad") }));
    await aborted(over);
  }
  remark("the client finishes what it has begun");
  return verdict(
    await traffic.stop(),
    await settled(cluster, views),
    over.aborted && options.once ? INTERRUPTED : exitCode,
  );
}

/** The stored ledgers, read again once what was in flight at the rollout's end has been counted. */
async function settled(cluster: Cluster, views: readonly RolloutView[]): Promise<readonly RolloutView[]> {
  return await Promise.all(
    views.map((view) => cluster.controller.call(Api.getRollout, { service: "", rollout: view.id })),
  );
}

function showLedgers(client: ClientVerdict, views: readonly RolloutView[]): void {
  process.stdout.write(`${client.text}\n`);
  for (const view of views) {
    process.stdout.write(
      `Baton's ledger, ${view.fromVersion} → ${view.toVersion}:\n${ledgerBlock(view.ledger).join("\n")}\n`,
    );
  }
}

function verdict(client: ClientVerdict, views: readonly RolloutView[], exitCode: number): number {
  showLedgers(client, views);
  const counted = views.reduce((sum, view) => sum + Number(view.ledger?.lostTotal ?? 0n), 0);
  const clean = client.clean && counted === 0;
  process.stdout.write(
    `\n${clean ? "nothing was lost" : "something was lost"}: the client counts ${count(client.lost)} lost of ${count(client.started)} started, Baton ${count(counted)}\n`,
  );
  return exitCode === EXIT.done && !clean ? EXIT.failed : exitCode;
}

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });

const pause = (ms: number, signal: AbortSignal): Promise<void> => sleep(systemClock, ms, signal);

/**
 * Aborts at the first of STOPS (parts.ts), and when nobody reads any more what is said here: the cluster is not to outlive
 * its terminal. A second signal hastens the stop (parts.ts).
 */
function interruption(): Disposable & { readonly signal: AbortSignal } {
  const controller = new AbortController();
  const stop = (): void => {
    if (!controller.signal.aborted) remark("\nstopping: what runs is finished first; once more to hasten it");
    controller.abort();
  };
  for (const signal of STOPS) process.on(signal, stop);
  const reading = whenUnread(stop);
  return {
    signal: controller.signal,
    [Symbol.dispose]: () => {
      reading[Symbol.dispose]();
      for (const signal of STOPS) process.off(signal, stop);
    },
  };
}
