/** R16: what keeps retries from making a shortage worse. */
import { expect, test } from "vitest";
import { Kit, endpoint, rawApp, service } from "../../support/proxy-kit.ts";
import type { App } from "../../support/proxy-kit.ts";

const GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/** Takes every request and breaks its connection, `answers` after the last of a batch has come. */
async function breaking(batch: number): Promise<App & { readonly at: number[] }> {
  const at: number[] = [];
  const waiting: (() => void)[] = [];
  const app = await rawApp((socket) => {
    socket.on("data", () => {
      at.push(performance.now());
      waiting.push(() => socket.destroy());
      if (at.length >= batch) for (const end of waiting.splice(0)) end();
    });
  });
  return Object.assign(app, { at });
}

test("R16: of the requests that run one in five may be sent again, so an app that fails all is not asked thrice as much", async () => {
  const app = await breaking(40);
  await using kit = await Kit.start([endpoint("a", app.port, 1)], { backoffBaseMs: 5, backoffMaxMs: 10 });
  kit.keep(app);
  const answers = await Promise.all(Array.from({ length: 40 }, () => kit.get()));
  expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 502));
  // 40, and 8 that were sent a second time and, by their route's leave, a third.
  expect(app.at.length).toBeGreaterThan(40);
  expect(app.at.length).toBeLessThanOrEqual(40 + 2 * 8);
  expect(await kit.books(1)).toMatchObject({ inFlight: 0, lost: { upstream_reset: 40 } });
  // The budget is given back: the next one is sent three times, as its route allows.
  const before = app.at.length;
  expect((await kit.get()).status).toBe(502);
  expect(app.at.length - before).toBe(3);
});

test("R16: few requests may always be sent again, however few run", async () => {
  const app = await breaking(3);
  await using kit = await Kit.start([endpoint("a", app.port, 1)], { backoffBaseMs: 5, backoffMaxMs: 10 });
  kit.keep(app);
  await Promise.all(Array.from({ length: 3 }, () => kit.get()));
  expect(app.at.length).toBe(9);
});

test("R16: the pause before an endpoint is tried again grows to its bound, and is not the same for all", async () => {
  const app = await breaking(1);
  await using kit = await Kit.start([endpoint("a", app.port, 1)], { backoffBaseMs: 100, backoffMaxMs: 400 });
  kit.keep(app);
  const gaps: number[] = [];
  for (let i = 0; i < 3; i++) {
    const from = app.at.length;
    await kit.get();
    gaps.push(app.at[from + 1]! - app.at[from]!, app.at[from + 2]! - app.at[from + 1]!);
  }
  // Half of the ceiling at least: 200, then 400 ms. The wheel's clock is up to a tick of 25 ms old when it is armed.
  gaps.forEach((gap, i) => expect(gap).toBeGreaterThan((i % 2 === 0 ? 100 : 200) - 30));
  expect(Math.max(...gaps) - Math.min(...gaps)).toBeGreaterThan(25);
});

test("R16: the route's time is for all attempts and the pauses between them", async () => {
  const app = await breaking(1);
  await using kit = await Kit.start([], { backoffBaseMs: 1_000, backoffMaxMs: 5_000 });
  kit.keep(app);
  const rules = service([]).rules.map((rule) => ({ ...rule, timeouts: { requestMs: 200 } }));
  kit.apply(service([endpoint("a", app.port, 1)], { rules }));
  const before = performance.now();
  const answer = await kit.ask(GET);
  expect([answer.status, answer.headers["baton-error"]]).toEqual([504, "upstream_timeout"]);
  expect(performance.now() - before).toBeLessThan(1_000);
  expect(app.at).toHaveLength(1);
  expect(await kit.books(1)).toMatchObject({ inFlight: 0, lost: { upstream_timeout: 1 } });
});
