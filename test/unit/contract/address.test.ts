import { expect, test } from "vitest";
import {
  canonicalAddress,
  formatHostPort,
  isHostname,
  isLoopback,
  overlaps,
  parseHostPort,
} from "../../../proto/contract/address.ts";

test("host:port is read in each of its spellings and written back", () => {
  for (const text of ["127.0.0.1:80", "[::1]:80", "shop.internal:8080", "my_app:1", "localhost:0"]) {
    const read = parseHostPort(text);
    expect(read && formatHostPort(read.address, read.port)).toBe(text);
  }
  expect(parseHostPort("[0:0::1]:80")).toEqual({ address: "::1", port: 80 });
  expect(parseHostPort("Shop:80")).toEqual({ address: "shop", port: 80 });
});

test("what is not one host and one port is not read", () => {
  for (const text of [
    [
      "",
      "shop",
      ":80",
      "shop:",
      "::1:80",
      "[::1]",
      "[::1]80",
      "[shop]:80",
      "[127.0.0.1]:80",
      "1.2.3:80",
      "256.1.1.1:80",
    ],
    [
      "shop:65536",
      "shop:-1",
      "shop:+1",
      "shop:1e3",
      "shop:80 ",
      " shop:80",
      "a b:80",
      "-a:80",
      "a..b:80",
      "[fe80::1%lo]:80",
    ],
    ["http://shop:80", "user@shop:80", `${"a".repeat(64)}:80`],
  ].flat()) {
    expect(parseHostPort(text), text).toBeUndefined();
  }
});

test("a mistyped address is not taken for a name", () => {
  expect(isHostname("10.0.0.256")).toBe(false);
  expect(isHostname("a.1b")).toBe(true);
});

test("loopback is known in every spelling, and nothing else is", () => {
  for (const yes of ["127.0.0.1", "127.255.0.9", "::1", "0::1", "::ffff:127.0.0.1", "localhost", "a.localhost"]) {
    expect(isLoopback(yes), yes).toBe(true);
  }
  for (const no of ["0.0.0.0", "::", "10.0.0.1", "::ffff:10.0.0.1", "127.shop", "128.0.0.1", "::2", ""]) {
    expect(isLoopback(no), no).toBe(false);
  }
});

test("one address has one spelling", () => {
  expect(canonicalAddress("0:0:0:0:0:0:0:1")).toBe("::1");
  expect(canonicalAddress("FD00::A")).toBe("fd00::a");
  expect(canonicalAddress("*.Shop.Example")).toBe("*.shop.example");
});

test("an unspecified address covers what it would be bound over; port 0 covers nothing", () => {
  const at = (address: string, port = 80) => ({ address, port });
  expect(overlaps(at("0.0.0.0"), at("127.0.0.1"))).toBe(true);
  expect(overlaps(at("127.0.0.1"), at("::"))).toBe(true);
  expect(overlaps(at("0.0.0.0"), at("::1"))).toBe(false);
  expect(overlaps(at("127.0.0.1"), at("127.0.0.2"))).toBe(false);
  expect(overlaps(at("0:0::1"), at("::1"))).toBe(true);
  expect(overlaps(at("::1"), at("::1", 81))).toBe(false);
  expect(overlaps(at("::1", 0), at("::1", 0))).toBe(false);
});
