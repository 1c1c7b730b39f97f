/** baton events, version: what happened, and what runs. */
import type { Command } from "commander";
import pc from "picocolors";
import { EXIT, PROTOCOL_VERSION } from "../../../proto/contract/limits.ts";
import type { Event } from "../../../proto/gen/baton/v1/operator.ts";
import { Api } from "../client.ts";
import type { CommonOptions } from "../context.ts";
import { connect, wholeNumber, withController } from "../context.ts";
import { CliError } from "../errors.ts";
import { plain, print, remark } from "../output.ts";
import { SOFTWARE } from "../software.ts";

type EventsOptions = CommonOptions & { watch?: boolean; service?: string; limit?: number; after?: number };

export function addEventCommands(program: Command, done: (exitCode: number) => void): void {
  withController(
    program
      .command("events")
      .description("what happened, the newest last")
      .option("--service <name>", "only this service's")
      .option("--limit <number>", "at most this many past ones (default 200)", wholeNumber)
      .option("--after <seq>", "only those after this number", wholeNumber)
      .option("-w, --watch", "go on as they happen"),
  ).action(async (options: EventsOptions) => {
    using controller = connect(options);
    const request = {
      afterSeq: BigInt(options.after ?? 0),
      follow: options.watch ?? false,
      service: options.service ?? "",
      limit: options.limit ?? 0,
    };
    for await (const event of controller.stream(Api.events, request)) {
      process.stdout.write(options.output === "table" ? `${eventLine(event)}\n` : `${JSON.stringify(plain(event))}\n`);
    }
    done(EXIT.done);
  });

  withController(program.command("version").description("the versions of this program and of the controller")).action(
    async (options: CommonOptions) => {
      const own = { software: SOFTWARE, protocolVersion: PROTOCOL_VERSION, node: process.version };
      using controller = connect(options);
      try {
        const info = await controller.call(Api.getInfo, {});
        print(options.output, { client: own, controller: info }, () =>
          [
            `baton       ${own.software} (protocol ${String(own.protocolVersion)}, Node ${own.node})`,
            `controller  ${info.software} (protocol ${String(info.protocolVersion)}, epoch ${String(info.epoch)}) at ${options.controller}`,
          ].join("\n"),
        );
      } catch (error) {
        if (!(error instanceof CliError) || error.exitCode !== EXIT.unreachable) throw error;
        print(
          options.output,
          { client: own, controller: null },
          () => `baton       ${own.software} (protocol ${String(own.protocolVersion)}, Node ${own.node})`,
        );
        remark(`controller  not reached at ${options.controller}`);
      }
      done(EXIT.done);
    },
  );
}

export function eventLine(event: Event): string {
  const at = new Date(Number(event.atMs)).toISOString();
  const about = [event.service, event.host].filter((text) => text !== "").join(" ");
  const by = event.actor === "" ? "" : pc.dim(` (${event.actor})`);
  return `${pc.dim(at)}  ${event.kind.padEnd(18)} ${about.padEnd(16)} ${event.message}${by}`;
}
