/**
 * One strategy's cluster: real controllers, gateway and three hosts, the demo service resting on a good version, and
 * everything that scenarios do to it. Scenarios run on it one after another.
 *
 * Errors  whatever is waited for in vain is an Error that says what was last seen.
 */
import assert from "node:assert/strict";
import { copyFileSync, existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Api } from "../../../control/cli/client.ts";
import type { Cluster } from "../../../control/cli/up/cluster.ts";
import { freePort, startCluster } from "../../../control/cli/up/cluster.ts";
import type { HostView, LedgerView, RolloutView } from "../../../proto/gen/baton/v1/operator.ts";
import { CONTROLLERS, describe, infoOf, leadership, THREE_NATS } from "../../support/cluster.ts";
import { startNode } from "../../support/processes.ts";
import type { RunningProcess } from "../../support/processes.ts";
import { documentOf, SERVICE, strategyOf } from "./documents.ts";
import type { StrategyName, Wanted } from "./documents.ts";

export const HOSTS = 3;
const ASK_EVERY_MS = 20;
const WAIT_MS = 90_000;
const ACTOR = "scenario";

export interface CliEnd {
  readonly exitCode: number;
  /** Of stderr: the remarks on the way. */
  readonly said: string;
}

export interface Deployment {
  readonly version: string;
  readonly rollout: string;
  /** `baton deploy --wait`, once it has ended. */
  readonly cli: Promise<CliEnd>;
}

export class Rig implements AsyncDisposable {
  readonly strategy: StrategyName;
  readonly port: number;
  /** The version that every host rests on. */
  stable = "";
  /** Scenarios played on it: each has clients of its own, whose orders the app has never seen. */
  played = 0;
  readonly #cluster: Cluster;
  readonly #folder: string;
  readonly #commands = new Set<RunningProcess>();
  #versions = 0;

  private constructor(strategy: StrategyName, cluster: Cluster, folder: string) {
    this.strategy = strategy;
    this.port = freePort(0);
    this.#cluster = cluster;
    this.#folder = folder;
  }

  static async start(strategy: StrategyName, onNats: boolean): Promise<Rig> {
    const folder = mkdtempSync(join(tmpdir(), "baton-strategies-"));
    const options = { folder, hosts: HOSTS, workers: 1, wellKnownPorts: false };
    const form = onNats ? { onNats: THREE_NATS, mayEnd: CONTROLLERS } : { mayEnd: ["controller"] };
    const rig = new Rig(strategy, await startCluster({ ...options, ...form }), folder);
    try {
      const first = await rig.deploy();
      assert.equal((await first.cli).exitCode, 0, "the first version came up");
      rig.stable = first.version;
    } catch (error) {
      await rig[Symbol.asyncDispose]();
      throw error;
    }
    return rig;
  }

  /** `baton deploy -f DOCUMENT --wait`; resolves as soon as its rollout has begun. */
  async deploy(how: { readonly behaviour?: string; readonly strategy?: Wanted["strategy"] } = {}): Promise<Deployment> {
    this.#versions += 1;
    const version = `v${this.#versions}`;
    const { behaviour = "", strategy = strategyOf(this.strategy) } = how;
    const file = join(this.#folder, `${version}.yaml`);
    writeFileSync(file, documentOf({ version, behaviour, port: this.port, strategy }));
    const before = new Set((await this.rollouts()).map((view) => view.id));
    const cli = this.baton("deploy", "-f", file, "--wait", "--timeout", "3m");
    const rollout = await this.#begun(before, cli);
    return { version, rollout, cli };
  }

  /** `baton rollout undo --wait`. */
  async undo(): Promise<Deployment> {
    const before = new Set((await this.rollouts()).map((view) => view.id));
    const cli = this.baton("rollout", "undo", SERVICE, "--wait", "--timeout", "3m");
    const rollout = await this.#begun(before, cli);
    return { version: (await this.rollout(rollout)).toVersion, rollout, cli };
  }

  async #begun(before: ReadonlySet<string>, cli: Promise<CliEnd>): Promise<string> {
    let over: CliEnd | undefined;
    void cli.then((end) => (over = end));
    return await this.eventually("a rollout begins", async () => {
      const begun = (await this.rollouts()).find((view) => !before.has(view.id));
      if (begun === undefined && over !== undefined) throw new Error(`no rollout began: ${over.said}`);
      return begun?.id;
    });
  }

  /** The command line as a user has it; resolves when it has ended. */
  async baton(...args: readonly string[]): Promise<CliEnd> {
    const process = startNode("control/cli/main.ts", {
      args: [...args, "--controller", this.#cluster.controllerAddress],
      env: { NO_COLOR: "1" },
    });
    this.#commands.add(process);
    const { code } = await process.exited;
    this.#commands.delete(process);
    return { exitCode: code ?? -1, said: `${process.stdout}${process.stderr}` };
  }

  abort(reason: string): Promise<RolloutView> {
    return this.#cluster.controller.call(Api.abort, { service: SERVICE, reason, actor: ACTOR });
  }

  promote(): Promise<RolloutView> {
    return this.#cluster.controller.call(Api.promote, { service: SERVICE, full: false, actor: ACTOR });
  }

  weigh(weight: number): Promise<RolloutView> {
    return this.#cluster.controller.call(Api.setWeight, { service: SERVICE, weight, actor: ACTOR });
  }

  /** `baton rollout promote --wait`. */
  promoted(): Promise<CliEnd> {
    return this.baton("rollout", "promote", SERVICE, "--wait", "--timeout", "3m");
  }

  async rollout(id: string): Promise<RolloutView> {
    return await this.#cluster.controller.call(Api.getRollout, { service: "", rollout: id });
  }

  async rollouts(): Promise<readonly RolloutView[]> {
    try {
      return (await this.#cluster.controller.call(Api.listRollouts, { service: SERVICE })).rollouts;
    } catch (error) {
      // Before the first deployment there is no such service.
      if (this.stable === "") return [];
      throw error;
    }
  }

  async hosts(): Promise<readonly HostView[]> {
    return (await this.#cluster.controller.call(Api.listHosts, {})).hosts;
  }

  /** Of the service since ever. */
  async ledger(): Promise<LedgerView> {
    const { ledger } = await this.#cluster.controller.call(Api.getService, { name: SERVICE });
    assert(ledger !== undefined, "the service has a ledger");
    return ledger;
  }

  /** The rollout once `when` holds of it; a controller that is away for a moment is asked again. */
  async until(rollout: string, what: string, when: (view: RolloutView) => boolean): Promise<RolloutView> {
    let last: RolloutView | null = null;
    try {
      return await this.eventually(what, async () => {
        last = await this.rollout(rollout).catch(() => last);
        return last !== null && when(last) ? last : undefined;
      });
    } catch (error) {
      throw new Error(`${(error as Error).message}; last seen: ${describe(last)}`, { cause: error });
    }
  }

  async eventually<T>(what: string, probe: () => Promise<T | undefined>, timeoutMs = WAIT_MS): Promise<T> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const found = await probe();
      if (found !== undefined) return found;
      if (performance.now() > deadline) throw new Error(`waited ${timeoutMs / 1_000} s in vain until ${what}`);
      await new Promise((wait) => setTimeout(wait, ASK_EVERY_MS));
    }
  }

  /** SIGKILL for the one that leads; then another one leads on the same store, and the killed one is there again. */
  async killController(): Promise<void> {
    const { leader, epoch } = await leadership(this.#cluster);
    const before = this.#cluster.pid(leader.name);
    process.kill(before, "SIGKILL");
    await this.eventually("the controller is gone", () => Promise.resolve(gone(before) ? true : undefined));
    const alone = this.#cluster.controllers.length === 1;
    if (alone) this.#cluster.restart(leader.name);
    await this.eventually("another controller leads", async () => {
      const led = (await infoOf(this.#cluster)).some((info) => info?.role === "leader" && info.epoch > epoch);
      return led ? true : undefined;
    });
    if (!alone) this.#cluster.restart(leader.name);
  }

  /** What an engineer needs to understand a failure, in a folder that stays. */
  async keep(rollouts: readonly string[]): Promise<string> {
    const kept = mkdtempSync(join(tmpdir(), "baton-scenario-"));
    for (const id of rollouts) {
      const view = await this.rollout(id).catch(() => null);
      const plain = (_key: string, value: unknown): unknown => (typeof value === "bigint" ? Number(value) : value);
      writeFileSync(join(kept, `${id}.json`), JSON.stringify(view, plain, 2));
    }
    const { controllers, natsServers, gateway, hosts } = this.#cluster;
    const processes = [...controllers, ...natsServers].map(({ name }) => name);
    for (const part of [...processes, gateway, ...hosts]) {
      const log = join(this.#folder, "logs", `${part}.log`);
      if (existsSync(log)) copyFileSync(log, join(kept, `${part}.log`));
    }
    return kept;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Whoever still waits for a rollout would wait out its controller's absence.
    await Promise.all([...this.#commands].map((command) => command.stop()));
    await this.#cluster[Symbol.asyncDispose]();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

function gone(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
    return true;
  }
}
