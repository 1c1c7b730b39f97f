/**
 * Where the Docker engine is: DOCKER_HOST with DOCKER_TLS_VERIFY and DOCKER_CERT_PATH, read as Docker's own command line
 * reads them; without them the socket that the engine listens on by default.
 *
 * Errors  a sentence for what can't be read; nothing throws.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";

export interface EngineAddress {
  /** As people write it. */
  readonly where: string;
  readonly options:
    | { readonly socketPath: string }
    | {
        readonly host: string;
        readonly port: number;
        readonly protocol: "http" | "https";
        readonly ca?: Buffer;
        readonly cert?: Buffer;
        readonly key?: Buffer;
      };
}

export const DEFAULT_SOCKET = "/var/run/docker.sock";

export function engineAddress(environment: Readonly<Record<string, string | undefined>>): EngineAddress | string {
  const where = environment["DOCKER_HOST"] ?? "";
  if (where === "") return { where: `unix://${DEFAULT_SOCKET}`, options: { socketPath: DEFAULT_SOCKET } };
  if (where.startsWith("unix://")) return { where, options: { socketPath: where.slice(7) || DEFAULT_SOCKET } };
  const url = URL.parse(where.includes("://") ? where : `tcp://${where}`);
  if (url === null || !["tcp:", "http:", "https:"].includes(url.protocol) || url.hostname === "") {
    return `DOCKER_HOST is ${where}; it is read as unix:///PATH or tcp://HOST:PORT`;
  }
  const verified = (environment["DOCKER_TLS_VERIFY"] ?? "") !== "";
  const tls = verified || url.protocol === "https:";
  const at = { host: url.hostname, port: Number(url.port) || (tls ? 2_376 : 2_375) };
  if (!tls) return { where, options: { ...at, protocol: "http" } };
  const folder = environment["DOCKER_CERT_PATH"] ?? "";
  if (folder === "") return { where, options: { ...at, protocol: "https" } };
  try {
    const [ca, cert, key] = [read(folder, "ca.pem"), read(folder, "cert.pem"), read(folder, "key.pem")];
    return { where, options: { ...at, protocol: "https", ca, cert, key } };
  } catch (error) {
    return `DOCKER_CERT_PATH is ${folder}: ${error instanceof Error ? error.message : String(error)}`;
  }
}

const read = (folder: string, name: string): Buffer => readFileSync(join(folder, name));
