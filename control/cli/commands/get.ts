/** baton get, describe: what there is, and everything about one of it. */
import type { Command } from "commander";
import { Argument } from "commander";
import { EXIT } from "../../../proto/contract/limits.ts";
import type { HostView, ServiceView } from "../../../proto/gen/baton/v1/operator.ts";
import type { Controller } from "../client.ts";
import { Api } from "../client.ts";
import type { CommonOptions } from "../context.ts";
import { connect, oneOf, saysKinds, withController } from "../context.ts";
import { askEach, controllersTable } from "../controllers.ts";
import { CliError } from "../errors.ts";
import { print, table } from "../output.ts";
import { ledgerBlock } from "../render/ledger.ts";
import { rolloutBlock } from "../render/rollout.ts";
import { ago, count } from "../render/units.ts";
import { hostNamed } from "./host-status.ts";
import { rolloutsTable } from "./rollout.ts";

const KINDS = ["services", "hosts", "instances", "rollouts", "revisions", "controllers"] as const;
type Kind = (typeof KINDS)[number];
const singular: Readonly<Record<string, Kind>> = {
  service: "services",
  svc: "services",
  host: "hosts",
  instance: "instances",
  rollout: "rollouts",
  revision: "revisions",
  controller: "controllers",
};

const DESCRIBED = ["service", "host", "rollout"];

type GetOptions = CommonOptions & { watch?: boolean };
const WATCH_EVERY_MS = 1_000;

export function addGetCommands(program: Command, done: (exitCode: number) => void): void {
  const kinds = new Argument("<kind>", `what to list: ${KINDS.join(", ")}`).argParser(
    oneOf([...KINDS, ...Object.keys(singular)]),
  );
  withController(
    saysKinds(program.command("get"), KINDS)
      .description("list services, hosts, instances, rollouts, a service's revisions, or the controllers")
      .addArgument(kinds)
      .argument("[name]", "only this one (a service's name for rollouts, instances and revisions)")
      .option("--watch", "again every second, until interrupted"),
  ).action(async (kind: string, name: string | undefined, options: GetOptions) => {
    using controller = connect(options);
    for (;;) {
      const shown = await LIST[singular[kind] ?? (kind as Kind)](controller, name, options);
      if (options.watch === true && process.stdout.isTTY) process.stdout.write("\x1b[H\x1b[2J");
      print(options.output, shown.value, shown.table);
      if (options.watch !== true) break;
      await new Promise((resolve) => setTimeout(resolve, WATCH_EVERY_MS));
    }
    done(EXIT.done);
  });

  withController(
    saysKinds(program.command("describe"), DESCRIBED)
      .description("everything about one service, host or rollout")
      .addArgument(new Argument("<kind>", "service, host or rollout").argParser(oneOf(DESCRIBED)))
      .argument("<name>", "its name (a rollout's id, or its service)"),
  ).action(async (kind: string, name: string, options: CommonOptions) => {
    using controller = connect(options);
    await describe(controller, kind, name, options);
    done(EXIT.done);
  });
}

interface Shown {
  readonly value: unknown;
  readonly table: () => string;
}

type List = (controller: Controller, name: string | undefined, options: CommonOptions) => Promise<Shown>;

const LIST: Readonly<Record<Kind, List>> = {
  async services(controller, name) {
    const services =
      name === undefined
        ? (await controller.call(Api.listServices, {})).services
        : [await controller.call(Api.getService, { name })];
    return { value: services, table: () => servicesTable(services) };
  },
  async hosts(controller, name) {
    const hosts = await hostsOf(controller, name);
    return { value: hosts, table: () => hostsTable(hosts) };
  },
  async instances(controller, name) {
    const hosts = await hostsOf(controller, undefined);
    const rows = hosts.flatMap((host) =>
      host.instances
        .filter((one) => name === undefined || one.service === name)
        .map((one) => ({ host: host.name, ...one })),
    );
    // Hosts may run what the controller has never heard of; who runs nothing has to be a service at least.
    if (name !== undefined && rows.length === 0) await controller.call(Api.getService, { name });
    const head = [
      "HOST",
      "INSTANCE",
      "SERVICE",
      "VERSION",
      "STATE",
      "SINCE",
      "ADDRESS",
      "RESTARTS",
      "IN FLIGHT",
      "EXIT",
    ];
    return {
      value: rows,
      table: () =>
        table(
          head,
          rows.map((one) => [
            one.host,
            one.id,
            one.service,
            one.version,
            one.state,
            ago(one.sinceMs, Date.now()),
            one.address,
            String(one.restarts),
            count(one.inFlight),
            one.exit || "–",
          ]),
        ),
    };
  },
  async rollouts(controller, name) {
    const { rollouts } = await controller.call(Api.listRollouts, { service: name ?? "" });
    return { value: rollouts, table: () => rolloutsTable(rollouts) };
  },
  async revisions(controller, name) {
    if (name === undefined) throw new CliError("name the service: baton get revisions SERVICE", EXIT.usage);
    const service = await controller.call(Api.getService, { name });
    return { value: service.revisions, table: () => revisionsTable(service) };
  },
  async controllers(_, name, options) {
    const asked = (await askEach(options)).filter((one) => name === undefined || one.info?.id === name);
    return { value: asked, table: () => controllersTable(asked) };
  },
};

async function hostsOf(controller: Controller, name: string | undefined): Promise<readonly HostView[]> {
  const { hosts } = await controller.call(Api.listHosts, {});
  return name === undefined ? hosts : hostNamed(hosts, name);
}

function servicesTable(services: readonly ServiceView[]): string {
  return table(
    ["SERVICE", "STABLE", "PHASE", "HOSTS", "LISTENS", "REQUESTS", "LOST"],
    services.map((one) => [
      one.name,
      one.stableRevision === 0 ? "none" : `${one.stableVersion} (r${String(one.stableRevision)})`,
      one.phase || "–",
      `${String(one.hostsServing)}/${String(one.hostsWanted)}`,
      one.listeners.join(", "),
      count(one.ledger?.requests ?? 0n),
      count(one.ledger?.lostTotal ?? 0n),
    ]),
  );
}

function hostsTable(hosts: readonly HostView[]): string {
  return table(
    ["HOST", "ROLE", "STATE", "LIVE", "SYNC", "EPOCH.GEN", "INSTANCES", "IN FLIGHT", "LAST NEWS", "ADDRESS"],
    hosts.map((host) => [
      host.name,
      host.role,
      host.adminState,
      host.live ? "yes" : "no",
      host.syncReason === "" ? host.sync : `${host.sync}: ${host.syncReason}`,
      `${String(host.epoch)}.${String(host.generation)}`,
      host.instances.map((one) => `${one.service} ${one.version} ${one.state}`).join(", ") || "–",
      count(host.inFlight),
      ago(host.lastReportMs, Date.now()),
      host.address,
    ]),
  );
}

function revisionsTable(service: ServiceView): string {
  return table(
    ["REVISION", "VERSION", "CREATED", ""],
    service.revisions.map((one) => [
      String(one.revision),
      one.version,
      ago(one.createdAtMs, Date.now()),
      one.revision === service.stableRevision ? "stable" : "",
    ]),
  );
}

async function describe(controller: Controller, kind: string, name: string, options: CommonOptions): Promise<void> {
  switch (kind) {
    case "service": {
      const service = await controller.call(Api.getService, { name });
      const { rollouts } = await controller.call(Api.listRollouts, { service: name });
      print(options.output, { service, rollouts }, () => {
        const newest = service.revisions.at(-1);
        return [
          servicesTable([service]),
          "",
          ...ledgerBlock(service.ledger),
          "",
          revisionsTable(service),
          "",
          rolloutsTable(rollouts),
          ...(newest === undefined ? [] : ["", `revision ${String(newest.revision)}:`, newest.document.trimEnd()]),
        ].join("\n");
      });
      return;
    }
    case "host": {
      const [host] = await hostsOf(controller, name);
      const instances = await LIST.instances(controller, undefined, options);
      const own = (instances.value as readonly { host: string }[]).filter((one) => one.host === name);
      print(options.output, host, () => {
        const output = (host?.instances ?? []).flatMap((one) => one.output.map((line) => `${one.id} | ${line}`));
        const labels = Object.entries(host?.labels ?? {}).map(([key, value]) => `${key}=${value}`);
        return [
          hostsTable(host === undefined ? [] : [host]),
          "",
          `labels    ${labels.join(", ") || "none"}`,
          `software  ${host?.software ?? ""}`,
          `instances ${String(own.length)}`,
          ...(host?.instances ?? []).map((one) =>
            `  ${one.id} ${one.version} ${one.state} ${one.address} ${one.reason}`.trimEnd(),
          ),
          ...output,
        ].join("\n");
      });
      return;
    }
    default: {
      const byId = /-\d+$|^ro-/.test(name);
      const request = byId ? { service: "", rollout: name } : { service: name, rollout: "" };
      const view = await controller.call(Api.getRollout, request);
      print(options.output, view, () => rolloutBlock(view, Date.now()));
    }
  }
}
