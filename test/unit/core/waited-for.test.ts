import { expect, test } from "vitest";
import { waitedFor } from "../../../agent/core/waited-for.ts";

const instance = (id: string, mode: "standby" | "serving" | "draining" | "absent") => {
  return { service: "shop", version: "v1", id, mode };
};
const sends = (host: string, mode: "serving" | "draining") => {
  return { name: "shop", endpoints: [{ host, address: "127.0.0.1", port: 1, mode }] };
};

class Counts {
  losses = 0;
  inFlight: Record<string, number> = {};
  lost(): number {
    return this.losses;
  }
  endpoint(_service: string, _version: string, id: string): { inFlight: number; started: number } {
    return { inFlight: this.inFlight[id] ?? 0, started: 9 };
  }
}

test("the end of a drain and a loss are waited for, by host and gateway; what is in flight elsewhere is not", () => {
  const counts = new Counts();
  const now = (): string => {
    const instances = [instance("old", "draining"), instance("new", "serving")];
    return waitedFor(instances, [sends("host-1", "draining"), sends("host-2", "serving")], counts);
  };
  counts.inFlight = { old: 2, new: 7, "host-1": 1, "host-2": 5 };
  const before = now();
  counts.inFlight = { ...counts.inFlight, old: 1, new: 0, "host-2": 0 };
  expect(now()).toBe(before);
  counts.inFlight = { ...counts.inFlight, old: 0 };
  const drained = now();
  expect(drained).not.toBe(before);
  counts.inFlight = { ...counts.inFlight, "host-1": 0 };
  const empty = now();
  expect(empty).not.toBe(drained);
  counts.losses = 1;
  expect(now()).not.toBe(empty);
});
