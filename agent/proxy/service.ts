/** What a service's endpoints share, whichever table is live: the object goes on, its content is replaced. */
import type { DrainSpec } from "../../proto/contract/spec/types.ts";
import { Picker } from "./picker.ts";
import { catchAllOf } from "./rules.ts";
import type { Rule } from "./rules.ts";
import type { Split } from "./split.ts";

/** What a service's document says of its requests, compiled. */
export interface Routing {
  readonly rules: readonly Rule[];
  readonly split: Split | null;
}

export class Service {
  readonly name: string;
  slot = 0;
  drain: DrainSpec;
  accepting = true;
  /** It has had other agents for endpoints: here is where its clients come in, whatever they say of themselves. */
  balances = false;
  /** The most specific first. */
  rules: readonly Rule[] = [];
  /** The rule that has every request; null: they have to be matched. */
  catchAll: Rule | null = null;
  /** How requests are given to versions, if not by chance alone. */
  split: Split | null = null;
  picker = new Picker([], 0);

  constructor(name: string, drain: DrainSpec) {
    this.name = name;
    this.drain = drain;
  }

  take({ rules, split }: Routing): void {
    this.rules = rules;
    this.catchAll = catchAllOf(rules);
    this.split = split;
  }
}
