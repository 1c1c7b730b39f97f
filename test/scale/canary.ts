/**
 * A canary by weight, measured: from the operator's word at a pause to the moment at which every host has confirmed the
 * next weight, by the controller's own journal. Every host runs both versions then, so that a weight is one assignment
 * for each and nothing has to be started.
 */
import { DatabaseSync } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";
import { Api } from "../support/control.ts";
import { until } from "../support/processes.ts";
import type { Rig } from "./rig.ts";
import { document, healthy, MIN_HEALTHY_MS } from "./update.ts";

export interface CanaryFigures {
  /** From the beginning until every host runs both versions and the first weight is confirmed. */
  readonly readySeconds: number;
  readonly weightMs: readonly number[];
  readonly assignmentsAWeight: number;
}

const STRATEGY = `
    canary:
      minHealthyTime: ${MIN_HEALTHY_MS}ms
      healthyDeadline: 5m
      progressDeadline: 10m
      analysis: { metrics: [] }
      steps: [{ setWeight: 10 }, { pause: {} }, { setWeight: 50 }, { pause: {} }, { setWeight: 75 }, { pause: {} }]
`;

export async function canary(rig: Rig, version: string): Promise<CanaryFigures> {
  const service = "svc-0";
  await rig.client.apply(
    document({ service: 0, version, surge: "", parted: rig.options.services > 1, strategy: STRATEGY }),
  );
  await paused(rig, 2);
  const before = (await rig.counts()).assignments;
  for (const step of [4, 6]) {
    await rig.client.call(Api.promote, { service, full: false, actor: "scale" });
    await paused(rig, step);
  }
  const assignmentsAWeight = ((await rig.counts()).assignments - before) / 2;
  const { id, startedAtMs } = await rig.client.rollout(service);
  const entries = journal(rig.database, id);
  const done = (step: number): number =>
    entries.find((entry) => entry.reason === "StepDone" && entry.message.startsWith(`step ${step},`))?.atMs ??
    Number.NaN;
  const said = entries.filter(({ reason }) => reason === "PromotedBy").map(({ atMs }) => atMs);
  await rig.client.call(Api.promote, { service, full: true, actor: "scale" });
  await healthy(rig, 0, version);
  return {
    readySeconds: (done(1) - Number(startedAtMs)) / 1_000,
    weightMs: said.map((atMs, i) => done(3 + 2 * i) - atMs),
    assignmentsAWeight,
  };
}

/** It waits at this step of the program, counted from 1. */
async function paused(rig: Rig, step: number): Promise<void> {
  let last = "";
  await until(
    `the canary waits at step ${step}`,
    async () => {
      const view = await rig.client.rollout("svc-0");
      last = `${view.phase} ${view.stage} ${view.message}`;
      if (view.phase === "Degraded") throw new Error(`the canary failed: ${last}`);
      await sleep(500);
      return view.phase === "Paused" && view.message.includes(`step ${step} of`);
    },
    300_000,
  ).catch((error: unknown) => {
    throw new Error(`${(error as Error).message}; at last: ${last}`);
  });
}

function journal(database: string, rollout: string): { atMs: number; reason: string; message: string }[] {
  const db = new DatabaseSync(database, { readOnly: true });
  const rows = db.prepare("SELECT at_ms, reason, message FROM journal WHERE rollout = ? ORDER BY change").all(rollout);
  db.close();
  return rows.map((row) => ({
    atMs: Number(row["at_ms"]),
    reason: String(row["reason"]),
    message: String(row["message"]),
  }));
}
