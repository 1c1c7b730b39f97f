/** baton host status: whether each host has what it is to have, and if not, why and since when. */
import type { Command } from "commander";
import { EXIT } from "../../../proto/contract/limits.ts";
import type { HostView } from "../../../proto/gen/baton/v1/operator.ts";
import { hint } from "../../lookup.ts";
import type { Controller } from "../client.ts";
import { Api } from "../client.ts";
import type { CommonOptions } from "../context.ts";
import { connect, duration, withController } from "../context.ts";
import { leaderFirst } from "../controllers.ts";
import { CliError } from "../errors.ts";
import { print, remark, table } from "../output.ts";
import { ago } from "../render/units.ts";

type StatusOptions = CommonOptions & { wait?: boolean; timeout?: number };
const ASK_EVERY_MS = 250;
/** Of those that are waited for, so many are named. */
const NAMED = 5;

const HELP = `
  SYNCED    it confirmed what it is to have: live in every worker
  STALE     it has something older, or nothing is heard of it
  NOT SENT  nothing was sent to it yet
  REJECTED  it refused what it was sent, and keeps what it had; it is asked again once something else is wanted

Exit code: 0 only if every host that is shown is SYNCED, else 1; 4 when --timeout passed before they were.`;

export function addHostStatus(program: Command, done: (exitCode: number) => void): void {
  const host = program.command("host").description("what hosts have confirmed");
  withController(
    host
      .command("status")
      .description("whether each host has what it is to have; else why not, and since when")
      .argument("[host]", "only this one")
      .option("--wait", "return when all are SYNCED")
      .option("--timeout <duration>", "give up waiting after this long (exit 4)", duration)
      .addHelpText("after", HELP),
  ).action(async (name: string | undefined, options: StatusOptions) => {
    using controller = connect(await leaderFirst(options));
    if (options.timeout !== undefined && options.wait !== true)
      remark("--timeout is for --wait: nothing is waited for");
    const deadline = Date.now() + (options.timeout ?? Number.POSITIVE_INFINITY);
    let shown = "";
    for (;;) {
      const hosts = await ask(controller, name);
      const behind = hosts.filter((one) => one.sync !== "SYNCED");
      const over = options.wait !== true || Date.now() >= deadline;
      if (behind.length === 0 || over) {
        print(options.output, hosts, () => statusTable(hosts));
        done(behind.length === 0 ? EXIT.done : options.wait === true ? EXIT.timeout : EXIT.failed);
        return;
      }
      const line = waitLine(hosts.length, behind);
      if (line !== shown) remark(line);
      shown = line;
      await new Promise((resolve) => setTimeout(resolve, ASK_EVERY_MS));
    }
  });
}

async function ask(controller: Controller, name: string | undefined): Promise<readonly HostView[]> {
  const { hosts } = await controller.call(Api.listHosts, {});
  return name === undefined ? hosts : hostNamed(hosts, name);
}

/** That one alone; or a refusal with the nearest, or what there is, in the words in which a controller refuses it. */
export function hostNamed(hosts: readonly HostView[], name: string): readonly HostView[] {
  const found = hosts.filter((host) => host.name === name);
  if (found.length > 0) return found;
  const names = hosts.map((host) => host.name);
  throw new CliError(`no host ${name}${hint(name, names, "hosts")}`, EXIT.usage);
}

const word = ({ sync }: HostView): string => sync.replace("_", " ");

function waitLine(all: number, behind: readonly HostView[]): string {
  const named = behind.slice(0, NAMED).map((one) => `${one.name} (${word(one)})`);
  const more = behind.length > NAMED ? ` and ${String(behind.length - NAMED)} more` : "";
  return `${String(all - behind.length)} of ${String(all)} SYNCED; waiting for ${named.join(", ")}${more}`;
}

export function statusTable(hosts: readonly HostView[]): string {
  const now = Date.now();
  const of = (epoch: bigint, generation: bigint): string =>
    generation === 0n ? "–" : `${String(epoch)}.${String(generation)}`;
  return table(
    ["HOST", "ROLE", "SYNC", "SINCE", "ASKED", "APPLIED", "HEARD", "FROM", "SOFTWARE", "WHY"],
    hosts.map((host) => [
      host.name,
      host.role,
      word(host),
      host.syncSinceMs === 0n ? "–" : ago(host.syncSinceMs, now),
      of(host.askedEpoch, host.askedGeneration),
      of(host.epoch, host.generation),
      ago(host.heardAtMs, now),
      host.peer || "–",
      host.software || "–",
      // What it refused stays worth knowing where something else holds it now.
      [host.syncReason, host.refused === host.syncReason ? "" : refusedLine(host)].filter((t) => t !== "").join("; ") ||
        "–",
    ]),
  );
}

const refusedLine = ({ refused }: HostView): string => (refused === "" ? "" : `it refused: ${refused}`);
