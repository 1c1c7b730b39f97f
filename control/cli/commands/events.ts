/** baton events, version: what happened, and what runs. */
import type { Command } from "commander";
import pc from "picocolors";
import { EXIT, PROTOCOL_VERSION } from "../../../proto/contract/limits.ts";
import type { Event, EventsRequest } from "../../../proto/gen/baton/v1/operator.ts";
import type { Controller } from "../client.ts";
import { Api } from "../client.ts";
import { askEach } from "../controllers.ts";
import type { CommonOptions } from "../context.ts";
import { connect, wholeNumber, withController } from "../context.ts";
import { CliError } from "../errors.ts";
import { plain, print, remark } from "../output.ts";
import { SOFTWARE } from "../software.ts";

const AGAIN_MS = 500;
/** Of each address, before a followed stream is given up. */
const TRIES = 20;

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
    for await (const event of everyEvent(controller, request)) {
      process.stdout.write(options.output === "table" ? `${eventLine(event)}\n` : `${JSON.stringify(plain(event))}\n`);
    }
    done(EXIT.done);
  });

  withController(program.command("version").description("the versions of this program and of each controller")).action(
    async (options: CommonOptions) => {
      const own = { software: SOFTWARE, protocolVersion: PROTOCOL_VERSION, node: process.version };
      const asked = await askEach(options);
      const line = `baton       ${own.software} (protocol ${String(own.protocolVersion)}, Node ${own.node})`;
      const there = asked.flatMap(({ address, info }) => {
        if (info === null) return [];
        const role = info.id === "" ? "" : `, ${info.role} ${info.id}`;
        const what = `protocol ${String(info.protocolVersion)}, epoch ${String(info.epoch)}${role}`;
        return [`controller  ${info.software} (${what}) at ${address}`];
      });
      const controllers = asked.map(({ info }) => info);
      print(
        options.output,
        { client: own, controller: controllers.find((info) => info !== null) ?? null, controllers },
        () => [line, ...there].join("\n"),
      );
      for (const { address, info, why } of asked) {
        if (info === null) remark(`controller  not reached at ${address}: ${why}`);
      }
      done(EXIT.done);
    },
  );
}

/** Where a controller goes away while it is followed, the next one goes on after the last event that was seen. */
async function* everyEvent(controller: Controller, asked: EventsRequest): AsyncGenerator<Event> {
  let request = asked;
  let failed = 0;
  for (;;) {
    try {
      for await (const event of controller.stream(Api.events, request)) {
        failed = 0;
        request = { ...asked, afterSeq: event.seq };
        yield event;
      }
      if (!asked.follow) return;
    } catch (error) {
      failed += 1;
      const next = asked.follow && controller.addresses.length > 1 && failed <= TRIES * controller.addresses.length;
      if (!next || !(error instanceof CliError) || error.exitCode !== EXIT.unreachable) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
  }
}

export function eventLine(event: Event): string {
  const at = new Date(Number(event.atMs)).toISOString();
  const about = [event.service, event.host].filter((text) => text !== "").join(" ");
  const by = event.actor === "" ? "" : pc.dim(` (${event.actor})`);
  return `${pc.dim(at)}  ${event.kind.padEnd(18)} ${about.padEnd(16)} ${event.message}${by}`;
}
