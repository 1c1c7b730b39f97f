/** Ports on loopback for a cluster that may be ended and started again on them. */
import { readFileSync } from "node:fs";
import { BoundSocket } from "node:net";

/** `wanted` if it is free on loopback, else one that the kernel picks. */
export function freePort(wanted: number): number {
  if (isFree(wanted)) return wanted === 0 ? picked() : wanted;
  return freePort(0);
}

const LOWEST = 15_100;
const given = new Set<number>();

/**
 * One below the kernel's own range: while whoever listens on it is down for a moment, no outgoing connection takes it,
 * and nobody's port 0 does.
 */
export function lastingPort(): number {
  for (;;) {
    const port = LOWEST + Math.floor(Math.random() * Math.max(1_000, firstOfKernel() - LOWEST));
    if (given.has(port) || !isFree(port)) continue;
    given.add(port);
    return port;
  }
}

function firstOfKernel(): number {
  try {
    return Number(readFileSync("/proc/sys/net/ipv4/ip_local_port_range", "utf8").split(/\s+/)[0]);
  } catch {
    return 32_768;
  }
}

function picked(): number {
  const probe = new BoundSocket({ host: "127.0.0.1", port: 0 });
  const { port } = probe.address();
  probe.close();
  return port;
}

function isFree(port: number): boolean {
  try {
    new BoundSocket({ host: "127.0.0.1", port }).close();
    return true;
  } catch (error) {
    if (port === 0 || (error as NodeJS.ErrnoException).code !== "EADDRINUSE") throw error;
    return false;
  }
}
