/**
 * Real nats-servers for tests: one, or a cluster of three, each a process with a folder of its own.
 *
 *   await using nats = await startNats({ servers: 3 });
 *   const link = await nats.link();
 *   await nats.servers[0]!.kill();
 *   await nats.servers[0]!.restart();
 *
 * Ports    chosen below the kernel's own range (net.ipv4.ip_local_port_range), so that nobody's port 0 takes that of a
 *          server that is down for a moment; one that is taken all the same makes the start begin anew with others.
 * Errors   a start or restart that does not come to be ready rejects, with what the servers printed.
 * Ending   disposal closes the links, kills the servers by pid and removes their folders.
 */
import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { BoundSocket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { NatsLink } from "../../proto/contract/nats-link.ts";
import type { NatsOptions } from "../../proto/contract/nats.ts";
import type { Log } from "../../proto/kernel/log.ts";
import { silentLog } from "../../proto/kernel/log.ts";
import { openNats } from "../../proto/runtime/nats.ts";
import { systemClock, systemRandom } from "../../proto/runtime/system-clock.ts";
import { find } from "./debian.ts";
import type { RunningProcess } from "./processes.ts";
import { startProgram, until } from "./processes.ts";

export interface NatsSetup {
  /** Three make a cluster. */
  readonly servers?: 1 | 3;
  /** On unless it is false. */
  readonly jetstream?: boolean;
  readonly auth?: { readonly user: string; readonly password: string };
  readonly tls?: {
    readonly certFile: string;
    readonly keyFile: string;
    readonly caFile?: string;
    /** Clients must show a certificate of that authority's. */
    readonly verify?: boolean;
  };
  /** Clients are told of the cluster's other servers, unless it is false: then a client knows those alone that it was given. */
  readonly advertise?: boolean;
  /** JetStream's room on disk, bytes a server. */
  readonly maxStore?: number;
  /** A folder: what a server printed is added to `<its name>.log` there whenever it has ended. */
  readonly logs?: string;
  /** Merged into each server's configuration, as nats-server spells it. */
  readonly config?: Readonly<Record<string, unknown>>;
}

export interface NatsServer {
  readonly name: string;
  /** nats:// or tls://, at 127.0.0.1. */
  readonly url: string;
  /** http://127.0.0.1:PORT, with /jsz and /healthz. */
  readonly monitor: string;
  /** JetStream's. */
  readonly folder: string;
  readonly pid: number;
  readonly running: boolean;
  /** What it printed since it was started last. */
  readonly output: string;
  /** SIGKILL; resolves when it is gone. */
  kill(): Promise<void>;
  /** SIGTERM; resolves when it is gone. */
  end(): Promise<void>;
  /** SIGSTOP: it holds its connections and says nothing. */
  stop(): void;
  /** SIGCONT */
  cont(): void;
  /** The same ports and storage; killed first if it runs. `changes` hold from then on. Resolves when it is ready, alone or among those that run. */
  restart(changes?: Pick<NatsSetup, "jetstream" | "maxStore" | "config">): Promise<void>;
  /** As an operator changes users and permissions: nobody is disconnected for it by the restart of a server. */
  reload(config: Readonly<Record<string, unknown>>): Promise<void>;
}

export interface NatsServers extends AsyncDisposable {
  readonly servers: readonly NatsServer[];
  readonly urls: readonly string[];
  /** As --nats and its kin would be; with `auth` the credentials lie in a file. */
  options(changes?: Partial<NatsOptions>): NatsOptions;
  /** A connection of its own, by openNats; closed at disposal if it is not before. */
  link(changes?: Partial<NatsOptions>, log?: Log): Promise<NatsLink>;
  /** The server that leads this stream (a bucket's is KV_<bucket>); with a single server, that one. */
  leaderOf(stream: string): Promise<NatsServer>;
}

const LOWEST_PORT = 15_100;
const HIGHEST_PORT = 32_000;
/** Three that were all killed, on a busy machine, take half a minute to elect who leads. */
const READY_MS = 60_000;
const TRIES = 5;

export async function startNats(setup: NatsSetup = {}): Promise<NatsServers> {
  for (let tried = 1; ; tried++) {
    const group = new Group(setup);
    try {
      await group.start();
      return group;
    } catch (error) {
      const taken = group.servers.some(({ output }) => output.includes("address already in use"));
      await group[Symbol.asyncDispose]();
      if (!taken || tried === TRIES) throw error;
    }
  }
}

class Group implements NatsServers {
  readonly servers: readonly Server[];
  readonly #setup: NatsSetup;
  readonly #folder = mkdtempSync(join(tmpdir(), "baton-nats-"));
  readonly #links: NatsLink[] = [];

  constructor(setup: NatsSetup) {
    this.#setup = setup;
    const count = setup.servers ?? 1;
    const chosen = new Set<number>();
    while (chosen.size < count * 3) chosen.add(freePort());
    const ports = [...chosen];
    const routes = ports.slice(0, count);
    this.servers = routes.map((route, i) => {
      const at: At = { folder: this.#folder, name: `n${String(i + 1)}`, route, routes, client: 0, monitor: 0 };
      return new Server({ ...at, client: ports[count + i] ?? 0, monitor: ports[2 * count + i] ?? 0 }, setup);
    });
  }

  get urls(): readonly string[] {
    return this.servers.map(({ url }) => url);
  }

  async start(): Promise<void> {
    for (const server of this.servers) server.start();
    await Promise.all(this.servers.map((server) => server.ready()));
  }

  options(changes: Partial<NatsOptions> = {}): NatsOptions {
    const { auth, tls } = this.#setup;
    const credsFile = auth === undefined ? null : join(this.#folder, "creds");
    if (auth !== undefined && credsFile !== null) writeFileSync(credsFile, `${auth.user}:${auth.password}\n`);
    const shared = { servers: this.urls, cluster: "baton", credsFile, caFile: tls?.caFile ?? null };
    return { ...shared, certFile: null, keyFile: null, trustNetwork: false, ...changes };
  }

  async link(changes: Partial<NatsOptions> = {}, log: Log = silentLog): Promise<NatsLink> {
    const nats = this.options(changes);
    const link = await openNats({ nats, name: "test", clock: systemClock, random: systemRandom, log });
    this.#links.push(link);
    return link;
  }

  async leaderOf(stream: string): Promise<NatsServer> {
    if (this.servers.length === 1) return this.servers[0]!;
    let leader: NatsServer | undefined;
    await until(`${stream} has a leader`, async () => {
      for (const server of this.servers.filter(({ running }) => running)) {
        const jsz = (await monitored(server, "/jsz?streams=true")) as Jsz | null;
        const found = jsz?.account_details?.flatMap((account) => account.stream_detail ?? []);
        const name = found?.find((detail) => detail.name === stream)?.cluster?.leader;
        leader = this.servers.find((one) => one.name === name && one.running);
        if (leader !== undefined) return true;
      }
      return false;
    });
    return leader!;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // A close waits for what was said to be sent; with its server gone it would for ever.
    await Promise.all(
      this.#links.map((link) => Promise.race([link.close(), new Promise((wait) => setTimeout(wait, 500))])),
    );
    await Promise.all(this.servers.map((server) => server.kill()));
    rmSync(this.#folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

interface At {
  readonly folder: string;
  readonly name: string;
  readonly client: number;
  readonly monitor: number;
  readonly route: number;
  /** Of all, this one's too. */
  readonly routes: readonly number[];
}

class Server implements NatsServer {
  readonly name: string;
  readonly url: string;
  readonly monitor: string;
  readonly folder: string;
  readonly #at: At;
  #setup: NatsSetup;
  #process: RunningProcess | undefined;
  /** Whose output is in the log. */
  #kept: RunningProcess | undefined;

  constructor(at: At, setup: NatsSetup) {
    this.#at = at;
    this.#setup = setup;
    this.name = at.name;
    this.url = `${setup.tls === undefined ? "nats" : "tls"}://127.0.0.1:${String(at.client)}`;
    this.monitor = `http://127.0.0.1:${String(at.monitor)}`;
    this.folder = join(at.folder, at.name);
  }

  get pid(): number {
    return this.#process?.pid ?? 0;
  }

  get running(): boolean {
    return this.#process !== undefined && this.#process.exit === null;
  }

  get output(): string {
    return `${this.#process?.stderr ?? ""}${this.#process?.stdout ?? ""}`;
  }

  start(): void {
    const file = `${this.folder}.conf`;
    // Its language takes JSON as it is.
    writeFileSync(file, JSON.stringify(this.#config(), null, 2));
    this.#process = startProgram(find("nats-server") ?? "nats-server", { args: ["--config", file] });
  }

  async ready(): Promise<void> {
    const process = this.#process!;
    await until(
      `nats-server ${this.name} is ready`,
      async () => {
        if (process.exit !== null) throw new Error(`nats-server ended: ${process.describe()}`);
        return this.#isReady();
      },
      READY_MS,
    ).catch((error: unknown) => {
      throw new Error(`${(error as Error).message}\n${process.describe()}`);
    });
  }

  async #isReady(): Promise<boolean> {
    const health = (await monitored(this, "/healthz")) as { readonly status?: string } | null;
    if (health?.status !== "ok") return false;
    if (this.#setup.jetstream === false || this.#at.routes.length === 1) return true;
    const meta = ((await monitored(this, "/jsz")) as Jsz | null)?.meta_cluster;
    return (meta?.leader ?? "") !== "" && meta?.cluster_size === this.#at.routes.length;
  }

  async kill(): Promise<void> {
    this.#process?.signal("SIGKILL");
    await this.#process?.exited;
    this.#keepOutput();
  }

  async end(): Promise<void> {
    await this.#process?.stop();
    this.#keepOutput();
  }

  #keepOutput(): void {
    const { logs } = this.#setup;
    if (logs === undefined || this.#process === this.#kept) return;
    appendFileSync(join(logs, `${this.name}.log`), this.output);
    this.#kept = this.#process;
  }

  stop(): void {
    this.#process?.signal("SIGSTOP");
  }

  cont(): void {
    this.#process?.signal("SIGCONT");
  }

  async restart(changes: Pick<NatsSetup, "jetstream" | "maxStore" | "config"> = {}): Promise<void> {
    this.#setup = { ...this.#setup, ...changes };
    await this.kill();
    this.start();
    await this.ready();
  }

  async reload(config: Readonly<Record<string, unknown>>): Promise<void> {
    this.#setup = { ...this.#setup, config };
    const before = this.output.length;
    writeFileSync(`${this.folder}.conf`, JSON.stringify(this.#config(), null, 2));
    this.#process?.signal("SIGHUP");
    await until(`nats-server ${this.name} has reloaded`, () => this.output.slice(before).includes("Reloaded server"));
  }

  #config(): Readonly<Record<string, unknown>> {
    const { name, client, monitor, route, routes } = this.#at;
    const { jetstream, advertise, maxStore, auth, tls, config } = this.#setup;
    const local = (port: number): string => `127.0.0.1:${String(port)}`;
    return {
      server_name: name,
      listen: local(client),
      http: local(monitor),
      ...(jetstream === false
        ? {}
        : { jetstream: { store_dir: this.folder, ...(maxStore === undefined ? {} : { max_file_store: maxStore }) } }),
      ...(routes.length === 1
        ? {}
        : {
            cluster: {
              name: "test",
              listen: local(route),
              ...(advertise === false ? { no_advertise: true } : {}),
              routes: routes.filter((other) => other !== route).map((other) => `nats://${local(other)}`),
            },
          }),
      ...(auth === undefined ? {} : { authorization: auth }),
      ...(tls === undefined
        ? {}
        : {
            tls: {
              cert_file: tls.certFile,
              key_file: tls.keyFile,
              ...(tls.caFile === undefined ? {} : { ca_file: tls.caFile }),
              ...(tls.verify === true ? { verify: true } : {}),
            },
          }),
      ...config,
    };
  }
}

interface Jsz {
  readonly meta_cluster?: { readonly leader?: string; readonly cluster_size?: number };
  readonly account_details?: readonly {
    readonly stream_detail?: readonly { readonly name: string; readonly cluster?: { readonly leader?: string } }[];
  }[];
}

/** Null while it does not answer. */
async function monitored(server: NatsServer, path: string): Promise<unknown> {
  try {
    const answer = await fetch(server.monitor + path, { signal: AbortSignal.timeout(2_000) });
    return await answer.json();
  } catch {
    return null;
  }
}

function freePort(): number {
  for (;;) {
    const port = LOWEST_PORT + Math.floor(Math.random() * (HIGHEST_PORT - LOWEST_PORT));
    try {
      const probe = new BoundSocket({ host: "127.0.0.1", port });
      probe.close();
      return port;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EADDRINUSE") throw error;
    }
  }
}
