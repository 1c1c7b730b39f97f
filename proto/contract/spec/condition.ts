/**
 * What must hold of a measurement: `result >= 0.95 && result < 2`. Argo Rollouts' shape of it, without its language: a
 * source gives one number, so that comparing it is all there is to say.
 *
 *   condition   comparison { "&&" comparison }
 *   comparison  "result" ( "<" | "<=" | ">" | ">=" | "==" | "!=" ) number
 *
 * Errors  a sentence that names the place where the reading stopped; nothing throws.
 */
import type { Condition } from "./analysis.ts";

type Comparison = Condition["all"][number];

export type ParsedCondition = { readonly value: Condition } | { readonly wrong: string };

const MAX_LENGTH = 256;
const EXAMPLE = '"result >= 0.95"';
const OPERATORS = ["<=", ">=", "==", "!=", "<", ">"] as const;
const NUMBER = /[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?(?![\w.%])/y;

export function parseCondition(text: string): ParsedCondition {
  if (text.length > MAX_LENGTH) return { wrong: `longer than ${String(MAX_LENGTH)} characters` };
  const reader = new Reader(text);
  const all: Comparison[] = [];
  do {
    const found = comparison(reader);
    if (typeof found === "string") return { wrong: found };
    all.push(found);
  } while (reader.take("&&"));
  if (reader.rest() === "") return { value: { text, all } };
  if (reader.take("||")) return { wrong: '"||" is not known here: comparisons are joined by && alone' };
  return { wrong: `expected && or the end, got ${reader.got()}` };
}

/** Whether all of it holds. `result` is a finite number: what is none of these is no data, and is never asked about. */
export const holds = ({ all }: Condition, result: number): boolean =>
  all.every(({ op, value }) => {
    switch (op) {
      case "<":
        return result < value;
      case "<=":
        return result <= value;
      case ">":
        return result > value;
      case ">=":
        return result >= value;
      case "==":
        return result === value;
      case "!=":
        return result !== value;
    }
  });

function comparison(reader: Reader): Comparison | string {
  if (!reader.take("result")) return `expected result, as in ${EXAMPLE}, got ${reader.got()}`;
  if (reader.take("[")) return "a source gives one number: write result, without an index";
  const op = OPERATORS.find((operator) => reader.take(operator));
  if (op === undefined) return `expected one of < <= > >= == !=, got ${reader.got()}`;
  const value = reader.number();
  return value === undefined ? `expected a number behind ${op}, got ${reader.got()}` : { op, value };
}

class Reader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  take(token: string): boolean {
    this.#skipBlanks();
    if (!this.#text.startsWith(token, this.#at)) return false;
    this.#at += token.length;
    return true;
  }

  number(): number | undefined {
    this.#skipBlanks();
    NUMBER.lastIndex = this.#at;
    const found = NUMBER.exec(this.#text)?.[0];
    const value = Number(found);
    if (found === undefined || !Number.isFinite(value)) return undefined;
    this.#at += found.length;
    return value === 0 ? 0 : value; // never -0
  }

  rest(): string {
    this.#skipBlanks();
    return this.#text.slice(this.#at);
  }

  got(): string {
    const rest = this.rest();
    return rest === "" ? "the end" : JSON.stringify(rest.length > 30 ? `${rest.slice(0, 30)}…` : rest);
  }

  #skipBlanks(): void {
    while (/\s/.test(this.#text.charAt(this.#at))) this.#at += 1;
  }
}
