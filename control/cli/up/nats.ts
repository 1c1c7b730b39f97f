/**
 * What a local cluster's NATS is: servers that are there already, or `nats-server`s of its own on loopback, each with its
 * configuration and JetStream's files in the cluster's folder.
 *
 * Errors  CliError with what to install when a server is wanted and there is no program for it.
 */
import { accessSync, constants, mkdirSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { EXIT } from "../../../proto/contract/limits.ts";
import { CliError } from "../errors.ts";
import { freePort, lastingPort } from "./ports.ts";

export type UpNats =
  /** Servers of somebody else's; `flags` are NATS_FLAGS as controllers and agents take them. */
  | { readonly kind: "given"; readonly urls: readonly string[]; readonly flags: readonly string[] }
  | { readonly kind: "own"; readonly servers: 1 | 3 };

export interface OwnServer {
  /** "nats-1" */
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly url: string;
  /** 127.0.0.1:PORT, with /jsz and /healthz. */
  readonly monitor: string;
}

const CLIENT_PORT = 4222;

export function ownServers(folder: string, count: 1 | 3, wellKnownPorts: boolean): readonly OwnServer[] {
  const command = program();
  const local = (port: number): string => `127.0.0.1:${String(port)}`;
  const routes = Array.from({ length: count }, () => local(lastingPort()));
  return routes.map((route, i) => {
    const name = `nats-${String(i + 1)}`;
    const listen = local(wellKnownPorts ? freePort(CLIENT_PORT + i) : lastingPort());
    const monitor = local(lastingPort());
    const store = join(folder, name);
    mkdirSync(store, { recursive: true, mode: 0o700 });
    const others = routes.filter((one) => one !== route).map((one) => `nats://${one}`);
    // nats-server's language takes JSON as it is.
    const config = {
      server_name: name,
      ...{ listen, http: monitor, jetstream: { store_dir: store } },
      ...(count === 1 ? {} : { cluster: { name: "baton-up", listen: route, routes: others } }),
    };
    const file = join(folder, `${name}.conf`);
    writeFileSync(file, JSON.stringify(config, null, 2), { mode: 0o600 });
    return { name, command, args: ["--config", file], url: `nats://${listen}`, monitor };
  });
}

/** A plain user's PATH lacks the sbin folders, where Debian puts it. */
function program(): string {
  const folders = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/local/sbin", "/usr/sbin", "/sbin"];
  for (const folder of folders.filter((one) => one !== "")) {
    const path = join(folder, "nats-server");
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // not there
    }
  }
  throw new CliError(
    "--nats without a URL starts nats-server, and there is none on PATH. Install it (Debian, Ubuntu: apt-get install " +
      "nats-server; elsewhere https://docs.nats.io), or name servers that run: --nats nats://HOST:PORT",
    EXIT.failed,
  );
}
