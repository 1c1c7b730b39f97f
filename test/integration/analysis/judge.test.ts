/** `baton judge`, the real command on files: verdicts, when they would have come, exit codes, and every wrong input. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { analysisOf } from "../../../control/cli/judge/metrics.ts";
import { readRecording } from "../../../control/cli/judge/recording.ts";
import { bucketLimit } from "../../../proto/contract/histogram.ts";
import { EXIT } from "../../../proto/contract/limits.ts";
import { startNode } from "../../support/processes.ts";

const T0 = Date.UTC(2026, 0, 1);
let folder = "";
beforeAll(() => (folder = mkdtempSync(join(tmpdir(), "baton-judge-"))));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const file = (name: string, text: string): string => {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};

async function judge(...args: string[]): Promise<{ code: number | null; out: string; err: string }> {
  await using process = startNode("control/cli/main.ts", { args: ["judge", ...args], env: { NO_COLOR: "1" } });
  const { code } = await process.exited;
  return { code, out: process.stdout, err: process.stderr };
}

interface Shape {
  readonly seconds: number;
  readonly canaryErrors: number;
  readonly latency?: "latency" | "latencyUs";
  readonly windows?: boolean;
}

/** 900 requests a second on v1 and 100 on v2; v1 answers one in a thousand with 5xx, v2 `canaryErrors` of its hundred. */
function samples({ seconds, canaryErrors, latency, windows = false }: Shape): object[] {
  const from = windows ? 1 : 0;
  return Array.from({ length: seconds + 1 - from }, (_, i) => {
    const n = windows ? 1 : i;
    const bucket = 40;
    const times = (requests: number): object => {
      if (latency === undefined) return {};
      return { [latency]: [[latency === "latency" ? bucket : bucketLimit(bucket), requests]] };
    };
    const versions = {
      v1: { requests: 900 * n, errors: n, ...times(900 * n) },
      v2: { requests: 100 * n, errors: canaryErrors * n, lost: 0, ...times(100 * n) },
    };
    return { atMs: T0 + (i + from) * 1_000, versions };
  });
}

const lines = (rows: readonly object[], head?: object): string =>
  [...(head === undefined ? [] : [head]), ...rows].map((row) => `${JSON.stringify(row)}\n`).join("");

const HEAD = { canary: "v2", stable: "v1", counts: "totals" };

describe("verdicts", () => {
  test("a canary with clearly more errors fails, early in the recording, with the numbers in one sentence", async () => {
    const bad = file("bad.jsonl", lines(samples({ seconds: 300, canaryErrors: 10 }), HEAD));
    const said = await judge(bad, "-o", "json");
    expect(said.code).toBe(EXIT.failed);
    const shown = JSON.parse(said.out) as Record<string, unknown>;
    expect(shown).toMatchObject({ verdict: "failed", canary: "v2", stable: "v1", samples: 301, leftOut: [] });
    expect(shown["afterMs"]).toBeLessThan(240_000);
    expect(shown["verdictAtMs"]).toBe(T0 + Number(shown["afterMs"]));
    expect(shown["message"]).toMatch(/^metric errors failed: .*10 %/);
    expect(said.err).toContain("judged by errors alone");

    const table = await judge(bad);
    expect(table.code).toBe(EXIT.failed);
    expect(table.out).toMatch(/^v2 beside v1: failed after [^,]+ of 5 min 0 s, at 2026-01-01T00:0\d:\d\d/);
    expect(table.out).toContain("metric errors failed: ");
  });

  test("an equal canary passes, told at the end; windows give the very verdict that totals do", async () => {
    for (const latency of ["latency", "latencyUs"] as const) {
      const shape = { seconds: 60, canaryErrors: 0, latency };
      const totals = await judge(file(`${latency}.jsonl`, lines(samples(shape), HEAD)), "-o", "json");
      expect(totals, totals.out + totals.err).toMatchObject({ code: EXIT.done, err: "" });
      expect(JSON.parse(totals.out)).toMatchObject({ verdict: "successful", verdictAtMs: null, afterMs: 60_000 });
      const rows = samples({ ...shape, windows: true });
      const windows = await judge(file("w.json", JSON.stringify({ ...HEAD, counts: "windows", samples: rows })));
      expect(windows.code, windows.out + windows.err).toBe(EXIT.done);
    }
  });

  test("too little seen is inconclusive, never a success", async () => {
    const few = samples({ seconds: 60, canaryErrors: 0 }).map((row, i) => ({
      ...row,
      versions: { v1: { requests: 900 * i }, v2: { requests: Math.min(i, 20) } },
    }));
    expect((await judge(file("few.jsonl", lines(few, HEAD)))).code).toBe(EXIT.inconclusive);
    const silent = few.map((row) => ({ ...row, versions: { v1: { requests: 5 }, v2: { requests: 0 } } }));
    expect((await judge(file("silent.jsonl", lines(silent, HEAD)))).code).toBe(EXIT.inconclusive);
  });

  test("limits from the command line judge the canary's own figures", async () => {
    const path = file("limits.jsonl", lines(samples({ seconds: 300, canaryErrors: 5, latency: "latency" }), HEAD));
    const limit = (metric: string) => judge(path, "--metric", metric, "--interval", "5s");
    expect(await limit("successRate >= 0.9")).toMatchObject({ code: EXIT.done });
    expect(await limit("successRate >= 0.99")).toMatchObject({ code: EXIT.failed });
    expect((await limit("p99 < 0.001")).out).toMatch(/metric p99 failed/);
    const both = await judge(path, "--metric", "errors", "--metric", "successRate>=0.9", "--alpha", "0.5");
    expect(both.out).toMatch(/metric errors failed/);
  });

  test("a document's analyses are chosen by name; what only Prometheus knows is left out and said so", async () => {
    const spec = file("shop.yaml", DOCUMENT);
    const path = file("doc.jsonl", lines(samples({ seconds: 300, canaryErrors: 5 }), HEAD));
    const background = await judge(path, "--spec", spec);
    expect(background.code, background.err).toBe(EXIT.failed);
    expect(background.err).toContain("left out: saturation");
    const step = await judge(path, "--spec", spec, "--analysis", "step 2");
    expect(step.code, step.err).toBe(EXIT.done);
    const unknown = await judge(path, "--spec", spec, "--analysis", "step 1");
    expect(unknown).toMatchObject({ code: EXIT.usage, out: "" });
    expect(unknown.err).toContain('no analysis "step 1"; there are: background, step 2');
  });
});

test("wrong input is one line and exit 2", async () => {
  const good = file("good.jsonl", lines(samples({ seconds: 5, canaryErrors: 0 }), HEAD));
  for (const [pattern, ...args] of [
    [/give the recording to judge, or --record SERVICE/],
    [/give the recording to judge, or --record SERVICE/, good, "--record", "shop"],
    [/sample 2 is not later/, file("back.jsonl", lines(samples({ seconds: 5, canaryErrors: 0 }).reverse(), HEAD))],
    [/--metric "errrors": .*errors/, good, "--metric", "errrors"],
    [/Expected a share up to 0\.5/, good, "--alpha", "2"],
  ] as const satisfies [RegExp, ...string[]][]) {
    const said = await judge(...args);
    expect(said.err).toMatch(pattern);
    expect(said).toMatchObject({ code: EXIT.usage, out: "" });
    expect(said.err.trimEnd().split("\n"), said.err).toHaveLength(1);
  }
});

test("a recording that is none is refused with the place in the file", () => {
  const one = (versions: object): string => lines([{ atMs: 1, versions }], HEAD);
  const list = JSON.stringify(samples({ seconds: 5, canaryErrors: 0 }));
  for (const [text, message] of [
    ["\n", "it is empty"],
    ["hello\n{}\n", "line.jsonl:1: no JSON; a recording is a JSON document, or one sample a line"],
    [`${lines(samples({ seconds: 1, canaryErrors: 0 })).trim()}\n{"at\n`, "line.jsonl:3: no JSON"],
    [one({ v1: { requests: -1 } }), "line.jsonl:2: versions.v1.requests: "],
    [one({ v1: { requests: 1, errors: 0.5 } }), "line.jsonl:2: versions.v1.errors: "],
    [one({ v1: { requests: 1, request: 1 } }), "line.jsonl:2: versions.v1: "],
    [one({ v1: {} }), "versions.v1.requests: "],
    [one({ v1: { requests: 1, latency: [[3, 1], [2, 1]] } }), "versions.v1.latency: not ascending"], // prettier-ignore
    [one({ v1: { requests: 1, latency: [[240, 1]] } }), "there are 240 buckets"],
    [one({ v1: { requests: 1, latency: [], latencyUs: [] } }), "one of them says it all"],
    [one({ v1: { requests: 1 } }), "no sample has a version v2; those in it: v1"],
    [list, "say which version is judged, with --canary; those in it: v1, v2"],
    [JSON.stringify({ canary: "v2", stable: "v2", samples: JSON.parse(list) as unknown }), "compared with itself"],
    [JSON.stringify({ canary: "v2", samples: 1 }), "samples: "],
  ] as const) {
    expect(() => readRecording(file("line.jsonl", text), {}), message).toThrow(message);
  }
  expect(() => readRecording(join(folder, "no-such-file"), {})).toThrow("can't be read");
});

test("what to judge by is refused in the words of the document's schema", () => {
  for (const [options, message] of [
    [{ metric: ["errors", "p98 < 3"] }, '--metric "p98 < 3": traffic.of: '],
    [{ metric: ["p99 <"] }, '--metric "p99 <": successCondition: '],
    [{ metric: ["errors"], interval: "soon" }, '--metric "errors": interval: '],
    [{ spec: "x.yaml", metric: ["errors"] }, "--spec says it all: leave out --metric"],
    [{ spec: "x.yaml", minRequests: 3 }, "--spec says it all: leave out --min-requests"],
    [{ analysis: "background" }, "--service and --analysis choose out of a document"],
    [{ spec: join(folder, "none.yaml") }, "can't be read"],
    [{ spec: file("two.yaml", `${DOCUMENT}---${DOCUMENT.replace("shop", "till").replace("8080", "8081")}`) }, "choose with --service: shop, till"], // prettier-ignore
    [{ spec: file("one.yaml", DOCUMENT), service: "shpo" }, "no service shpo; did you mean shop?"],
  ] as const) {
    expect(() => analysisOf(options), message).toThrow(message);
  }
  expect(analysisOf({}).metrics.map(({ name }) => name)).toEqual(["errors", "latency"]);
  const twice = analysisOf({ metric: ["p99 < 300", "p99 > 1"], interval: "5s" }).metrics;
  expect(twice).toMatchObject([
    { name: "p99", intervalMs: 5_000 },
    { name: "p99-2", success: { all: [{ op: ">", value: 1 }] } },
  ]);
});

test("the last line of a recorder that was killed may be cut; a list of samples takes its labels from the options", async () => {
  const rows = lines(samples({ seconds: 300, canaryErrors: 10 }), HEAD);
  const cut = await judge(file("killed.jsonl", `${rows}{"atMs": 17672`));
  expect(cut.code, cut.err).toBe(EXIT.failed);
  const list = file("list.json", JSON.stringify(samples({ seconds: 300, canaryErrors: 10 })));
  const said = await judge(list, "--canary", "v2", "--stable", "v1");
  expect(said.code, said.err).toBe(EXIT.failed);
});

const DOCUMENT = `
apiVersion: baton/v1
kind: Service
metadata: { name: shop }
spec:
  version: v2
  listen: [{ address: 127.0.0.1, port: 8080, protocol: http }]
  run: { process: { command: [node, server.js] } }
  health: { path: /healthz }
  strategy:
    canary:
      steps:
        - setWeight: 10
        - analysis:
            duration: 1m
            metrics:
              - { name: rate, traffic: { of: successRate }, interval: 5s, successCondition: "result >= 0.9" }
      analysis:
        metrics:
          - { name: errors, sequential: { of: errors } }
          - name: saturation
            prometheus: { address: "http://127.0.0.1:9090", query: 'cpu{version="{{canary}}"}' }
            successCondition: result < 0.8
`;
