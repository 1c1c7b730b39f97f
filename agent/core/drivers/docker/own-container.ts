/**
 * `network: agent`, in the engine's words: the namespace that this agent lives in. In a container that is its own, or the
 * one that it has joined; elsewhere the host's.
 *
 * Source  the kernel's list of mounts: Docker mounts /etc/hostname from a folder that has the container's id for a name.
 *         One that has joined another's network is given the other's file, which is the id that is wanted.
 */
import { readFileSync } from "node:fs";
import type { Engine } from "./engine.ts";

export async function agentNetwork(engine: Engine, mounts = readMounts()): Promise<string> {
  const id = /\/containers\/([0-9a-f]{64})\/hostname /.exec(mounts)?.[1];
  // A container that this engine knows nothing of is a host to it.
  const own = id === undefined ? null : await engine.inspect(id);
  const mode = own?.HostConfig.NetworkMode ?? "host";
  return mode === "host" || mode.startsWith("container:") ? mode : `container:${own?.Id ?? ""}`;
}

function readMounts(): string {
  try {
    return readFileSync("/proc/self/mountinfo", "utf8");
  } catch {
    return ""; // not Linux: then no container either
  }
}
