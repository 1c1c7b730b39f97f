/** Every scenario, by strategy: in the order in which they are played. */
import type { StrategyName } from "./documents.ts";
import { controller } from "./scenarios/controller.ts";
import { failing } from "./scenarios/failing.ts";
import { operator } from "./scenarios/operator.ts";
import { routing } from "./scenarios/routing.ts";
import { success } from "./scenarios/success.ts";
import type { Scenario } from "./scene.ts";

const ALL: readonly Scenario[] = [...success, ...failing, ...operator, ...routing, ...controller];

export const scenariosOf = (strategy: StrategyName): readonly Scenario[] =>
  ALL.filter((scenario) => scenario.on.includes(strategy));
