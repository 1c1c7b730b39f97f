/** The controllers that a command was told of, each asked by itself: who leads, and what is wrong with which. */
import type { Info } from "../../proto/gen/baton/v1/operator.ts";
import { Api } from "./client.ts";
import type { CommonOptions } from "./context.ts";
import { connect } from "./context.ts";
import { CliError } from "./errors.ts";
import { EXIT } from "../../proto/contract/limits.ts";
import { table } from "./output.ts";
import { ago } from "./render/units.ts";

export interface Asked {
  readonly address: string;
  /** Null when it does not answer. */
  readonly info: Info | null;
  /** Then why; else "". */
  readonly why: string;
}

const PATIENCE_MS = 5_000;

export function askEach(options: CommonOptions): Promise<readonly Asked[]> {
  return Promise.all(
    options.controller.map(async (address) => {
      using controller = connect({ ...options, controller: [address] }, PATIENCE_MS);
      try {
        return { address, info: await controller.call(Api.getInfo, {}), why: "" };
      } catch (error) {
        if (!(error instanceof CliError) || error.exitCode !== EXIT.unreachable) throw error;
        const why = error.message.replace(/^.*can't be reached: /, "").replace(/\. Is it .*$/, "");
        return { address, info: null, why };
      }
    }),
  );
}

/** The same, the leading one in front: the others do not know yet what it has just sent. */
export async function leaderFirst(options: CommonOptions): Promise<CommonOptions> {
  if (options.controller.length === 1) return options;
  const leading = (await askEach(options)).find(({ info }) => info?.role === "leader")?.address;
  if (leading === undefined) return options;
  return { ...options, controller: [leading, ...options.controller.filter((address) => address !== leading)] };
}

export function controllersTable(asked: readonly Asked[]): string {
  const now = Date.now();
  return table(
    ["ADDRESS", "ID", "ROLE", "LEADER", "EPOCH", "STARTED", "SOFTWARE", "STORE", "TROUBLE"],
    asked.map(({ address, info, why }) =>
      info === null
        ? [address, "–", "–", "–", "–", "–", "–", "–", `not reached: ${why}`]
        : [
            ...[address, info.id || "–", info.role, info.leader || (info.id === "" ? "–" : "nobody")],
            ...[String(info.epoch), ago(info.startedAtMs, now), info.software, info.store],
            info.troubles.join("; ") || "–",
          ],
    ),
  );
}
