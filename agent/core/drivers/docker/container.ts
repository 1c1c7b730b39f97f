/**
 * One run as a container: what the engine is asked to create, and what its word on it means. Pure.
 *
 * A container is known by its labels: whose agent's it is (name and state folder, so that two agents of one name keep their
 * hands off each other's), and which run. Its name is the instance's: `baton-AGENT-INSTANCE`.
 */
import { createHash } from "node:crypto";
import { dockerNetwork, formatSize, parseImage, sharesPorts } from "../../../../proto/contract/spec/docker.ts";
import type { DockerRun } from "../../../../proto/contract/spec/docker.ts";
import type { Millis } from "../../../../proto/kernel/clock.ts";
import { APP_ADDRESS, ownVariables } from "../driver.ts";
import type { RunExit, RunRequest } from "../driver.ts";
import { isRunning } from "./engine.ts";
import type { CreateOptions, Filters, Inspected } from "./engine.ts";

export interface Owner {
  readonly agent: string;
  /** Of the agent's state folder. */
  readonly scope: string;
  /** The keeper's: for people, who see what survived which. */
  readonly boot: string;
}

export const LABEL = {
  agent: "baton.agent",
  scope: "baton.scope",
  boot: "baton.boot",
  service: "baton.service",
  instance: "baton.instance",
  run: "baton.run",
  revision: "baton.revision",
  version: "baton.version",
} as const;

export const scopeOf = (stateDir: string): string => createHash("sha256").update(stateDir).digest("hex").slice(0, 12);

export const ownFilter = ({ agent, scope }: Owner): Filters => ({
  label: [`${LABEL.agent}=${agent}`, `${LABEL.scope}=${scope}`],
});

export const isOwn = ({ agent, scope }: Owner, labels: Readonly<Record<string, string>>): boolean =>
  labels[LABEL.agent] === agent && labels[LABEL.scope] === scope;

export const containerName = ({ agent }: Owner, instance: string): string => `baton-${agent}-${instance}`;

/** A shared namespace has one set of ports, and its loopback is the app's; in its own the app listens on every address. */
const listensAt = (run: DockerRun, port: number): { address: string; port: number } =>
  shares(run) ? { address: APP_ADDRESS, port } : { address: "0.0.0.0", port: run.port };

export const shares = (run: DockerRun): boolean => sharesPorts(dockerNetwork(run.network) ?? { kind: "bridge" });

/** `networkMode`: the engine's word for `run.network` (own-container.ts). */
export function createOptions(asked: RunRequest, run: DockerRun, owner: Owner, networkMode: string): CreateOptions {
  const env = { ...run.env, ...ownVariables(asked, owner.agent, listensAt(run, asked.port)) };
  const port = `${String(run.port)}/tcp`;
  // The port that it had before, if the engine still has it: who knows it finds the new one there.
  const published = { HostIp: APP_ADDRESS, HostPort: asked.port > 0 ? String(asked.port) : "" };
  const exposes = run.network === "bridge";
  const { limits } = run;
  return {
    name: containerName(owner, asked.instance),
    Image: run.image,
    ...(run.entrypoint === null ? {} : { Entrypoint: [...run.entrypoint] }),
    ...(run.command === null ? {} : { Cmd: [...run.command] }),
    ...(run.user === "" ? {} : { User: run.user }),
    ...(run.workdir === "" ? {} : { WorkingDir: run.workdir }),
    Env: Object.entries(env).map(([name, value]) => `${name}=${value}`),
    Labels: { ...run.labels, ...labelsOf(asked, owner) },
    ...(exposes ? { ExposedPorts: { [port]: {} } } : {}),
    HostConfig: {
      NetworkMode: networkMode,
      ...(exposes ? { PortBindings: { [port]: [published] } } : {}),
      // Not Docker's to start again: Baton does, with backoff, and counts it.
      RestartPolicy: { Name: "no" },
      Mounts: run.mounts.map(({ type, source, target, readOnly }) => ({
        ...{ Type: type, Source: source, Target: target, ReadOnly: readOnly },
      })),
      ...(run.init ? { Init: true } : {}),
      ...(limits.memoryBytes === 0 ? {} : { Memory: limits.memoryBytes }),
      ...(limits.cpus === 0 ? {} : { NanoCpus: Math.round(limits.cpus * 1e9) }),
      ...(limits.pids === 0 ? {} : { PidsLimit: limits.pids }),
      ...(run.shmBytes === 0 ? {} : { ShmSize: run.shmBytes }),
      Ulimits: run.ulimits.map(({ name, soft, hard }) => ({ Name: name, Soft: soft, Hard: hard })),
      LogConfig: { Type: run.logging.driver, Config: { ...run.logging.options } },
    },
  };
}

const labelsOf = (asked: RunRequest, owner: Owner): Record<string, string> => ({
  [LABEL.agent]: owner.agent,
  [LABEL.scope]: owner.scope,
  [LABEL.boot]: owner.boot,
  [LABEL.service]: asked.service,
  [LABEL.instance]: asked.instance,
  [LABEL.run]: asked.id,
  [LABEL.revision]: String(asked.revision),
  [LABEL.version]: asked.version,
});

/** What a run's container is now. */
export interface Seen {
  readonly id: string;
  readonly phase: "created" | "running" | "ended";
  readonly pid: number;
  readonly startedAtMs: Millis;
  readonly address: string;
  /** 0: it can't be reached. */
  readonly port: number;
  /** Of its HEALTHCHECK; null when it has none. */
  readonly health: Health | null;
  readonly exit: RunExit | null;
}

export interface Health {
  readonly status: string;
  /** Of its newest check. */
  readonly output: string;
}

export function readContainer(found: Inspected, asked: RunRequest, run: DockerRun): Seen {
  const { Id: id, State: state } = found;
  const running = isRunning(state.Status);
  const startedAtMs = Date.parse(state.StartedAt);
  return {
    id,
    phase: running ? "running" : state.Status === "created" ? "created" : "ended",
    pid: running ? state.Pid : 0,
    startedAtMs,
    ...reachedAt(found, asked, run),
    health: healthOf(state.Health),
    exit: running ? null : exitOf(found, run),
  };
}

function reachedAt(found: Inspected, asked: RunRequest, run: DockerRun): { address: string; port: number } {
  if (shares(run)) return { address: APP_ADDRESS, port: asked.port };
  const { Ports, Networks } = found.NetworkSettings;
  if (run.network === "bridge") {
    const published = (Ports as Record<string, { HostPort: string }[] | null | undefined>)[`${String(run.port)}/tcp`];
    return { address: APP_ADDRESS, port: Number(published?.[0]?.HostPort ?? 0) };
  }
  const address = (Networks as Record<string, { IPAddress: string } | undefined>)[run.network]?.IPAddress ?? "";
  return address === "" ? { address: APP_ADDRESS, port: 0 } : { address, port: run.port };
}

function healthOf(health: Inspected["State"]["Health"] | null): Health | null {
  if (health === undefined || health === null || health.Status === "none") return null;
  const last = (health.Log as { Output: string }[] | null | undefined)?.at(-1)?.Output ?? "";
  return { status: health.Status, output: last.trim().split("\n")[0]?.slice(0, 200) ?? "" };
}

function exitOf({ State: state }: Inspected, run: DockerRun): RunExit {
  const limit = run.limits.memoryBytes;
  const oom = `out of memory${limit === 0 ? "" : `: its limit is ${formatSize(limit)}`}`;
  const note = state.OOMKilled ? oom : state.Error;
  const ended = Date.parse(state.FinishedAt);
  return {
    code: state.ExitCode,
    signal: null,
    atMs: Number.isNaN(ended) || ended <= 0 ? Date.parse(state.StartedAt) : ended,
    ...(note === "" ? {} : { note }),
  };
}

export const repositoryOf = (image: string): string => parseImage(image)?.repository ?? image;
