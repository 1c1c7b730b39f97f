/** A service's rules, compiled: sorted by how specific they are, so that the first one that takes a request has it. */
import type { RuleConfig } from "./config.ts";
import { compileFilter } from "./header-filter.ts";
import type { Filter } from "./header-filter.ts";
import { bySpecificity, compileMatch, takes } from "./match.ts";
import type { Match } from "./match.ts";
import type { Subject } from "./subject.ts";

export interface Rule {
  readonly match: Match;
  readonly requestMs: number | null;
  readonly retries: number;
  /** Methods beyond the idempotent ones that may be sent twice (R15). */
  readonly retryMethods: readonly string[];
  /** Done where the next hop is the app; null: nothing to do. */
  readonly requestFilter: Filter | null;
  readonly responseFilter: Filter | null;
}

export function compileRules(rules: readonly RuleConfig[]): Rule[] {
  return rules
    .map((rule) => ({
      match: compileMatch(rule),
      requestMs: rule.timeouts.requestMs,
      retries: rule.retry.attempts,
      retryMethods: rule.retry.methods,
      requestFilter: compileFilter(rule.requestHeaders),
      responseFilter: compileFilter(rule.responseHeaders),
    }))
    .sort((a, b) => bySpecificity(a.match, b.match));
}

/** The one rule that has every request, if so it is. */
export const catchAllOf = (rules: readonly Rule[]): Rule | null => (rules[0]?.match.every === true ? rules[0] : null);

export function matchRule(rules: readonly Rule[], subject: Subject): Rule | null {
  for (const rule of rules) if (takes(rule.match, subject)) return rule;
  return null;
}
