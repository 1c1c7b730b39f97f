import fc from "fast-check";
import { expect, test } from "vitest";
import type { HeaderFilter } from "../../../proto/contract/spec/types.ts";
import { compileFilter, filterHead, refusedField } from "../../../agent/proxy/header-filter.ts";
import { Out } from "../../../agent/proxy/http1/out.ts";
import { RequestHead } from "../../../agent/proxy/http1/request.ts";
import { DEFAULT_LIMITS } from "../../../agent/proxy/limits.ts";
import { Subject } from "../../../agent/proxy/subject.ts";

const names = fc.constantFrom("x-a", "X-A", "x-ab", "X-B", "x_b", "cookie", "accept");
const value = fc
  .string({ unit: fc.constantFrom("a", "b", " ", ":", ";", ",", "=", '"'), maxLength: 8 })
  .map((text) => `v${text}v`);
const field = fc.record({ name: names, value });

test("whatever head and filter: what is removed is gone, what is set stands once, and the rest stands as it did", () => {
  const filters = fc.record({
    set: fc.uniqueArray(field, { maxLength: 3, selector: ({ name }) => name.toLowerCase() }),
    add: fc.array(field, { maxLength: 3 }),
    remove: fc.array(
      names.map((name) => name.toLowerCase()),
      { maxLength: 3 },
    ),
  });
  fc.assert(
    fc.property(fc.array(field, { maxLength: 12 }), filters, fc.nat(3), (fields, filter: HeaderFilter, before) => {
      const lines = fields.map((one) => `${one.name}: ${one.value}\r\n`).join("");
      // What stands before the head in the buffer is another's.
      const out = new Out(8);
      out.text("z".repeat(before));
      out.text(`GET / HTTP/1.1\r\nHost: a\r\n${lines}\r\n`);
      const compiled = compileFilter(filter);
      if (compiled !== null) filterHead(out, before, compiled);
      const gone = new Set([...filter.remove, ...filter.set.map(({ name }) => name)].map((name) => name.toLowerCase()));
      const kept = fields.filter(({ name }) => !gone.has(name.toLowerCase()));
      const expected = [...kept, ...filter.set, ...filter.add].map((one) => `${one.name}: ${one.value}\r\n`).join("");
      expect(out.view(0).toString()).toBe(`${"z".repeat(before)}GET / HTTP/1.1\r\nHost: a\r\n${expected}\r\n`);
    }),
  );
});

test("a rule that changes nothing has no filter at all, and one that would break a message is refused", () => {
  expect(compileFilter({ set: [], add: [], remove: [] })).toBe(null);
  const set = (name: string, text = "1"): string | null =>
    refusedField({ set: [{ name, value: text }], add: [], remove: [] });
  expect([set("x-a"), set("Set-Cookie", "a=b; c")]).toEqual([null, null]);
  for (const name of ["Content-Length", "transfer-encoding", "HOST", "Via", "baton-mirrored", "x a", ""]) {
    expect(set(name)).not.toBe(null);
    expect(refusedField({ set: [], add: [{ name, value: "1" }], remove: [] })).not.toBe(null);
    expect(refusedField({ set: [], add: [], remove: [name] })).not.toBe(null);
  }
  for (const text of ["a\r\nb: c", "a\nb", "\0"]) expect(set("x-a", text)).not.toBe(null);
});

test("a query is read as browsers write it, however it is escaped", () => {
  const piece = fc.constantFrom(
    "a",
    "b",
    "=",
    "&",
    "+",
    "%",
    "%41",
    "%c3%bc",
    "%C3",
    "%2",
    "%zz",
    "%26",
    "%3D",
    "/",
    "?",
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 14 }), (pieces) => {
      const query = pieces.join("");
      const bytes = Buffer.from(`GET /p?${query} HTTP/1.1\r\nHost: a\r\n\r\n`);
      const head = new RequestHead(DEFAULT_LIMITS);
      expect(head.parse(bytes, 0, bytes.length)).toBe(bytes.length);
      const subject = new Subject(head);
      subject.take(head, bytes);
      const reference = new URLSearchParams(`?${query}`);
      for (const name of new Set([...reference.keys(), "a", ""])) {
        expect([name, subject.param(name)]).toEqual([name, reference.get(name)]);
      }
      expect(subject.path).toBe("/p");
    }),
  );
});
