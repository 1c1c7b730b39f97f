/**
 * A free port below the kernel's own range: what a killed process listened on is then still free when it comes back, and
 * not an outgoing connection's.
 */
import { readFileSync } from "node:fs";
import { BoundSocket } from "node:net";
import type { Random } from "../../proto/kernel/random.ts";
import { integer } from "../../proto/kernel/random.ts";

const LOWEST = 15_100;
const given = new Set<number>();

export function lowPort(random: Random, host = "127.0.0.1"): number {
  const [first = "32768"] = readFileSync("/proc/sys/net/ipv4/ip_local_port_range", "utf8").split(/\s+/);
  const range = Math.max(1_000, Number(first) - LOWEST);
  for (;;) {
    const port = LOWEST + integer(random, range);
    if (given.has(port)) continue;
    try {
      new BoundSocket({ host, port }).close();
      given.add(port);
      return port;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EADDRINUSE") throw error;
    }
  }
}
