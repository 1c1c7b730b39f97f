/** Incidents of an agent that nobody hears: a bounded list, and whoever hears the agent at last knows what it lacks. */
import { expect, test } from "vitest";
import { Incidents } from "../../../agent/core/incidents.ts";
import { AgentCounts } from "../../../control/ledger/counts.ts";
import { Tally } from "../../../control/ledger/tally.ts";
import { LIMITS } from "../../../proto/contract/limits.ts";
import { silentLog } from "../../../proto/kernel/log.ts";
import { decodeAgentMessage, encodeAgentMessage } from "../../../proto/contract/wire.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { report } from "../../support/samples.ts";

const crash = (incidents: Incidents, times: number): void => {
  for (let n = 0; n < times; n++) incidents.add("instance_exited", "shop", "exited with 1");
};

function heard(counts: AgentCounts, incidents: Incidents, boot = "boot-1") {
  const said = encodeAgentMessage({ kind: "report", report: report({ boot, incidents: incidents.list() }) });
  const read = decodeAgentMessage(said);
  if (read.kind !== "ok" || read.value.kind !== "report") throw new Error("unreadable");
  const { incidents: taken, missed } = counts.enter(read.value.report, 0);
  return [taken.length, missed];
}

test("what was dropped while nobody listened is counted, to the last one, and counted once", () => {
  const tally = new Tally();
  const counts = new AgentCounts("host-1", "host", () => tally);
  const incidents = new Incidents(new FakeClock(), silentLog, []);
  crash(incidents, 3);
  expect(heard(counts, incidents)).toEqual([3, 0]);
  expect(heard(counts, incidents)).toEqual([0, 0]);
  crash(incidents, LIMITS.incidents + 36);
  expect(incidents.list()).toHaveLength(LIMITS.incidents);
  expect(incidents.dropped).toBe(39);
  expect(heard(counts, incidents)).toEqual([LIMITS.incidents, 36]);
  expect(heard(counts, incidents)).toEqual([0, 0]);
});

test("the next core goes on counting, and a new boot begins anew", () => {
  const tally = new Tally();
  const counts = new AgentCounts("host-1", "host", () => tally);
  const first = new Incidents(new FakeClock(), silentLog, []);
  crash(first, LIMITS.incidents + 1);
  const next = new Incidents(new FakeClock(), silentLog, first.list());
  crash(next, 1);
  expect(next.dropped).toBe(2);
  expect(heard(counts, next)).toEqual([LIMITS.incidents, 2]);
  const rebooted = new Incidents(new FakeClock(), silentLog, []);
  crash(rebooted, LIMITS.incidents + 5);
  expect(heard(counts, rebooted, "boot-2")).toEqual([LIMITS.incidents, 5]);
});
