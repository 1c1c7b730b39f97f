/**
 * The process driver: what the keeper is asked to start for one instance. The app is told where to listen by PORT and
 * HOST, and which instance it is by BATON_*; of the agent's own environment it gets a small base only.
 *
 * The port is the kernel's choice, taken by binding 0 and closing again. Another program may get it in between: an app
 * that dies with EADDRINUSE is started again on another port (instance.ts).
 */
import { createServer } from "node:net";
import { resolve } from "node:path";
import type { ProcessRun } from "../../../proto/contract/spec/types.ts";
import type { ProcessSpec } from "../../keeper/protocol.ts";

/** Apps listen on loopback: their traffic comes through the sidecar. */
export const APP_ADDRESS = "127.0.0.1";

/** What an app inherits, where set; everything else of the agent's environment is the agent's business. */
const INHERITED = ["PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR"] as const;

export function baseEnvironment(
  environment: Readonly<Record<string, string | undefined>>,
): Readonly<Record<string, string>> {
  const base: Record<string, string> = {};
  for (const name of INHERITED) {
    const value = environment[name];
    if (value !== undefined) base[name] = value;
  }
  return base;
}

export interface LaunchRequest {
  readonly processId: string;
  readonly instance: string;
  readonly service: string;
  readonly version: string;
  readonly host: string;
  readonly port: number;
  readonly run: ProcessRun;
  readonly base: Readonly<Record<string, string>>;
  readonly outputFile: string;
}

export function processSpec(asked: LaunchRequest): ProcessSpec {
  return {
    id: asked.processId,
    command: asked.run.command,
    cwd: resolve(asked.run.cwd),
    env: {
      ...asked.base,
      ...asked.run.env,
      PORT: String(asked.port),
      HOST: APP_ADDRESS,
      BATON_SERVICE: asked.service,
      BATON_VERSION: asked.version,
      BATON_INSTANCE: asked.instance,
      BATON_HOST: asked.host,
    },
    outputFile: asked.outputFile,
  };
}

/** A port that was free a moment ago. Rejects when the kernel has none. */
export type PickPort = () => Promise<number>;

export const pickPort: PickPort = () =>
  new Promise((done, fail) => {
    const server = createServer();
    server.on("error", fail);
    server.listen({ host: APP_ADDRESS, port: 0 }, () => {
      const address = server.address();
      server.close(() => done(typeof address === "object" && address !== null ? address.port : 0));
    });
  });

/** How programs of any language say that their port is taken. */
export const saysPortTaken = (lines: readonly string[]): boolean =>
  lines.some((line) => /EADDRINUSE|address (is )?already in use|port (is )?already (in use|allocated)/i.test(line));
