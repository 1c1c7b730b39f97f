/** What Baton does only where the next hop is the app: the split over versions, and what rules change in headers. */
import { expect, test } from "vitest";
import type { ServiceConfig } from "../../../agent/proxy/config.ts";
import { EVERY_REQUEST, NO_FILTER } from "../../../proto/contract/spec/types.ts";
import type { HeaderFilter, RuleSpec } from "../../../proto/contract/spec/types.ts";
import { Kit, deadPort, endpoint, eventually, httpApp, rawApp, service } from "../../support/proxy-kit.ts";
import type { App } from "../../support/proxy-kit.ts";

const COOKIE = { kind: "cookie", name: "who", maxAgeMs: 60_000 } as const;
const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/** Says its name. */
const named = (name: string): Promise<App> => httpApp((_req, res) => res.end(name));

/** Keeps every head that it is sent, as it came, and answers each by `answer`. */
async function listening(answer: (head: string) => string): Promise<App & { readonly heads: string[] }> {
  const heads: string[] = [];
  const app = await rawApp((socket) => {
    let seen = "";
    socket.on("data", (data) => {
      seen += data.toString("latin1");
      for (let end = seen.indexOf("\r\n\r\n"); end !== -1; end = seen.indexOf("\r\n\r\n")) {
        const head = seen.slice(0, end + 2);
        const length = /content-length: (\d+)/i.exec(head)?.[1] ?? "0";
        seen = seen.slice(end + 4 + Number(length));
        heads.push(head);
        const said = answer(head);
        if (said === "") socket.destroy();
        else socket.write(said, "latin1");
      }
    });
  });
  return Object.assign(app, { heads });
}

const split = (
  stable: ReturnType<typeof endpoint>[],
  canary: ReturnType<typeof endpoint>[],
  weight: number,
  more: Partial<ServiceConfig> = {},
): ServiceConfig =>
  service([], {
    versions: [
      { revision: 1, version: "v1", weight: 10_000 - weight, endpoints: stable },
      { revision: 2, version: "v2", weight, endpoints: canary },
    ],
    ...more,
  });

const filtering = (request: Partial<HeaderFilter>, response: Partial<HeaderFilter>): RuleSpec[] =>
  service([]).rules.map((rule) => ({
    ...rule,
    requestHeaders: { ...NO_FILTER, ...request },
    responseHeaders: { ...NO_FILTER, ...response },
  }));

const preview = [
  {
    name: "preview",
    revision: 2,
    matches: [{ ...EVERY_REQUEST, queryParams: [{ type: "Exact", name: "v", value: "2" }] }],
  },
] as const;

test("a caller gets a cookie with its first answer, and by it the same version as long as the weights stand", async () => {
  const [v1, v2] = [await named("v1"), await named("v2")];
  await using kit = await Kit.start([]);
  kit.keep(v1, v2);
  const at = (weight: number): void =>
    kit.apply(split([endpoint("a", v1.port, 1)], [endpoint("b", v2.port, 2)], weight, { sticky: COOKIE }));
  const callers: { readonly cookie: string; readonly version: string }[] = [];
  at(5_000);
  for (let i = 0; i < 30; i++) {
    const answer = await kit.get();
    expect(answer.headers["set-cookie"]).toMatch(/^who=[0-9a-f]{32}; Path=\/; Max-Age=60; HttpOnly; SameSite=Lax$/);
    callers.push({ cookie: answer.headers["set-cookie"]!.split(";")[0]!, version: answer.body.toString() });
  }
  const versions = async (): Promise<string[]> => {
    const seen: string[] = [];
    const client = await kit.client();
    for (const { cookie } of callers) {
      client.send(`GET / HTTP/1.1\r\nHost: a\r\nCookie: ${cookie}\r\n\r\n`);
      const answer = await client.response();
      expect(answer.headers["set-cookie"]).toBe(undefined);
      seen.push(answer.body.toString());
    }
    return seen;
  };
  expect(new Set(callers.map(({ version }) => version))).toEqual(new Set(["v1", "v2"]));
  expect(await versions()).toEqual(callers.map(({ version }) => version));
  at(8_000);
  const raised = await versions();
  callers.forEach(({ version }, i) => expect(raised[i]! >= version).toBe(true));
  at(0);
  expect(new Set(await versions())).toEqual(new Set(["v1"]));
});

test("the cookie comes with the app's own last word, whatever that is, and not with Baton's", async () => {
  const app = await listening((head) => {
    if (head.startsWith("HEAD")) return "HTTP/1.1 304 Not Modified\r\n\r\n";
    if (head.startsWith("POST"))
      return `HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n`;
    if (/upgrade: x/i.test(head))
      return "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    return head.includes("/reset") ? "" : OK;
  });
  await using kit = await Kit.start([]);
  kit.keep(app);
  kit.apply(service([endpoint("a", app.port, 1)], { sticky: COOKIE }));
  const client = await kit.client();
  client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
  expect((await client.response(true)).headers["set-cookie"]).toContain("who=");
  client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
  const [hints, oops] = [await client.response(), await client.response()];
  expect([hints.status, hints.headers["set-cookie"]]).toEqual([103, undefined]);
  expect([oops.status, oops.headers["set-cookie"]?.slice(0, 4)]).toEqual([500, "who="]);
  client.send("GET /reset HTTP/1.1\r\nHost: a\r\n\r\n");
  const lost = await client.response();
  expect([lost.status, lost.headers["set-cookie"]]).toEqual([502, undefined]);
  const upgrading = await kit.ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
  expect([upgrading.status, upgrading.headers["set-cookie"]?.slice(0, 4)]).toEqual([101, "who="]);
});

test("a request that the canary fails safely is answered by the other version: none is lost for the canary's sake", async () => {
  const v1 = await named("v1");
  const breaking = await listening(() => "");
  const dead = await deadPort();
  await using kit = await Kit.start([]);
  kit.keep(v1, breaking);
  for (const canary of [endpoint("b", breaking.port, 2), endpoint("c", dead, 3)]) {
    kit.apply(split([endpoint("a", v1.port, 1)], [canary], 10_000 - 1, { routes: preview }));
    for (let i = 0; i < 5; i++) {
      for (const path of ["/", "/?v=2"]) {
        const answer = await kit.get(path);
        expect([answer.status, answer.body.toString()]).toEqual([200, "v1"]);
      }
    }
  }
  const books = [await kit.books(1), await kit.books(2), await kit.books(3)];
  expect(books.map(({ lost, inFlight }) => [lost, inFlight])).toEqual([
    [{}, 0],
    [{}, 0],
    [{}, 0],
  ]);
  expect(books.reduce((sum, { completed }) => sum + completed, 0)).toBe(20);
});

test("a version without a share answers its route alone; with it gone the route's requests are answered all the same", async () => {
  const [v1, v2] = [await named("v1"), await named("v2")];
  await using kit = await Kit.start([]);
  kit.keep(v1, v2);
  const [a, b] = [endpoint("a", v1.port, 1), endpoint("b", v2.port, 2)];
  const body = async (path: string): Promise<string> => (await kit.get(path)).body.toString();
  kit.apply(split([a], [b], 0, { routes: preview }));
  expect([await body("/?v=2"), await body("/?v=1"), await body("/")]).toEqual(["v2", "v1", "v1"]);
  kit.apply(split([a], [], 0, { routes: preview }));
  expect(await body("/?v=2")).toBe("v1");
  kit.apply(split([a], [{ ...b, mode: "draining" }], 0, { routes: preview }));
  expect(await body("/?v=2")).toBe("v1");
  kit.apply(split([], [b], 0, { routes: preview }));
  expect([(await kit.get("/?v=2")).status, (await kit.get("/")).status]).toEqual([200, 503]);
});

test("a request that no rule takes is answered 404, and not looked at for versions", async () => {
  const v1 = await named("v1");
  await using kit = await Kit.start([]);
  kit.keep(v1);
  const rules = service([]).rules.map((rule) => ({ ...rule, method: "GET" }));
  kit.apply(split([endpoint("a", v1.port, 1)], [], 0, { rules, sticky: COOKIE }));
  expect((await kit.get("/")).status).toBe(200);
  const refused = await kit.ask("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
  expect([refused.status, refused.headers["set-cookie"], refused.headers["baton-error"]]).toEqual([
    404,
    undefined,
    "no_route; sent=0",
  ]);
});

test("headers are removed, set and added on the way to the app and back, around bodies of any framing", async () => {
  const app = await listening(
    () =>
      "HTTP/1.1 201 Created\r\nServer: app\r\nX-Old: 1\r\nx-old: 2\r\nX-Keep: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
  );
  await using kit = await Kit.start([]);
  kit.keep(app);
  const rules = filtering(
    { remove: ["x-secret", "cookie"], set: [{ name: "X-Env", value: "canary" }], add: [{ name: "X-Tag", value: "b" }] },
    { remove: ["server"], set: [{ name: "x-old", value: "new" }], add: [{ name: "X-Keep", value: "2" }] },
  );
  kit.apply(service([endpoint("a", app.port, 1)], { rules, sticky: COOKIE }));
  const client = await kit.client();
  for (let i = 0; i < 3; i++) {
    client.send(
      "POST /a HTTP/1.1\r\nHost: a\r\nX-Secret: 1\r\nx-env: client\r\nX-TAG: a\r\nCookie: who=me\r\nX-ENV: two\r\nContent-Length: 5\r\n\r\nhello",
    );
    const answer = await client.response();
    expect([answer.status, answer.body.toString()]).toEqual([201, "ok"]);
    expect(answer.head).not.toMatch(/server:|set-cookie/i);
    expect(answer.head.match(/^x-(old|keep).*$/gim)).toEqual(["X-Keep: 1", "x-old: new", "X-Keep: 2"]);
  }
  const head = app.heads.at(-1)!;
  expect(head).toMatch(/^POST \/a HTTP\/1\.1\r\nHost: a\r\n/);
  expect(head).not.toMatch(/secret|cookie/i);
  expect(head.match(/^x-(env|tag).*$/gim)).toEqual(["X-TAG: a", "X-Env: canary", "X-Tag: b"]);
  expect(head).toMatch(/Content-Length: 5\r\n/);
  expect(head).toMatch(/Via: 1\.1 edge \(baton\)\r\n/);
  expect(app.heads).toHaveLength(3);
});

test("a filtered request is sent again as it was sent first, and an answer of Baton's own is not touched", async () => {
  let failures = 1;
  const app = await listening(() => (failures-- > 0 ? "" : OK));
  await using kit = await Kit.start([]);
  kit.keep(app);
  const rules = filtering({ add: [{ name: "X-Tag", value: "b" }] }, { add: [{ name: "X-Back", value: "1" }] });
  kit.apply(service([endpoint("a", app.port, 1)], { rules }));
  const answer = await kit.get("/one");
  expect([answer.status, answer.headers["x-back"]]).toEqual([200, "1"]);
  expect(app.heads).toHaveLength(2);
  expect(app.heads[0]).toBe(app.heads[1]);
  expect(app.heads[0]!.match(/x-tag/gi)).toHaveLength(1);
  failures = 10;
  const lost = await kit.get("/two");
  expect([lost.status, lost.headers["x-back"]]).toEqual([502, undefined]);
});

test("what an upgrade is answered with is filtered like any other answer", async () => {
  const app = await listening(
    () => "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\nServer: app\r\n\r\n",
  );
  await using kit = await Kit.start([]);
  kit.keep(app);
  const rules = filtering(
    { set: [{ name: "x-env", value: "1" }] },
    { remove: ["server"], add: [{ name: "x-back", value: "1" }] },
  );
  kit.apply(service([endpoint("a", app.port, 1)], { rules }));
  const answer = await kit.ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
  expect([answer.status, answer.headers["server"], answer.headers["x-back"]]).toEqual([101, undefined, "1"]);
  expect([answer.headers["connection"], answer.headers["upgrade"]]).toEqual(["Upgrade", "x"]);
  expect(app.heads[0]).toMatch(/Upgrade: x\r\n[^]*x-env: 1\r\n/);
});

test("on the way to another agent nothing is changed, also not what an attempt at an app has changed", async () => {
  const app = await listening(() => "");
  const next = await listening(() => "HTTP/1.1 200 OK\r\nServer: far\r\nContent-Length: 2\r\n\r\nok");
  await using kit = await Kit.start([]);
  kit.keep(app, next);
  const rules = filtering({ remove: ["x-a"], add: [{ name: "X-Tag", value: "b" }] }, { remove: ["server"] });
  const agent = endpoint("h", next.port, 2, { kind: "agent" });
  const other = { revision: 0, version: "", weight: 5_000, endpoints: [agent] };
  kit.apply(
    service([], {
      ...{ rules, sticky: COOKIE },
      versions: [{ revision: 1, version: "v1", weight: 5_000, endpoints: [endpoint("a", app.port, 1)] }, other],
    }),
  );
  await eventually(async () => {
    const answer = await kit.ask("GET / HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nX-Z: 1\r\nContent-Length: 2\r\n\r\nhi");
    expect([answer.status, answer.headers["server"], answer.headers["set-cookie"]]).toEqual([200, "far", undefined]);
    return app.heads.length > 0;
  });
  expect(app.heads[0]).toMatch(/X-Z: 1\r\n[^]*X-Tag: b\r\n/);
  expect(app.heads[0]).not.toMatch(/X-A/);
  for (const head of next.heads) {
    expect(head).toMatch(/X-A: 1\r\nX-Z: 1\r\n/);
    expect(head).not.toMatch(/X-Tag/);
  }
});

test("a client can't mark its request as a copy", async () => {
  const app = await listening(() => OK);
  await using kit = await Kit.start([endpoint("a", app.port, 1)]);
  kit.keep(app);
  await kit.ask("GET / HTTP/1.1\r\nHost: a\r\nBaton-Mirrored: true\r\nX-Z: 1\r\n\r\n");
  expect(app.heads[0]).toMatch(/X-Z: 1/);
  expect(app.heads[0]).not.toMatch(/mirrored/i);
});

test("services that share a listener and a host name are told apart by their rules, the most specific of them all", async () => {
  const [shop, pay, beta] = [await named("shop"), await named("pay"), await named("beta")];
  await using kit = await Kit.start([]);
  kit.keep(shop, pay, beta);
  const rule = (more: Partial<RuleSpec>): RuleSpec[] => service([]).rules.map((own) => ({ ...own, ...more }));
  const header = { type: "Exact" as const, name: "x-beta", value: "1" };
  kit.apply(
    service([endpoint("a", shop.port, 1)], { name: "shop", rules: rule({}) }),
    service([endpoint("b", pay.port, 3)], {
      ...{ name: "pay", slot: 2 },
      rules: rule({ path: { type: "PathPrefix", value: "/pay" } }),
    }),
    service([endpoint("c", beta.port, 5)], {
      ...{ name: "beta", slot: 4, hostnames: ["beta.test"] },
      rules: rule({ headers: [header] }),
    }),
    service([endpoint("d", pay.port, 7)], {
      ...{ name: "other", slot: 6, hostnames: ["beta.test"] },
      rules: rule({ path: { type: "Exact", value: "/x" } }),
    }),
  );
  const ask = async (host: string, path: string, more = ""): Promise<string> => {
    const answer = await kit.ask(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\n${more}\r\n`);
    return answer.status === 200 ? answer.body.toString() : String(answer.status);
  };
  expect([await ask("a", "/"), await ask("a", "/pay/1"), await ask("a", "/payment")]).toEqual(["shop", "pay", "shop"]);
  expect(await ask("beta.test", "/", "X-Beta: 1\r\n")).toBe("beta");
  expect(await ask("beta.test", "/x", "X-Beta: 1\r\n")).toBe("pay");
  // A host name that is served is served by those who name it, and by nobody else.
  expect(await ask("beta.test", "/")).toBe("404");
  expect([(await kit.books(1)).completed, (await kit.books(3)).completed, (await kit.books(7)).completed]).toEqual([
    2, 1, 1,
  ]);
});
