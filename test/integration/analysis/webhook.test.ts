/** Webhooks as real HTTP servers: good ones, and those that hang, redirect, flood, break off or talk nonsense. */
import type { IncomingMessage, RequestListener } from "node:http";
import { createServer } from "node:http";
import { createServer as createTcpServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { expect, test } from "vitest";
import { LARGEST_ANSWER } from "../../../control/analysis/http.ts";
import { measureWith } from "../../../control/analysis/measure.ts";
import type { Outcome } from "../../../control/analysis/source.ts";
import type { WebhookSource } from "../../../proto/contract/spec/analysis.ts";
import { systemClock } from "../../../proto/runtime/system-clock.ts";
import { until } from "../../support/processes.ts";
import { listen } from "../../support/prometheus.ts";

const SUBJECT = { service: "shop", rollout: "shop-r2-5f0c91", canary: "v2", stable: "v1", metric: "gate" };

async function hook(answer: RequestListener): Promise<{ readonly url: string } & AsyncDisposable> {
  const server = createServer(answer);
  const url = `http://${await listen(server)}`;
  return {
    url,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((closed) => server.close(closed));
    },
  };
}

const says =
  (text: string, status = 200): RequestListener =>
  (_, response) =>
    response.writeHead(status, { "content-type": "application/json" }).end(text);

function ask(url: string, changes: Partial<WebhookSource> = {}, tokens = new Map<string, string>()): Promise<Outcome> {
  const measure = measureWith({ clock: systemClock, commands: null, tokens });
  const source = { kind: "webhook", url, method: "GET", jsonPath: "$.value", timeoutMs: 5_000, ...changes } as const;
  return measure(source, SUBJECT, new AbortController().signal);
}

const errorOf = async (answer: Promise<Outcome>): Promise<string> => {
  const outcome = await answer;
  return outcome.kind === "error" ? outcome.message : `no error but ${JSON.stringify(outcome)}`;
};

async function bodyOf(request: IncomingMessage): Promise<string> {
  let text = "";
  for await (const chunk of request) text += String(chunk);
  return text;
}

test("POST tells what is measured; the path names the number in the answer", async () => {
  const seen: unknown[] = [];
  await using server = await hook((request, response) => {
    void bodyOf(request).then((body) => {
      seen.push(request.method, request.headers["content-type"], JSON.parse(body));
      response.end('{"data":{"rows":[{"score":0.97}]}}');
    });
  });
  const outcome = await ask(server.url, { method: "POST", jsonPath: "$.data.rows[0].score" });
  expect(outcome).toEqual({ kind: "value", value: 0.97 });
  expect(seen).toEqual(["POST", "application/json", SUBJECT]);
});

test("GET carries the names in its URL, percent-encoded", async () => {
  let path = "";
  await using server = await hook((request, response) => {
    path = request.url ?? "";
    response.end("3");
  });
  const outcome = await ask(`${server.url}/{{service}}?new={{canary}}&old={{stable}}`, { jsonPath: "$" });
  expect(outcome).toEqual({ kind: "value", value: 3 });
  expect(path).toBe("/shop?new=v2&old=v1");
});

test("a token goes to its own origin and to no other", async () => {
  const seen: (string | undefined)[] = [];
  const listener: RequestListener = (request, response) => {
    seen.push(request.headers.authorization);
    response.end('{"value":1}');
  };
  await using known = await hook(listener);
  await using other = await hook(listener);
  const tokens = new Map([[known.url, "s3cret"]]);
  await ask(`${known.url}/a`, {}, tokens);
  await ask(`${other.url}/a`, {}, tokens);
  expect(seen).toEqual(["Bearer s3cret", undefined]);
});

test("null is no data; a missing value, a string and an object are errors that say where", async () => {
  for (const [answer, kind, words] of [
    ['{"value":null}', "nodata", "$.value"],
    ["{}", "error", "has nothing at $.value"],
    ['{"value":"0.9"}', "error", "no number at $.value but a string"],
    ['{"value":true}', "error", "but a boolean"],
    ['{"value":[1]}', "error", "but an array"],
    ["[]", "error", "has nothing at $.value"],
    ["null", "error", "has nothing at $.value"],
    ["not json", "error", "without JSON"],
    ["", "error", "without JSON"],
    ['{"value":1e999}', "nodata", "nothing to judge"],
  ] as const) {
    await using server = await hook(says(answer));
    const outcome = await ask(server.url);
    expect(outcome).toMatchObject({ kind });
    expect(outcome).toMatchObject({ message: expect.stringContaining(words) as string });
  }
});

test("a name that every object inherits is not in the answer", async () => {
  await using server = await hook(says('{"a":1}'));
  expect(await errorOf(ask(server.url, { jsonPath: "$.constructor.length" }))).toContain("has nothing at");
});

test("an answer that is no success is an error in the server's own words, on one line", async () => {
  await using broken = await hook(says('{"error":"the gate\\nis \\u001b[31mbroken"}', 500));
  expect(await errorOf(ask(`${broken.url}/gate?key=hidden`))).toBe(
    `${broken.url}/gate answered 500: the gate is [31mbroken`,
  );
  await using plain = await hook(says(`no such gate\n${"x".repeat(10_000)}`, 404));
  expect(await errorOf(ask(plain.url))).toBe(`${plain.url} answered 404: no such gate`);
  await using long = await hook(says("x".repeat(10_000), 503));
  expect((await errorOf(ask(long.url))).length).toBeLessThanOrEqual(300);
});

test("a redirect is not followed, and what its target hides in the query is not told", async () => {
  let asked = 0;
  await using target = await hook((_, response) => {
    asked++;
    response.end('{"value":1}');
  });
  await using server = await hook((_, response) =>
    response.writeHead(302, { location: `${target.url}/x?token=hidden` }).end(),
  );
  const message = await errorOf(ask(server.url));
  expect(message).toContain(`answered 302, a redirect to ${target.url}/x, which is not followed`);
  expect(message).not.toContain("hidden");
  expect(asked).toBe(0);
});

test("a server that never answers, or never ends its answer, is given up at the timeout and left", async () => {
  let open = 0;
  const counted: RequestListener = (request) => {
    open++;
    request.socket.once("close", () => open--);
  };
  await using silent = await hook(counted);
  expect(await errorOf(ask(silent.url, { timeoutMs: 100 }))).toContain("did not answer within 100ms");
  await using dripping = await hook((request, response) => {
    counted(request, response);
    response.write('{"value":');
  });
  expect(await errorOf(ask(dripping.url, { timeoutMs: 100 }))).toContain("did not answer within 100ms");
  await until("no connection is left", () => open === 0);
});

test("a flood is cut off at its bound, not read to its end", async () => {
  let sent = 0;
  let ended = false;
  const block = Buffer.alloc(64 << 10, " ");
  await using server = await hook((_, response) => {
    const more = (): void => {
      while (!ended) {
        sent += block.length;
        if (!response.write(block)) break;
      }
    };
    response.once("close", () => (ended = true));
    response.on("drain", more);
    more();
  });
  expect(await errorOf(ask(server.url))).toContain("answered more than 1 MiB");
  await until("the server sees the end", () => ended);
  expect(sent).toBeLessThan(16 * LARGEST_ANSWER);
});

test("an answer that breaks off, and a peer that speaks no HTTP, are errors", async () => {
  const peers = new Set<Socket>();
  const answers = ['HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"value":1}', "220 mail ready\r\n", ""];
  const server = createTcpServer((socket) => {
    peers.add(socket);
    socket.on("error", () => undefined);
    socket.once("data", () => socket.end(answers.shift() ?? ""));
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const url = `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`;
  try {
    expect(await errorOf(ask(url))).toContain("broke off in mid-answer");
    expect(await errorOf(ask(url))).toContain("does not speak HTTP");
    expect(await errorOf(ask(url))).toContain("closed the connection without an answer");
  } finally {
    for (const peer of peers) peer.destroy();
    server.close();
  }
});

test("addresses that are no web addresses, and paths that name several values, are errors before anything is sent", async () => {
  for (const url of ["file:///etc/passwd", "unix:/run/x", "", "javascript:1"]) {
    expect(await errorOf(ask(url))).toContain("no http or https URL");
  }
  expect(await errorOf(ask("http://127.0.0.1:9/", { jsonPath: "$..value" }))).toContain("names no single value");
});
