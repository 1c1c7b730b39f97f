/**
 * A request as matches see it: path, header fields and query parameters, each made only when a match asks for it. One
 * object a worker: a head is matched within the callback that read it.
 *
 * path     as it was sent, without the query: an app that takes `/%61` for `/a` must be asked for both.
 * headers  by name without regard to case; of a field that was sent several times the first; bytes are read as UTF-8.
 * query    names and values percent-decoded, `+` a space, of a name that comes several times the first. What is not a
 *          valid escape stands for itself.
 */
import { latin1 } from "./http1/framing.ts";
import { METHOD } from "./http1/request.ts";
import type { RequestHead } from "./http1/request.ts";

const QUESTION_MARK = 63;

export class Subject {
  #head: RequestHead;
  #bytes: Buffer = Buffer.alloc(0);
  #path: string | null = null;
  #query: ReadonlyMap<string, string> | null = null;

  constructor(head: RequestHead) {
    this.#head = head;
  }

  take(head: RequestHead, bytes: Buffer): void {
    this.#head = head;
    this.#bytes = bytes;
    this.#path = this.#query = null;
  }

  /** `*` and an absolute-form without a path are for the root. */
  get path(): string {
    if (this.#path === null) {
      const { targetStart, asterisk } = this.#head;
      const end = this.#pathEnd();
      this.#path = asterisk || end === targetStart ? "/" : latin1(this.#bytes, targetStart, end);
    }
    return this.#path;
  }

  /** `id` is the METHOD of `name`. */
  hasMethod(id: number, name: string): boolean {
    const { method, start, methodEnd } = this.#head;
    return method === id && (id !== METHOD.other || latin1(this.#bytes, start, methodEnd) === name);
  }

  /** `name` in lower case; null when there is no such field. */
  header(name: string): string | null {
    const { fields } = this.#head;
    for (let field = 0; field < fields.count; field++) {
      if (this.#isNamed(field, name)) return this.#value(field);
    }
    return null;
  }

  /** Every field of that name, in order. */
  headers(name: string): string[] {
    const { fields } = this.#head;
    const values: string[] = [];
    for (let field = 0; field < fields.count; field++) {
      if (this.#isNamed(field, name)) values.push(this.#value(field));
    }
    return values;
  }

  param(name: string): string | null {
    this.#query ??= parseQuery(latin1(this.#bytes, this.#pathEnd(), this.#head.targetEnd));
    return this.#query.get(name) ?? null;
  }

  #pathEnd(): number {
    const { targetStart, targetEnd } = this.#head;
    let end = targetStart;
    while (end < targetEnd && this.#bytes[end] !== QUESTION_MARK) end++;
    return end;
  }

  #isNamed(field: number, name: string): boolean {
    const { fields } = this.#head;
    const from = fields.lineStart(field);
    if (fields.nameEnd(field) - from !== name.length) return false;
    for (let i = 0; i < name.length; i++) {
      const byte = this.#bytes[from + i] as number;
      if ((byte >= 65 && byte <= 90 ? byte + 32 : byte) !== name.charCodeAt(i)) return false;
    }
    return true;
  }

  #value(field: number): string {
    const { fields } = this.#head;
    return this.#bytes.toString("utf8", fields.valueStart(field), fields.valueEnd(field));
  }
}

/** `?a=1&b` → a: "1", b: "". */
function parseQuery(text: string): Map<string, string> {
  const params = new Map<string, string>();
  for (const pair of text.slice(1).split("&")) {
    if (pair === "") continue;
    const equals = pair.indexOf("=");
    const name = decoded(equals === -1 ? pair : pair.slice(0, equals));
    if (!params.has(name)) params.set(name, equals === -1 ? "" : decoded(pair.slice(equals + 1)));
  }
  return params;
}

function decoded(text: string): string {
  if (!/[%+]/.test(text)) return text;
  const bytes = Buffer.allocUnsafe(text.length);
  let length = 0;
  for (let at = 0; at < text.length; at++) {
    const char = text[at] as string;
    const digits = char === "%" ? text.slice(at + 1, at + 3) : "";
    if (/^[0-9A-Fa-f]{2}$/.test(digits)) {
      bytes[length++] = parseInt(digits, 16);
      at += 2;
    } else bytes[length++] = char === "+" ? 32 : char.charCodeAt(0);
  }
  return bytes.toString("utf8", 0, length);
}
