/** baton drain, undrain: take a host's inbound traffic away, and give it back. */
import type { Command } from "commander";
import { EXIT } from "../../../proto/contract/limits.ts";
import type { HostView } from "../../../proto/gen/baton/v1/operator.ts";
import type { Controller } from "../client.ts";
import { Api, actor } from "../client.ts";
import type { CommonOptions } from "../context.ts";
import { connect, duration, withController } from "../context.ts";
import { CliError } from "../errors.ts";
import { print, remark } from "../output.ts";
import { count } from "../render/units.ts";

type DrainOptions = CommonOptions & { wait?: boolean; timeout?: number; force?: boolean };
const ASK_EVERY_MS = 250;

export function addHostCommands(program: Command, done: (exitCode: number) => void): void {
  withController(
    program
      .command("drain")
      .description("send a host nothing new; what runs on it is finished")
      .argument("<host>")
      .option("--force", "drain it though a service is left without any host that serves it")
      .option("--wait", "return when nothing is in flight on it")
      .option("--timeout <duration>", "give up waiting after this long (exit 4)", duration),
  ).action(async (host: string, options: DrainOptions) => {
    using controller = connect(options);
    if (options.force !== true) await mayDrain(controller, host);
    const view = await controller.call(Api.drain, { host, actor: actor() });
    if (options.wait === true) {
      done(await untilIdle(controller, host, options));
      return;
    }
    print(options.output, view, () => `${host}: draining, ${count(view.inFlight)} in flight`);
    done(EXIT.done);
  });

  withController(program.command("undrain").description("send a drained host traffic again").argument("<host>")).action(
    async (host: string, options: CommonOptions) => {
      using controller = connect(options);
      const view = await controller.call(Api.undrain, { host, actor: actor() });
      print(options.output, view, () => `${host}: ready`);
      done(EXIT.done);
    },
  );
}

/** The last host that serves something is what an operator drains by mistake: every request of it would be refused. */
async function mayDrain(controller: Controller, name: string): Promise<void> {
  const { hosts } = await controller.call(Api.listHosts, {});
  const host = hosts.find((one) => one.name === name);
  if (host === undefined || host.adminState === "drain") return;
  const others = hosts.filter((one) => one !== host && one.live && one.adminState !== "drain").flatMap(servedBy);
  const alone = [...new Set(servedBy(host))].filter((service) => !others.includes(service)).sort();
  if (alone.length === 0) return;
  const what = alone.join(", ");
  throw new CliError(
    `${name} is the only host that serves ${what} now: drained, it leaves every request for ${what} refused. Undrain or ` +
      `start another one first, or drain it all the same with --force`,
    EXIT.failed,
  );
}

const servedBy = ({ instances }: HostView): readonly string[] =>
  instances.filter(({ state }) => state === "serving").map(({ service }) => service);

async function untilIdle(controller: Controller, name: string, options: DrainOptions): Promise<number> {
  const deadline = Date.now() + (options.timeout ?? Number.POSITIVE_INFINITY);
  let shown = "";
  for (;;) {
    const { hosts } = await controller.call(Api.listHosts, {});
    const host: HostView | undefined = hosts.find((one) => one.name === name);
    // Idle counts only once the host and every gateway serve what was asked: before, the next request may be on its way.
    const pending = hosts.filter((one) => one.live && one.sync !== "SYNCED").map((one) => one.name);
    const line = `${name}: draining, ${count(host?.inFlight ?? 0n)} in flight${pending.length > 0 ? `, waiting for ${pending.join(", ")}` : ""}`;
    if (line !== shown) remark(line);
    shown = line;
    if (host?.adminState === "drain" && host.inFlight === 0n && pending.length === 0) {
      print(options.output, host, () => `${name}: drained`);
      return EXIT.done;
    }
    if (Date.now() >= deadline) return EXIT.timeout;
    await new Promise((resolve) => setTimeout(resolve, ASK_EVERY_MS));
  }
}
