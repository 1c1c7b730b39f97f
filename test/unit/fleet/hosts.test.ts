/** What is stored of a host, from what its agent says. */
import { expect, test } from "vitest";
import { Agent } from "../../../control/fleet/agent.ts";
import { announcedHost } from "../../../control/fleet/hosts.ts";
import type { Hello } from "../../../proto/contract/session.ts";
import type { Report } from "../../../proto/contract/report.ts";
import { host, report } from "../../support/samples.ts";

const PORT = { service: "shop", listener: 0, address: "127.0.0.1", port: 9_000 };
const BEFORE = host("host-1", { ports: { "shop/0": 8_000, "gone/0": 7_000 } });

const HELLO: Hello = {
  ...{ protocolVersion: 1, host: "host-1", role: "host", labels: {}, boot: "b1", software: "t", address: "127.0.0.1" },
  ...{ highestEpoch: 0, applied: null, inboundPorts: "assigned" },
};

function portsAfter(...reports: readonly Partial<Report>[]): Readonly<Record<string, number>> {
  const agent = new Agent("host-1", () => undefined);
  agent.open(HELLO, { id: "s", peer: "", send: () => undefined, end: () => undefined }, 0);
  for (const [seq, changes] of reports.entries()) agent.reported(report({ seq: seq + 1, ...changes }), 0);
  return (announcedHost(agent, BEFORE) ?? BEFORE).ports;
}
const applied = (services: Readonly<Record<string, string>>) => ({ epoch: 1, generation: 1, hash: "h", services });

test("ports are as they were until the agent says what it listens for, and then as it says", () => {
  expect(portsAfter()).toEqual(BEFORE.ports);
  expect(portsAfter({ applied: applied({ shop: "a" }), endpoints: [PORT] })).toEqual({ "shop/0": 9_000 });
});

test("an agent that was just started has not given up the ports that it does not listen on yet", () => {
  expect(portsAfter({ applied: null, endpoints: [] })).toEqual(BEFORE.ports);
  // It has taken its assignment, and its workers are about to listen.
  expect(portsAfter({ applied: applied({ shop: "a" }), endpoints: [] })).toEqual({ "shop/0": 8_000 });
  expect(portsAfter({ applied: applied({}), endpoints: [] })).toEqual({});
});
