/**
 * The mixed traffic and its ledger, as a process of its own: it knows nothing of Baton, so its word is a witness's.
 * It speaks one JSON line a second on stdout, and its whole ledger as the last one.
 */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { z } from "zod";
import { EXIT } from "../../../proto/contract/limits.ts";
import { CliError } from "../errors.ts";
import { ROOT } from "./cluster.ts";

const progress = z.object({ type: z.literal("progress"), started: z.number(), lost: z.number() });
const ledger = z.object({
  type: z.literal("ledger"),
  /** The table for people. */
  text: z.string(),
  clean: z.boolean(),
  total: z.object({ started: z.number(), lost: z.number() }),
});
const line = z.discriminatedUnion("type", [progress, ledger]);

export interface ClientVerdict {
  readonly text: string;
  /** Everything that was started ended well. */
  readonly clean: boolean;
  readonly started: number;
  readonly lost: number;
}

export interface Traffic extends AsyncDisposable {
  /** What it counted up to its last line. */
  readonly soFar: { readonly started: number; readonly lost: number };
  /** Begins nothing more, finishes what runs, answers the ledger. */
  stop(): Promise<ClientVerdict>;
}

/** @param address host:port of the service; @param rate arrivals a second, over the whole mix */
export function startTraffic(address: string, rate: number): Traffic {
  const args = ["--target", address, "--rate", String(rate), "--progress", "json", "--resend"];
  const child = spawn(process.execPath, [join(ROOT, "test", "loss", "main.ts"), ...args], {
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let complaint = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (complaint = (complaint + text).slice(-2_000)));
  let soFar = { started: 0, lost: 0 };
  const ended = new Promise<ClientVerdict>((resolve, reject) => {
    let verdict: ClientVerdict | null = null;
    createInterface({ input: child.stdout }).on("line", (text) => {
      const said = line.parse(JSON.parse(text));
      if (said.type === "progress") soFar = { started: said.started, lost: said.lost };
      else verdict = { text: said.text, clean: said.clean, started: said.total.started, lost: said.total.lost };
    });
    child.once("close", (code, signal) => {
      if (verdict !== null) resolve(verdict);
      else reject(new CliError(`the traffic client ended (${signal ?? String(code)}): ${complaint}`, EXIT.failed));
    });
  });
  ended.catch(() => undefined); // asked for in `stop`
  return {
    get soFar() {
      return soFar;
    },
    stop() {
      child.kill("SIGTERM");
      return ended;
    },
    async [Symbol.asyncDispose]() {
      if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
      await ended.catch(() => undefined);
    },
  };
}
