import { spawn } from "node:child_process";
import { once } from "node:events";
import { expect, test } from "vitest";
import { variedHeads } from "../../bench/heads.ts";
import type { Sample } from "../../bench/measure.ts";
import { parseOptions, UsageError } from "../../bench/options.ts";
import { treeCpuSeconds } from "../../bench/processes.ts";
import { topSelf } from "../../bench/profile.ts";
import { doubts, ratios } from "../../bench/report.ts";

const sample = (peer: Sample["peer"], cpuSeconds: number, more: Partial<Sample> = {}): Sample => ({
  peer,
  cpuSeconds,
  requests: 1_000_000,
  seconds: 10,
  bytes: 1e9,
  p50Micros: 500,
  p99Micros: 900,
  proxyShare: 1,
  loadShare: 0.9,
  foreignShare: 0,
  ...more,
});

test("the ratio is the median of the rounds' own ratios, so a machine that slows down in mid-run does not shift it", () => {
  const samples = [
    ...[sample("baton", 12), sample("haproxy", 10)],
    ...[sample("haproxy", 20), sample("baton", 24)], // twice as slow a round, the other peer first
    ...[sample("baton", 13), sample("haproxy", 10)],
  ];
  const text = ratios(samples, parseOptions(["--only", "baton,haproxy"]));
  expect(text).toContain("baton / haproxy: 1.200");
  expect(text).toContain("target at most 1.3: met");
  expect(ratios([sample("baton", 14), sample("haproxy", 10)], parseOptions(["--only", "baton,haproxy"]))).toContain(
    "MISSED",
  );
});

test("a core that others used, and a throughput that the load limited, are not kept quiet", () => {
  const options = parseOptions(["--only", "nginx"]);
  expect(doubts([sample("nginx", 1)], options)).toEqual([]);
  expect(doubts([sample("nginx", 1, { foreignShare: 0.2 })], options)[0]).toContain("others used its core, up to 20 %");
  expect(doubts([sample("nginx", 1, { proxyShare: 0.8 })], options)[0]).toContain("not saturated");
});

test("heads differ from each other, are as long as a browser's, and come again with the same seed", () => {
  const heads = variedHeads(512, 1);
  const mean = heads.reduce((sum, head) => sum + head.length, 0) / heads.length;
  expect(new Set(heads).size).toBe(512);
  expect(mean).toBeGreaterThan(700);
  expect(mean).toBeLessThan(800);
  expect(variedHeads(512, 1)).toEqual(heads);
  expect(variedHeads(512, 2)).not.toEqual(heads);
  for (const head of heads) expect(head).toMatch(/^GET \/[!-~]+ HTTP\/1\.1\r\n(?:[!-9;-~]+: [ -~]+\r\n)+\r\n$/);
});

test("the CPU of a child that has ended already still counts for its tree", async () => {
  const burn = "const end = process.cpuUsage().user + 3e5; while (process.cpuUsage().user < end);";
  const parent = spawn(
    process.execPath,
    [
      "-e",
      `require("child_process").spawnSync(process.execPath, ["-e", ${JSON.stringify(burn)}]); console.log("reaped"); setInterval(() => 0, 1e3)`,
    ],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  try {
    await once(parent.stdout, "data");
    expect(treeCpuSeconds(parent.pid!)).toBeGreaterThanOrEqual(0.3);
  } finally {
    parent.kill("SIGKILL");
    await once(parent, "exit");
  }
});

test("the profile adds up one function's samples from every place it was called, and leaves idling out", () => {
  const frame = (functionName: string, url = "") => ({ functionName, url, lineNumber: 4 });
  const text = topSelf({
    nodes: [
      { id: 1, callFrame: frame("(idle)") },
      { id: 2, callFrame: frame("parse", "file:///x/agent/proxy/http1/head.ts") },
      { id: 3, callFrame: frame("parse", "file:///x/agent/proxy/http1/head.ts") },
      { id: 4, callFrame: frame("(program)") },
    ],
    samples: [1, 2, 3, 4],
    timeDeltas: [900, 40, 20, 40],
  });
  expect(text.split("\n")[1]).toMatch(/^parse {2}proxy\/http1\/head\.ts:5\s+60\.0$/);
  expect(text).not.toContain("idle");
});

test.each([["--rounds", "0"], ["--only", "caddy"], ["--head", "huge"], ["--nonsense"]])(
  "a bad option is refused before anything is started: %s %s",
  (...args) => {
    expect(() => parseOptions(args.filter((arg) => typeof arg === "string"))).toThrow(UsageError);
  },
);
