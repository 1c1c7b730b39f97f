import { expect, test } from "vitest";
import { canonicalJson, hashOf, isHash } from "../../../proto/contract/canonical.ts";
import {
  bootId,
  instanceId,
  isLabelKey,
  isLabelValue,
  isName,
  isVersion,
  rolloutId,
} from "../../../proto/contract/ids.ts";
import { didYouMean, nearest } from "../../../proto/contract/nearest.ts";
import { seededRandom } from "../../../proto/kernel/random.ts";

test("names are DNS labels", () => {
  for (const yes of ["a", "shop", "shop-2", "0", "a".repeat(63)]) expect(isName(yes), yes).toBe(true);
  for (const no of ["", "-a", "a-", "A", "a_b", "a.b", "a\n", "a".repeat(64), "ä"]) expect(isName(no), no).toBe(false);
});

test("versions take shas, tags and semantic versions, and nothing that needs escaping", () => {
  for (const yes of ["v1", "1.4.0-rc.1", "2f0c9b1", "2024_01_02", "A"]) expect(isVersion(yes), yes).toBe(true);
  for (const no of ["", ".1", "v1/", "v 1", "v1\n", "../x", "__proto__"]) expect(isVersion(no), no).toBe(false);
  expect(isLabelValue("")).toBe(true);
  expect(isLabelKey("example.com/tier")).toBe(true);
  for (const no of ["/tier", "a/b/c", "A.com/x", ""]) expect(isLabelKey(no), no).toBe(false);
});

test("nothing is named as what every object has: what is known by name would find that", () => {
  expect(isName("constructor")).toBe(false);
  for (const no of Object.getOwnPropertyNames(Object.prototype)) expect(isVersion(no), no).toBe(false);
  expect(isLabelValue("constructor")).toBe(true);
});

test("ids carry what they are of, and an instance's is one that its host has not known", () => {
  expect(instanceId("shop", 2, 0, seededRandom(1))).toMatch(/^shop-r2-0-[0-9a-f]{4}$/);
  expect(rolloutId("shop", 2, seededRandom(1))).toMatch(/^shop-r2-[0-9a-f]{6}$/);
  expect(bootId(seededRandom(1))).toMatch(/^[0-9a-f]{16}$/);
  const first = instanceId("shop", 2, 0, seededRandom(1));
  expect(instanceId("shop", 2, 0, seededRandom(1), (id) => id === first)).not.toBe(first);
});

test("equal values have equal hashes, whatever order their keys came in", () => {
  const a = { b: [1, { y: null, x: "é" }], a: true, gone: undefined };
  const b = { a: true, b: [1, { x: "é", y: null }] };
  expect(canonicalJson(a)).toBe('{"a":true,"b":[1,{"x":"é","y":null}]}');
  expect(hashOf(a)).toBe(hashOf(b));
  expect(isHash(hashOf(a))).toBe(true);
  expect(hashOf([1, 2])).not.toBe(hashOf([2, 1]));
});

test("what JSON would lose in silence is refused", () => {
  for (const bad of [NaN, Infinity, 1n, undefined, () => 1, [undefined]]) {
    expect(() => canonicalJson(bad)).toThrow(TypeError);
  }
});

test("a slip finds the word that was meant; another word finds none", () => {
  const known = ["maxSurge", "maxUnavailable", "minHealthyTime", "port", "drain", "get"];
  expect(nearest("maxSurg", known)).toBe("maxSurge");
  expect(nearest("maxsurge", known)).toBe("maxSurge");
  expect(nearest("prot", known)).toBe("port");
  expect(nearest("drian", known)).toBe("drain");
  expect(nearest("MaxUnavailible", known)).toBe("maxUnavailable");
  for (const no of ["", "x", "replicas", "zzz", "a".repeat(100_000)]) expect(nearest(no, known), no).toBeUndefined();
  expect(didYouMean("gte", known)).toBe("; did you mean get?");
  expect(didYouMean("zzz", known)).toBe("");
});
