/**
 * Gateway API's header modifiers, done to a head that Baton has rewritten already and is about to send: `remove`, then
 * `set` in place of what is there, then `add` beside it.
 *
 * Errors  a filter of a field that frames or routes the message is refused with its table: `refusedField`.
 * Cost    nothing where a rule has none (a filter is null then); else one copy of the head and a look at each name.
 */
import { isFieldName, isFieldValue, reservedHeader } from "../../proto/contract/http-field.ts";
import type { HeaderFilter } from "../../proto/contract/spec/types.ts";
import { COLON, CR, LF } from "./http1/chars.ts";
import { latin1 } from "./http1/framing.ts";
import type { Out } from "./http1/out.ts";

export interface Filter {
  /** Lower case. */
  readonly drop: ReadonlySet<string>;
  /** Field lines. */
  readonly append: Buffer;
}

/** Null when there is nothing to do. */
export function compileFilter({ set, add, remove }: HeaderFilter): Filter | null {
  if (set.length + add.length + remove.length === 0) return null;
  const lines = [...set, ...add].map(({ name, value }) => `${name}: ${value}\r\n`);
  return {
    drop: new Set([...remove, ...set.map(({ name }) => name)].map((name) => name.toLowerCase())),
    append: Buffer.from(lines.join(""), "utf8"),
  };
}

/** The first field that can't be filtered, and why; null when all can. */
export function refusedField({ set, add, remove }: HeaderFilter): string | null {
  for (const name of [...remove, ...[...set, ...add].map((field) => field.name)]) {
    if (!isFieldName(name)) return `${JSON.stringify(name)} is no field name`;
    const why = reservedHeader(name.toLowerCase());
    if (why !== undefined) return `${name}: ${why}`;
  }
  const bad = [...set, ...add].find(({ value }) => !isFieldValue(value));
  return bad === undefined ? null : `the value of ${bad.name} can't stand in a header`;
}

/** Rewrites the head that is all of `out` from `from` on. */
export function filterHead(out: Out, from: number, { drop, append }: Filter): void {
  const head = Buffer.from(out.view(from));
  const fields = head.indexOf(LF) + 1;
  out.length = from;
  let run = 0;
  for (let at = fields; head[at] !== CR;) {
    const behind = head.indexOf(LF, at) + 1;
    if (drop.has(latin1(head, at, head.indexOf(COLON, at)).toLowerCase())) {
      out.bytes(head, run, at);
      run = behind;
    }
    at = behind;
  }
  out.bytes(head, run, head.length - 2);
  out.bytes(append, 0, append.length);
  out.crlf();
}
