import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { valueAt } from "../../../control/analysis/json-path.ts";
import { address, fill, httpUrl, oneLine } from "../../../control/analysis/source.ts";
import { parseTokenOption, readSourceTokens } from "../../../control/analysis/tokens.ts";
import { parseJsonPath } from "../../../proto/contract/spec/json-path.ts";
import { readOptions } from "../../../control/options.ts";

test("a JSON path names one value; what would name several is none", () => {
  expect(parseJsonPath("$")).toEqual([]);
  expect(parseJsonPath("$.a.b-c[0][12].d")).toEqual(["a", "b-c", 0, 12, "d"]);
  expect(parseJsonPath(`$['a.b']["c d"]`)).toEqual(["a.b", "c d"]);
  for (const wrong of [
    "",
    "a",
    ".a",
    "$a",
    "$.",
    "$..a",
    "$.a.",
    "$[*]",
    "$.*",
    "$[-1]",
    "$[0:2]",
    "$[?@.a]",
    "$.a b",
  ]) {
    expect(parseJsonPath(wrong), wrong).toBeUndefined();
  }
});

test("a value is found where the path leads, and nowhere else", () => {
  const json: unknown = JSON.parse('{"a":[{"b":1}],"__proto__":{"x":2},"0":3,"length":null}');
  const at = (path: string): unknown => valueAt(json, parseJsonPath(path) ?? ["no path"]);
  expect(at("$.a[0].b")).toBe(1);
  expect(at("$.__proto__.x")).toBe(2);
  expect(at("$.length")).toBeNull();
  for (const nothing of ["$.a[1]", "$.a.length", "$.toString", "$.a[0].b.c", "$[0]", "$.length.x"]) {
    expect(at(nothing), nothing).toBeUndefined();
  }
});

test("names are filled in once: a name that looks like a placeholder stays as it is", () => {
  const subject = { service: "{{canary}}", rollout: "r", canary: "v2", stable: "", metric: "m" };
  const out = fill("{{service}}|{{ canary }}|{{stable}}|{{metric}}|{{ }}|{canary}", subject, (text) => `<${text}>`);
  expect(out).toBe("<{{canary}}>|<v2>|<>|{{metric}}|{{ }}|{canary}");
});

test("of a URL neither user, password, query nor fragment is told, and only the web's schemes are taken", () => {
  const url = httpUrl("https://ann:secret@prometheus.example:9090/a/b?token=hidden#x");
  expect(url && address(url)).toBe("https://prometheus.example:9090/a/b");
  for (const wrong of ["file:///etc/passwd", "ftp://h/", "//h/", "h:80", "data:,1"]) {
    expect(httpUrl(wrong)).toBeUndefined();
  }
});

test("what others wrote becomes one line of bounded length without control characters", () => {
  expect(oneLine(" a\n\tb\u001b[0m\u0007 \u0085c ")).toBe("a b [0m c");
  expect(oneLine("x".repeat(1_000))).toHaveLength(300);
});

test("a token is for one origin: anything more in the address is refused", () => {
  expect(parseTokenOption("http://prometheus:9090=/etc/baton/token")).toEqual({
    origin: "http://prometheus:9090",
    file: "/etc/baton/token",
  });
  expect(parseTokenOption("https://prometheus:443/=t=1")).toEqual({ origin: "https://prometheus", file: "t=1" });
  for (const wrong of [
    "",
    "=f",
    "http://h=",
    "http://h",
    "h:80=f",
    "http://h/path=f",
    "http://a@h=f",
    "http://h?x=f",
  ]) {
    expect(parseTokenOption(wrong), wrong).toBeUndefined();
  }
});

test("token files are read at the start, and one that can't be used is told by name, never by content", () => {
  const folder = mkdtempSync(join(tmpdir(), "baton-tokens-"));
  try {
    writeFileSync(join(folder, "good"), "s3cret\n");
    writeFileSync(join(folder, "bad"), "two words");
    expect([...readSourceTokens([`http://h:1=${join(folder, "good")}`])]).toEqual([["http://h:1", "s3cret"]]);
    expect(() => readSourceTokens([`http://h:1=${join(folder, "bad")}`])).toThrow(/one line of visible characters/);
    expect(() => readSourceTokens([`http://h:1=${join(folder, "bad")}`])).not.toThrow(/two words/);
    expect(() => readSourceTokens([`http://h:1=${join(folder, "none")}`])).toThrow(/can't be read/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("commands are run only when the controller was told so", () => {
  const read = (...args: string[]) => readOptions(args, { env: {}, uid: 1000, home: "/home/ann", hostname: "h" });
  expect(read()).toMatchObject({ controller: expect.not.objectContaining({ analysisCommands: true }) as object });
  expect(read("--analysis-commands")).toMatchObject({ controller: { analysisCommands: true } });
  expect(read("--analysis-token", "http://a:1=f", "--analysis-token=http://b:2=g")).toMatchObject({
    controller: { analysisTokens: ["http://a:1=f", "http://b:2=g"] },
  });
  expect(read("--analysis-token", "prometheus:9090=f")).toMatchObject({
    kind: "wrong",
    why: expect.stringContaining("is no ORIGIN=FILE") as string,
  });
});
