/** Queries against a real Prometheus, which scrapes a real exporter: what it can answer, and every way in which it can't. */
import { createServer } from "node:http";
import { afterAll, beforeAll, expect, test } from "vitest";
import { measureWith } from "../../../control/analysis/measure.ts";
import type { Outcome } from "../../../control/analysis/source.ts";
import { systemClock } from "../../../proto/runtime/system-clock.ts";
import { isStopped } from "../../support/proc.ts";
import { until } from "../../support/processes.ts";
import type { PrometheusServer } from "../../support/prometheus.ts";
import { listen, startPrometheus } from "../../support/prometheus.ts";

const SUBJECT = { service: "shop", rollout: "shop-r2-5f0c91", canary: "v2", stable: "v1", metric: "success-rate" };

let prometheus: PrometheusServer;

beforeAll(async () => {
  prometheus = await startPrometheus({
    'success_ratio{version="v1"}': "0.999",
    'success_ratio{version="v2"}': "0.5",
    'odd{version="a\\"b\\\\c\'d"}': "7",
    'requests{version="v2"}': "0",
  });
  await prometheus.scraped('success_ratio{version="v2"}', "0.5");
});
afterAll(() => prometheus[Symbol.asyncDispose]());

async function ask(
  query: string,
  changes: { address?: string; timeoutMs?: number; subject?: Partial<typeof SUBJECT>; signal?: AbortSignal } = {},
): Promise<Outcome> {
  const measure = measureWith({ clock: systemClock, commands: null, tokens: new Map() });
  const { address = prometheus.address, timeoutMs = 5_000, signal = new AbortController().signal } = changes;
  return measure({ kind: "prometheus", address, query, timeoutMs }, { ...SUBJECT, ...changes.subject }, signal);
}

const errorOf = async (answer: Promise<Outcome>): Promise<string> => {
  const outcome = await answer;
  return outcome.kind === "error" ? outcome.message : `no error but ${JSON.stringify(outcome)}`;
};

test("a vector of one series and a scalar are numbers; the canary's name comes into the query", async () => {
  expect(await ask('success_ratio{version="{{canary}}"}')).toEqual({ kind: "value", value: 0.5 });
  expect(await ask("success_ratio{version='{{ stable }}'}")).toEqual({ kind: "value", value: 0.999 });
  expect(await ask("scalar(count(success_ratio))")).toEqual({ kind: "value", value: 2 });
  expect(await ask("vector(-1.5e-7)")).toEqual({ kind: "value", value: -1.5e-7 });
});

test("what the exporter says now is what is measured now", async () => {
  prometheus.values.set('latency{version="v2"}', "120");
  await prometheus.scraped('latency{version="v2"}', "120");
  expect(await ask('latency{version="{{canary}}"}')).toEqual({ kind: "value", value: 120 });
  prometheus.values.set('latency{version="v2"}', "480");
  await prometheus.scraped('latency{version="v2"}', "480");
  expect(await ask('latency{version="{{canary}}"}')).toEqual({ kind: "value", value: 480 });
});

test("a name with quotes and backslashes selects its own label and ends no string, in either kind of quotes", async () => {
  const subject = { canary: `a"b\\c'd` };
  expect(await ask('odd{version="{{canary}}"}', { subject })).toEqual({ kind: "value", value: 7 });
  expect(await ask("odd{version='{{canary}}'}", { subject })).toEqual({ kind: "value", value: 7 });
  const injected = { canary: 'x"} or vector(1) or odd{version="' };
  expect(await ask('odd{version="{{canary}}"}', { subject: injected })).toMatchObject({ kind: "nodata" });
  expect(await ask("odd{version=`{{canary}}`}", { subject: { canary: "x`} or vector(1) #" } })).toMatchObject({
    kind: "nodata",
  });
});

test("no series, NaN and infinity are no data: never a value that a condition could pass", async () => {
  expect(await ask('success_ratio{version="v3"}')).toMatchObject({ kind: "nodata" });
  expect(await ask('requests{version="v2"} / requests{version="v2"}')).toMatchObject({ kind: "nodata" });
  expect(await ask('success_ratio{version="v2"} / requests{version="v2"}')).toMatchObject({ kind: "nodata" });
  expect(await ask("vector(-Inf)")).toMatchObject({ kind: "nodata" });
});

test("several series are an error that says how to make one of them", async () => {
  expect(await errorOf(ask("success_ratio"))).toBe(
    "the query gives 2 series where one number is wanted: aggregate it, with sum(…) say",
  );
  expect(await errorOf(ask("success_ratio[1m]"))).toContain("matrix");
  expect(await errorOf(ask('"words"'))).toContain("string");
});

test("a bad query is told in Prometheus' own words", async () => {
  const message = await errorOf(ask("sum("));
  expect(message).toContain(`Prometheus at ${prometheus.address} answered 400: bad_data: `);
  expect(message).toContain("parse error");
});

test("a server that hangs is given up at the timeout, and at once when nobody wants the answer any more", async () => {
  prometheus.process.signal("SIGSTOP");
  try {
    await until("all of it stands still", () => isStopped(prometheus.process.pid));
    expect(await errorOf(ask("vector(1)", { timeoutMs: 200 }))).toBe(
      `${prometheus.address}/api/v1/query did not answer within 200ms`,
    );
    const gone = new AbortController();
    const answer = errorOf(ask("vector(1)", { timeoutMs: 60_000, signal: gone.signal }));
    gone.abort();
    expect(await answer).toContain("not wanted any more");
  } finally {
    prometheus.process.signal("SIGCONT");
  }
  expect(await ask("vector(1)")).toEqual({ kind: "value", value: 1 });
});

test("a query that is too slow is ended by Prometheus itself, or given up", async () => {
  const heavy = "sum(count_over_time(vector(1)[1d:1ms]))";
  const message = await errorOf(ask(heavy, { timeoutMs: 50 }));
  expect(message).toMatch(/did not answer within 50ms|timed out/);
});

test("a server that is down is an error which names it, without what may be secret in its address", async () => {
  const server = createServer();
  const gone = await listen(server);
  await new Promise((closed) => server.close(closed));
  const message = await errorOf(ask("vector(1)", { address: `http://ann:secret@${gone}/prom?token=hidden` }));
  expect(message).toBe(`http://${gone}/prom/api/v1/query can't be reached: nothing listens there (ECONNREFUSED)`);
});

test("an address that is something else than Prometheus, or no web address, is an error", async () => {
  const page = createServer((_, response) => response.end("<html>hello</html>"));
  const address = `http://${await listen(page)}`;
  try {
    expect(await errorOf(ask("vector(1)", { address }))).toContain("not as Prometheus does");
  } finally {
    page.closeAllConnections();
    page.close();
  }
  for (const wrong of ["file:///etc/passwd", "prometheus:9090", "", "ftp://127.0.0.1/"]) {
    expect(await errorOf(ask("vector(1)", { address: wrong }))).toContain("no http or https URL");
  }
});
