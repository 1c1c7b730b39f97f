/**
 * Gateway API's header modifiers, done to a head that Baton has rewritten already and is about to send: `remove`, then
 * `set` in place of what is there, then `add` beside it.
 *
 * Errors  a filter of a field that frames or routes the message is refused with its table: `refusedField`.
 * Cost    nothing where a rule has none (a filter is null then); else one copy of the head and a look at each name.
 */
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

/** What Baton itself says or lives by: framing, the connection, the way a message took, and its own words. */
const ITS_OWN = new Set([
  ...["connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"],
  ...["http2-settings", "content-length", "host", "expect", "max-forwards", "via", "baton-error", "baton-mirrored"],
]);

/** RFC 9110 §5.6.2. */
export const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

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
    if (!TOKEN.test(name)) return `${JSON.stringify(name)} is no field name`;
    if (ITS_OWN.has(name.toLowerCase())) return `${name} is set by Baton alone`;
  }
  for (const { name, value } of [...set, ...add]) {
    if (/[\x00-\x08\x0a-\x1f\x7f]/.test(value)) return `the value of ${name} holds a control character`;
  }
  return null;
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
