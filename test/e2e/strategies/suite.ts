/**
 * A strategy's scenarios as tests, on one cluster after another scenario has left it well; one that failed may leave
 * anything behind, so that the next gets a cluster of its own. Any order will do.
 *
 *   SCENARIOS   "all", or a regular expression held against "STRATEGY: NAME"; without it those that every run plays
 *   SEED        of the loss client's chance
 *   NATS        anything: on two controllers and three NATS servers, in place of one controller on SQLite
 */
import { afterAll, describe, test } from "vitest";
import type { StrategyName } from "./documents.ts";
import { scenariosOf } from "./matrix.ts";
import { Rig } from "./rig.ts";
import { playScenario } from "./scene.ts";
import type { Row } from "./scene.ts";
import { line } from "./table.ts";

const WANTED = process.env["SCENARIOS"] ?? "";
const SEED = Number(process.env["SEED"] ?? 1);
const ON_NATS = (process.env["NATS"] ?? "") !== "";
/** A cluster's start and the longest scenario, on a busy machine. */
const TIMEOUT_MS = 240_000;

/** `holds` asks of every scenario, once its own assertions have held, what its strategy promises in any case. */
export function suite(strategy: StrategyName, holds: (row: Row) => void): void {
  describe(strategy, () => {
    let rig: Rig | undefined;
    const end = async (): Promise<void> => {
      await rig?.[Symbol.asyncDispose]();
      rig = undefined;
    };
    afterAll(end);

    const chosen = scenariosOf(strategy).filter(({ name, quick }) => {
      if (WANTED === "") return quick?.includes(strategy) === true;
      return WANTED === "all" || new RegExp(WANTED, "i").test(`${strategy}: ${name}`);
    });
    if (chosen.length === 0) test.skip("none is wanted", () => undefined);
    test.each(chosen)("$name", { timeout: TIMEOUT_MS }, async (scenario) => {
      rig ??= await Rig.start(strategy, ON_NATS);
      try {
        const row = await playScenario(rig, scenario, SEED);
        console.log(line(row));
        holds(row);
      } catch (error) {
        await end();
        throw error;
      }
    });
  });
}
