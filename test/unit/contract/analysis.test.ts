import { expect, test } from "vitest";
import type { AnalysisSpec, MetricSpec } from "../../../proto/contract/spec/types.ts";
import { problemsOf, specOf, withLine } from "../../support/service-document.ts";

const document = (analysis: string): string =>
  withLine(`strategy: { canary: { steps: [{ setWeight: 5 }, { analysis: ${analysis} }] } }`);

function analysisOf(said: string): AnalysisSpec {
  const { strategy } = specOf(document(said));
  const step = strategy.kind === "canary" ? strategy.steps[1] : undefined;
  if (step?.kind !== "analysis") throw new Error("no analysis");
  return step.analysis;
}
const wrongWith = (said: string): string[] =>
  problemsOf(document(said)).map((line) =>
    line.replace(/^shop\.yaml:8:\d+: spec\.strategy\.canary\.steps\[1\]\.analysis\.?/, ""),
  );

const P99 = "name: p99, traffic: { of: p99 }, successCondition: result < 250";
const metricOf = (said: string): MetricSpec => analysisOf(`{ metrics: [{ ${said} }] }`).metrics[0]!;

test("a metric of which little is said is measured as its source can be", () => {
  expect(metricOf(P99)).toEqual({
    name: "p99",
    source: { kind: "traffic", of: "p99", version: "canary" },
    intervalMs: 10_000,
    initialDelayMs: 0,
    count: 0,
    failureLimit: 0,
    inconclusiveLimit: 4,
    consecutiveErrorLimit: 4,
    success: { text: "result < 250", all: [{ op: "<", value: 250 }] },
    failure: null,
    critical: true,
    dryRun: false,
  });
  expect(metricOf("name: e, sequential: { of: errors }")).toMatchObject({
    source: { kind: "sequential", of: "errors", alpha: 0.01, minRequests: 100 },
    intervalMs: 10_000,
    success: null,
    failure: null,
  });
  const prometheus = "prometheus: { address: 'http://127.0.0.1:9090', query: 'up{v=\"{{canary}}\"}' }";
  expect(metricOf(`name: up, ${prometheus}, failureCondition: result < 1`)).toMatchObject({
    source: { kind: "prometheus", query: 'up{v="{{canary}}"}', timeoutMs: 10_000 },
    intervalMs: 30_000,
    success: null,
    failure: { text: "result < 1" },
  });
  expect(
    metricOf("name: w, webhook: { url: 'http://a.test/x', jsonPath: $.v }, successCondition: result == 1"),
  ).toMatchObject({
    source: { kind: "webhook", method: "GET", jsonPath: "$.v", timeoutMs: 10_000 },
  });
  expect(
    metricOf("name: c, command: { command: [./check, '{{canary}}'] }, successCondition: result == 0"),
  ).toMatchObject({
    source: { kind: "command", command: ["./check", "{{canary}}"], timeoutMs: 30_000 },
  });
});

test("a step's analysis always ends: by its duration, or by the counts of all its metrics", () => {
  expect(analysisOf(`{ metrics: [{ ${P99} }] }`).durationMs).toBe(300_000);
  expect(analysisOf(`{ metrics: [{ ${P99}, count: 3 }] }`).durationMs).toBe(0);
  expect(analysisOf(`{ metrics: [{ ${P99}, count: 3 }, { name: e, sequential: { of: errors } }] }`).durationMs).toBe(
    300_000,
  );
  expect(analysisOf(`{ duration: 1m, metrics: [{ ${P99}, count: 3 }] }`).durationMs).toBe(60_000);
  // A default gives way: what is to be measured must have room to be.
  expect(analysisOf(`{ metrics: [{ ${P99}, initialDelay: 10m }] }`).durationMs).toBe(1_220_000);
  expect(analysisOf(`{ duration: 3s, metrics: [{ ${P99} }] }`).metrics[0]?.intervalMs).toBe(3_000);
  expect(wrongWith(`{ duration: 0s, metrics: [{ ${P99} }] }`)).toEqual([
    "duration: 0s, and metrics[0] has no count: it would never end",
  ]);
});

test("a count is never made up of inconclusive measurements alone", () => {
  expect(metricOf(`${P99}, count: 1`).inconclusiveLimit).toBe(0);
  expect(metricOf(`${P99}, count: 3`).inconclusiveLimit).toBe(2);
  expect(metricOf(`${P99}, count: 100`).inconclusiveLimit).toBe(4);
  expect(metricOf(`${P99}, count: 3, inconclusiveLimit: 3`).inconclusiveLimit).toBe(3);
});

test.each([
  ["{}", "metrics: missing; expected a list of metrics"],
  ["{ metrics: [] }", "metrics: an empty list; expected at least 1 of: metrics"],
  [`{ metrics: [{ ${P99} }, { ${P99} }] }`, "metrics[1].name: a second metric named p99; metrics[0] is the first"],
  [
    `{ duration: 1m, metrics: [{ ${P99}, interval: 2m }] }`,
    "metrics[0].interval: 2m is longer than what is left of duration, 1m: it would not be measured once",
  ],
  [
    `{ duration: 1m, metrics: [{ ${P99}, interval: 30s, initialDelay: 40s }] }`,
    "metrics[0].interval: 30s is longer than what is left after initialDelay of duration, 1m: it would not be measured once",
  ],
  [
    `{ duration: 1m, metrics: [{ ${P99}, initialDelay: 1m }] }`,
    "metrics[0].initialDelay: 1m leaves nothing of duration, 1m: it would not be measured once",
  ],
])("what an analysis can't mean is refused in one line: %s", (said, expected) => {
  expect(wrongWith(said)).toEqual([expected]);
});

const metricsProblem = (said: string): string[] =>
  wrongWith(`{ metrics: [{ ${said} }] }`).map((line) => line.replace(/^metrics\[0\]\.?/, ""));
const prometheus = (more: string): string =>
  `name: m, prometheus: { address: 'http://a.test:9090', query: up, ${more} }, successCondition: result > 0`;
const webhook = (url: string, path = "$.v"): string =>
  `name: m, webhook: { url: '${url}', jsonPath: '${path}' }, successCondition: result > 0`;

test.each([
  ["name: m", ": expected one of sequential, traffic, prometheus, webhook, command"],
  ["name: m, sequential: { of: errors }, traffic: { of: p99 }", ": expected only one of sequential and traffic"],
  [
    "name: m, traffic: { of: p99 }",
    ": expected successCondition or failureCondition: nothing says what traffic is to show",
  ],
  [
    "name: m, sequential: { of: errors }, failureCondition: result > 1",
    "failureCondition: sequential compares the two versions, and takes no condition",
  ],
  [
    "name: m, sequential: { of: error }",
    'sequential.of: expected one of errors, latency, got text "error"; did you mean errors?',
  ],
  [
    "name: m, sequential: { of: errors, alpha: 0 }",
    "sequential.alpha: expected a share above 0, at most 0.5, got number 0",
  ],
  [
    "name: m, traffic: { of: p75 }, successCondition: result < 1",
    'traffic.of: expected one of successRate, errorRate, p50, p90, p95, p99, saturation, requestRate, got text "p75"; did you mean p95?',
  ],
  [
    "name: m, traffic: { of: p99 }, successCondition: 'result[0] < 1'",
    "successCondition: a source gives one number: write result, without an index",
  ],
  [
    "name: m, traffic: { of: p99 }, successCondition: 5",
    'successCondition: expected text such as "result >= 0.95", got number 5',
  ],
  [
    "name: a b, sequential: { of: errors }",
    'name: text "a b" is not a metric\'s name: letters, digits, "-", "_" and ".", at most 63, a letter or digit at both ends, not "constructor" or its like',
  ],
  ["name: m, sequential: { of: errors }, interval: 1ms", "interval: expected a duration of at least 100ms, got 1ms"],
  ["name: m, sequential: { of: errors }, failurelimit: 1", "failurelimit: unknown key; did you mean failureLimit?"],
  [prometheus("timeout: 0s"), "prometheus.timeout: expected a duration of at least 1ms, got 0s"],
  [
    prometheus("").replace("query: up", "query: 'up{v=\"{{args.v}}\"}'"),
    "prometheus.query: {{args.v}} is not known; {{service}}, {{canary}}, {{stable}} are",
  ],
  [
    prometheus("").replace("query: up", "query: 'up{v=\"{{canry}}\"}'"),
    "prometheus.query: {{canry}} is not known; {{service}}, {{canary}}, {{stable}} are; did you mean canary?",
  ],
  [
    prometheus("").replace("http://", "ftp://"),
    'prometheus.address: expected a URL such as http://127.0.0.1:9090, got text "ftp://a.test:9090"',
  ],
  [prometheus("").replace("9090", "9090/?x=1"), "prometheus.address: the address alone, without a query"],
  [
    prometheus("").replace("a.test", "user:secret@a.test"),
    "prometheus.address: no place for a password, which all who read the document see: give the controller --analysis-token",
  ],
  [webhook("http://a.test/{{x}}"), "webhook.url: {{x}} is not known; {{service}}, {{canary}}, {{stable}} are"],
  [
    webhook("http://a.test", "$..v"),
    'webhook.jsonPath: text "$..v" is not a path to one value, such as $.data.value or $.rows[0]',
  ],
  [
    "name: m, command: { command: ./check }, successCondition: result > 0",
    'command.command: expected a list of words such as ["node", "server.js"], got text "./check"',
  ],
  [
    "name: m, command: { command: [./check, '{{x}}'] }, successCondition: result > 0",
    "command.command[1]: {{x}} is not known; {{service}}, {{canary}}, {{stable}} are",
  ],
])("what a metric can't mean is refused in one line: %s", (said, expected) => {
  expect(metricsProblem(said)).toEqual([expected]);
});

test("in the background there is no duration, and no startingStep where there are no steps", () => {
  const wrong = (line: string): string[] =>
    problemsOf(withLine(`strategy: ${line}`)).map((l) => l.replace(/^.*?strategy\./, ""));
  const metrics = `metrics: [{ ${P99} }]`;
  expect(wrong(`{ canary: { analysis: { duration: 5m, ${metrics} } } }`)).toEqual([
    "canary.analysis.duration: unknown key; known here: startingStep, metrics",
  ]);
  expect(wrong(`{ rolling: { analysis: { startingStep: 1, ${metrics} } } }`)).toEqual([
    "rolling.analysis.startingStep: unknown key; known here: metrics",
  ]);
});
