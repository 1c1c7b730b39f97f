import * as z from "zod";
import { expect, test } from "vitest";
import { LIMITS } from "../../../proto/contract/limits.ts";
import { specToDocument } from "../../../proto/contract/spec/document.ts";
import { jsonSchema } from "../../../proto/contract/spec/json-schema.ts";
import { parseFiles } from "../../../proto/contract/spec/parse.ts";
import { EVERY_REQUEST, NO_FILTERS } from "../../../proto/contract/spec/types.ts";
import { lines, problemsOf, specOf, withLine } from "../../support/service-document.ts";

/** The pinned example; every later document must go on being read as it is. */
const PINNED = `apiVersion: baton/v1
kind: Service
metadata: { name: shop }
spec:
  version: v1
  listen: [{ address: 127.0.0.1, port: 8080, protocol: http }]
  run: { external: { instances: [{ version: v1, address: "127.0.0.1:9001" }] } }
  # or  run: { process: { command: ["node", "server.js"], cwd: ".", env: {} } }   with PORT given to it
  health: { path: /healthz, interval: 2s, timeout: 1s, healthyThreshold: 2, unhealthyThreshold: 3 }
  drain: { timeout: 30s }
  strategy: { rolling: { maxSurge: 1, maxUnavailable: 0, minHealthyTime: 2s, healthyDeadline: 1m, progressDeadline: 5m, autoRevert: true } }
`;

test("the pinned example is read, with every default filled in", () => {
  expect(specOf(PINNED)).toEqual({
    name: "shop",
    version: "v1",
    labels: {},
    listen: [{ address: "127.0.0.1", port: 8080, protocol: "http" }],
    hostnames: [],
    rules: [
      {
        ...EVERY_REQUEST,
        ...NO_FILTERS,
        timeouts: { requestMs: null },
        retry: { attempts: 2, methods: [] },
      },
    ],
    placement: { hosts: [], labels: {} },
    run: { kind: "external", instances: [{ version: "v1", host: null, address: "127.0.0.1", port: 9001 }] },
    health: {
      readiness: {
        kind: "http",
        path: "/healthz",
        intervalMs: 2_000,
        timeoutMs: 1_000,
        healthyThreshold: 2,
        unhealthyThreshold: 3,
      },
      liveness: null,
    },
    drain: { timeoutMs: 30_000, sseMs: 5_000, websocketMs: 10_000, killMs: 10_000, onTimeout: "cut" },
    strategy: {
      kind: "rolling",
      maxSurge: { kind: "count", value: 1 },
      maxUnavailable: { kind: "count", value: 0 },
      minHealthyMs: 2_000,
      healthyDeadlineMs: 60_000,
      progressDeadlineMs: 300_000,
      autoRevert: true,
      maxErrorRate: 0.05,
      minRequests: 50,
      onPartition: "pause",
      onSupersede: "retarget",
      rollbackWindow: 0,
      analysis: null,
      staggerMs: 0,
      orderBy: "",
      firstHostMs: 0,
    },
  });
});

test("the long forms say what the short ones can't", () => {
  const spec = specOf(
    `apiVersion: baton/v1
kind: Service
metadata: { name: shop, labels: { tier: web, example.com/team: cart } }
spec:
  version: "1.10"
  listen: [{ address: "0:0::1", port: 0 }]
  hostnames: [Shop.Example.com, "*.shop.example.com"]
  rules:
    - matches: [{ path: { value: /api/ } }, { path: { type: Exact, value: /pay/ } }]
      timeouts: { request: 10s }
      retry: { attempts: 1, methods: [POST] }
    - timeouts: { request: 0s }
  placement: { hosts: [host-1], labels: { zone: a } }
  run: { process: { command: [./server], cwd: app/, env: { NODE_ENV: production }, count: 2 } }
  health:
    readiness: { http: { path: /ready }, interval: 500ms }
    liveness: { tcp: {}, unhealthyThreshold: 5 }
  drain: { timeout: 3s, onTimeout: pause }
  strategy: { rolling: { maxSurge: 25%, maxUnavailable: 1, maxErrorRate: 2.5%, onPartition: continue } }
`,
    "/srv/shop",
  );
  expect(spec.version).toBe("1.10");
  expect(spec.listen[0]?.address).toBe("::1");
  expect(spec.hostnames).toEqual(["shop.example.com", "*.shop.example.com"]);
  expect(spec.rules.map((r) => [r.path.type, r.path.value, r.timeouts.requestMs, ...r.retry.methods])).toEqual([
    ["PathPrefix", "/api", 10_000, "POST"],
    ["Exact", "/pay/", 10_000, "POST"],
    ["PathPrefix", "/", null],
  ]);
  expect(spec.run).toEqual({
    kind: "process",
    command: ["./server"],
    cwd: "/srv/shop/app",
    env: { NODE_ENV: "production" },
    count: 2,
  });
  expect(spec.health?.readiness).toMatchObject({ kind: "http", path: "/ready", intervalMs: 500, timeoutMs: 1_000 });
  expect(spec.health?.liveness).toMatchObject({ kind: "tcp", unhealthyThreshold: 5 });
  // A default gives way to what is said: no stream outlives the drain.
  expect(spec.drain).toMatchObject({ timeoutMs: 3_000, sseMs: 3_000, websocketMs: 3_000, onTimeout: "pause" });
  expect(spec.strategy).toMatchObject({ maxSurge: { kind: "percent", value: 25 }, maxErrorRate: 0.025 });
});

test("a relative folder stands on the document's own, and an absolute one stays", () => {
  const cwd = (line: string, baseDir?: string): string => {
    const spec = specOf(withLine("").replace("server.js] }", `server.js], ${line} }`), baseDir);
    return spec.run.kind === "process" ? spec.run.cwd : "";
  };
  expect(cwd("cwd: .", "/srv/shop")).toBe("/srv/shop");
  expect(cwd("cwd: ../b", "/srv/shop")).toBe("/srv/b");
  expect(cwd("cwd: /opt/x/", "/srv/shop")).toBe("/opt/x");
  expect(cwd("cwd: sub")).toBe("sub");
});

test.each([
  ["drian: {}", "8:3: spec.drian: unknown key; did you mean drain?"],
  ["strategy: { rolling: { maxSurg: 1 } }", "8:26: spec.strategy.rolling.maxSurg: unknown key; did you mean maxSurge?"],
  [
    "replicas: 3",
    "8:3: spec.replicas: unknown key; known here: version, listen, hostnames, rules, placement, run, health, drain, strategy",
  ],
  ["drain: { timeout: 5 }", "8:21: spec.drain.timeout: expected a duration such as 30s, got number 5"],
  ["drain: { timeout: soon }", '8:21: spec.drain.timeout: expected a duration such as 30s, got text "soon"'],
  ["drain: { timeout: 5s, sse: 6s }", "8:30: spec.drain.sse: 6s is longer than timeout, 5s"],
  [
    "drain: { onTimeout: kut }",
    '8:23: spec.drain.onTimeout: expected one of cut, pause, got text "kut"; did you mean cut?',
  ],
  ["drain: 30s", '8:10: spec.drain: expected a mapping, got text "30s"'],
  ["drain:", "8:9: spec.drain: expected a mapping, got nothing"],
  ["version: v2", "8:3: spec.version: stands here twice; first on line 5"],
  ['hostnames: ["shop:8080"]', '8:15: spec.hostnames[0]: "shop:8080" has a port; a host name is matched without it'],
  ["hostnames: [a.*.b]", '8:15: spec.hostnames[0]: a "*" may only stand first, as in *.example.com'],
  ["hostnames: [a.test, A.test]", "8:23: spec.hostnames[1]: a.test stands here twice"],
  [
    "rules: [{ matches: [{ path: { value: api } }] }]",
    '8:40: spec.rules[0].matches[0].path.value: a path starts with "/"',
  ],
  [
    "rules: [{ matches: [{ path: { value: /a/../b } }] }]",
    '8:40: spec.rules[0].matches[0].path.value: a path has no "//", "/./", "/../" or "%2F"',
  ],
  ["rules: [{}, {}]", "8:15: spec.rules[1].matches[0]: a second match of PathPrefix /, which the first one takes"],
  [
    "rules: [{ retry: { methods: [get] } }]",
    '8:32: spec.rules[0].retry.methods[0]: expected one of GET, HEAD, POST, PUT, DELETE, OPTIONS, TRACE, PATCH, got text "get"; did you mean GET?',
  ],
  ["rules: []", "8:10: spec.rules: an empty list; expected at least 1 of: rules"],
  [
    "placement: { labels: { zone: 1 } }",
    "8:32: spec.placement.labels.zone: expected text such as eu-1, got number 1: put it in quotes",
  ],
  ["health: {}", "8:11: spec.health: says nothing to ask: expected path, http, tcp or container"],
  ["health: { path: /a, tcp: {} }", "8:11: spec.health: expected only one of path, http, tcp and container"],
  ["health: { path: /a, readiness: { tcp: {} } }", "8:11: spec.health: path belongs inside readiness or liveness here"],
  [
    "health: { liveness: { tcp: {} } }",
    "8:11: spec.health: liveness without readiness: nothing would say when it may serve",
  ],
  ["health: { path: healthz }", '8:19: spec.health.path: "healthz" is not a path such as /healthz'],
  ["health: { path: /, interval: 1ms }", "8:32: spec.health.interval: expected a duration of at least 10ms, got 1ms"],
  [
    "health: { path: /, healthyThreshold: 0 }",
    "8:40: spec.health.healthyThreshold: expected a whole number from 1 to 100, got number 0",
  ],
  ["strategy: { canry: {} }", "8:15: spec.strategy.canry: unknown key; did you mean canary?"],
  [
    "strategy: { rolling: { maxSurge: 0, maxUnavailable: 0% } }",
    "8:55: spec.strategy.rolling.maxUnavailable: maxSurge and maxUnavailable are both 0, so that nothing could ever be updated",
  ],
  [
    "strategy: { rolling: { maxSurge: 1.5 } }",
    '8:36: spec.strategy.rolling.maxSurge: expected a count such as 1 or a percentage such as "25%", got number 1.5',
  ],
  [
    "strategy: { rolling: { minHealthyTime: 2m, healthyDeadline: 1m } }",
    "8:42: spec.strategy.rolling.minHealthyTime: 2m is longer than healthyDeadline, 1m",
  ],
  [
    "strategy: { rolling: { healthyDeadline: 2m, progressDeadline: 1m } }",
    "8:43: spec.strategy.rolling.healthyDeadline: 2m is longer than progressDeadline, 1m",
  ],
  [
    "strategy: { rolling: { maxErrorRate: 5 } }",
    '8:40: spec.strategy.rolling.maxErrorRate: expected a share from 0 to 1 such as 0.05, or "5%", got number 5',
  ],
  [
    "strategy: { rolling: { autoRevert: yes } }",
    '8:38: spec.strategy.rolling.autoRevert: expected true or false, got text "yes"',
  ],
  ["__proto__: {}", "8:3: spec.__proto__: unknown key"],
  ["<<: {}", '8:3: spec["<<"]: merge keys are not taken; use an alias for the whole value'],
  ["1: x", "8:3: spec: a key must be text; put it in quotes"],
  ["health: *none", "8:11: spec.health: no anchor named &none stands before this"],
  ["health: !custom {}", "8:11: Unresolved tag: !custom; tags are not taken"],
])("one mistake gets one line: %s", (line, expected) => {
  expect(problemsOf(withLine(line))).toEqual([`shop.yaml:${expected}`]);
});

test.each([
  ["port: 8080", "port: 65536", "6:20: spec.listen[0].port: expected a port from 0 to 65535, got number 65536"],
  ["port: 8080", 'port: "8080"', '6:20: spec.listen[0].port: expected a port from 0 to 65535, got text "8080"'],
  [
    "port: 8080",
    "port: 80, address: localhost",
    '6:33: spec.listen[0].address: expected an IP address, got the name "localhost": say 127.0.0.1 or "::1"',
  ],
  ["port: 8080", "port: 80, protocol: tcp", '6:34: spec.listen[0].protocol: expected http, got text "tcp"'],
  [
    "{ port: 8080 }",
    "{ port: 80 }, { port: 80 }",
    "6:26: spec.listen[1]: 127.0.0.1:80 is the same socket as listen[0], 127.0.0.1:80",
  ],
  [
    "{ port: 8080 }",
    "{ port: 80 }, { port: 80, address: 0.0.0.0 }",
    "6:26: spec.listen[1]: 0.0.0.0:80 is the same socket as listen[0], 127.0.0.1:80",
  ],
  [
    "name: shop",
    "name: Shop",
    '3:19: metadata.name: text "Shop" is not a name: lower-case letters, digits and "-", at most 63, a letter or digit at both ends, not "constructor"',
  ],
  ["version: v1", "version: 1.10", "5:12: spec.version: expected text such as v1, got number 1.1: put it in quotes"],
  ["  version: v1\n", "", "4:1: spec.version: missing; expected text such as v1"],
  ["kind: Service", "kind: Servce", '2:7: kind: expected Service, got text "Servce"; did you mean Service?'],
  ["baton/v1", "baton/v2", '1:13: apiVersion: expected baton/v1, got text "baton/v2"; did you mean baton/v1?'],
  [
    "command: [node, server.js]",
    "command: node server.js",
    '7:30: spec.run.process.command: expected a list of words such as ["node", "server.js"], got text "node server.js"',
  ],
  [
    "command: [node, server.js]",
    'command: [""]',
    "7:31: spec.run.process.command[0]: its first word, the program, is empty",
  ],
  [
    "command: [node, server.js]",
    "command: [node], env: { PORT: x }",
    "7:45: spec.run.process.env.PORT: not a variable to set: letters, digits and _, and not PORT, which Baton gives to each instance",
  ],
  [
    "command: [node, server.js]",
    "command: [node], env: { A: 1 }",
    "7:48: spec.run.process.env.A: expected text such as production, got number 1: put it in quotes",
  ],
  [
    "command: [node, server.js]",
    "command: [node], count: 65",
    "7:45: spec.run.process.count: expected a count from 1 to 64, got number 65",
  ],
  ["process: { command: [node, server.js] }", "", "7:8: spec.run: expected one of process, docker, external"],
  [
    "process: { command: [node, server.js] }",
    "external: { instances: [{ version: v2, address: 'a:1' }] }",
    "7:33: spec.run.external.instances: no instance of version v1; spec.version names the one to serve, and here are v2",
  ],
  [
    "process: { command: [node, server.js] }",
    "external: { instances: [{ version: v1, address: a }] }",
    '7:58: spec.run.external.instances[0].address: expected an address with a port such as "127.0.0.1:9001", got text "a"',
  ],
  [
    "process: { command: [node, server.js] }",
    "external: { instances: [{ version: v1, address: 'a:0' }] }",
    "7:58: spec.run.external.instances[0].address: an instance's port is from 1 to 65535",
  ],
  [
    "process: { command: [node, server.js] }",
    "external: { instances: [{ version: v1, address: 'a:1' }, { version: v2, host: h, address: 'a:1' }] }",
    "7:100: spec.run.external.instances[1].address: a:1 is already instances[0]",
  ],
  [
    "process: { command: [node, server.js] }",
    "external: { instances: [{ version: v1, address: 'localhost:8080' }] }",
    "7:58: spec.run.external.instances[0].address: localhost:8080 is a listener of this service: requests would come back to it for ever",
  ],
])("one mistake gets one line: %s → %s", (from, to, expected) => {
  expect(problemsOf(withLine("").replace(from, to))).toEqual([`shop.yaml:${expected}`]);
});

test("another machine's instance on the listener's own port is no loop", () => {
  const text = withLine("").replace("{ port: 8080 }", "{ address: 0.0.0.0, port: 8080 }");
  const run = "external: { instances: [{ version: v1, address: '10.0.0.5:8080' }] }";
  expect(problemsOf(text.replace("process: { command: [node, server.js] }", run))).toEqual([]);
});

test("an external service may be known before it has any instance", () => {
  const text = withLine("").replace("process: { command: [node, server.js] }", "external: { instances: [] }");
  expect(specOf(text).run).toEqual({ kind: "external", instances: [] });
});

test("several mistakes are all named, in the order of the lines", () => {
  const text = withLine("drain: { timeout: 5 }").replace("v1\n  listen", "v 1\n  listen").replace("8080", "x");
  expect(problemsOf(text).map((line) => line.split(": ")[1])).toEqual([
    "spec.version",
    "spec.listen[0].port",
    "spec.drain.timeout",
  ]);
});

test("text that is no YAML is refused with its line", () => {
  expect(problemsOf("apiVersion: baton/v1\nspec:\n\tversion: v1\n")[0]).toBe(
    "shop.yaml:3:1: a tab in the indentation; YAML takes spaces only",
  );
  expect(problemsOf("a: [1, 2\nb: 3\n")[0]).toMatch(/^shop\.yaml:2:\d+: /);
  expect(problemsOf('a: "x\n')[0]).toMatch(/^shop\.yaml:\d:\d+: Missing closing "quote$/);
});

test("an empty file is not a wish to serve nothing", () => {
  for (const text of ["", "\n\n", "# only a comment\n", "---\n---\n"]) {
    expect(problemsOf(text), JSON.stringify(text)).toEqual(["shop.yaml:1:1: no document in this file"]);
  }
  expect(problemsOf(`---\n${PINNED}---\n# nothing more\n`)).toEqual([]);
});

test("aliases that unfold without end, and nesting without end, are refused at once", () => {
  const bomb = Array.from({ length: 30 }, (_, i) => {
    const before = `*a${i - 1}`;
    return `a${i}: &a${i} ${i === 0 ? "[x]" : `[${before}, ${before}, ${before}]`}`;
  });
  expect(problemsOf(bomb.join("\n"))).toEqual([
    expect.stringMatching(/^shop\.yaml:\d+:\d+: .*: more than 100000 values, aliases unfolded$/),
  ]);
  expect(problemsOf("a: &a [*a]")).toEqual([expect.stringContaining("nested too deeply")]);
  for (const open of ["[", "{a: ", "- "]) {
    const text = `${open.repeat(100_000)}\n`;
    expect(problemsOf(text), open).toEqual([expect.stringContaining("nested too deeply")]);
  }
});

test("a file or a list beyond its limit is refused with the limit named", () => {
  expect(problemsOf("#".repeat(LIMITS.specFileBytes + 1))).toEqual([
    `shop.yaml:1:1: ${LIMITS.specFileBytes + 1} bytes; a file holds at most ${LIMITS.specFileBytes}`,
  ]);
  expect(problemsOf("--- {a: 1}\n".repeat(257))).toEqual(["shop.yaml:1:1: 257 documents; a file holds at most 256"]);
  const listeners = Array.from({ length: 17 }, (_, i) => `{ port: ${i + 1} }`).join(", ");
  expect(problemsOf(withLine("").replace("{ port: 8080 }", listeners))).toEqual([
    "shop.yaml:6:11: spec.listen: more than 16 listeners",
  ]);
});

test("a large map is checked for duplicate keys in one pass", () => {
  const keys = Array.from({ length: 60_000 }, (_, i) => `k${i}: 1`).join("\n");
  const start = performance.now();
  expect(problemsOf(`${keys}\nk7: 2\n`)[0]).toBe("shop.yaml:60001:1: k7: stands here twice; first on line 8");
  // Comparing every pair takes minutes.
  expect(performance.now() - start).toBeLessThan(5_000);
});

test("many aliases are resolved without a walk through the document for each", () => {
  const pairs = Array.from({ length: 20_000 }, (_, i) => `- &a${i} x\n- *a${i}\n`);
  const start = performance.now();
  expect(problemsOf(pairs.join(""))).toEqual(["shop.yaml:1:1: expected a mapping, got a list"]);
  // Walking takes a minute.
  expect(performance.now() - start).toBeLessThan(8_000);
});

test("an alias stands for the nearest anchor of its name before it, and problems in it are shown where it stands", () => {
  const text = withLine("drain: { timeout: &t 5s, sse: *t, websocket: &t 1s, kill: *t }");
  expect(specOf(text).drain).toMatchObject({ timeoutMs: 5_000, sseMs: 5_000, websocketMs: 1_000, killMs: 1_000 });
  expect(problemsOf(withLine("health: { readiness: &p { path: x }, liveness: *p }"))).toEqual([
    'shop.yaml:8:35: spec.health.liveness.path: "x" is not a path such as /healthz',
    'shop.yaml:8:35: spec.health.readiness.path: "x" is not a path such as /healthz',
  ]);
});

const service = (name: string, more: string): string => `---
apiVersion: baton/v1
kind: Service
metadata: { name: ${name} }
spec: { version: v1, run: { external: { instances: [] } }, ${more} }
`;

test("a service that stands twice is refused with both places, in one file and over several", () => {
  const shop = service("shop", "listen: [{ port: 0 }]");
  expect(problemsOf(shop + shop)).toEqual([
    "shop.yaml:9:19: metadata.name: a second service named shop (the other is at shop.yaml:4:19)",
  ]);
  const both = parseFiles([
    { file: "a.yaml", text: shop },
    { file: "b.yaml", text: shop },
  ]);
  expect(lines(both)).toEqual([
    "b.yaml:4:19: metadata.name: a second service named shop (the other is at a.yaml:4:19)",
  ]);
});

test("two services may share a listener only while no request could be for both", () => {
  const pair = (a: string, b: string): string[] => problemsOf(service("shop", a) + service("cart", b));
  const on = (address: string, more = ""): string => `listen: [{ address: "${address}", port: 80 }]${more}`;
  expect(pair(on("127.0.0.1"), on("127.0.0.1", ", hostnames: [cart.test]"))).toEqual([]);
  expect(pair(on("127.0.0.1"), on("127.0.0.1", ", rules: [{ matches: [{ path: { value: /cart } }] }]"))).toEqual([]);
  expect(pair(on("127.0.0.1"), on("127.0.0.2"))).toEqual([]);
  expect(pair(on("127.0.0.1"), on("127.0.0.1"))).toEqual([
    "shop.yaml:10:69: spec.listen[0]: service shop already takes any host PathPrefix / on 127.0.0.1:80; tell them apart by hostnames, paths or headers (the other is at shop.yaml:4:19)",
  ]);
  expect(pair(on("127.0.0.1"), on("::"))).toEqual([
    "shop.yaml:10:69: spec.listen[0]: [::]:80 can't be bound beside 127.0.0.1:80 of service shop; give both the same address (the other is at shop.yaml:4:19)",
  ]);
});

test("the JSON Schema for editors takes what the reader takes and refuses an unknown key", () => {
  const schema = z.fromJSONSchema(jsonSchema());
  const document = specToDocument(specOf(PINNED)) as { spec: object };
  expect(schema.safeParse(document).success).toBe(true);
  expect(schema.safeParse({ ...document, spec: { ...document.spec, drian: {} } }).success).toBe(false);
  expect(schema.safeParse({ ...document, spec: { ...document.spec, version: undefined } }).success).toBe(false);
  expect(schema.safeParse({ ...document, spec: { ...document.spec, drain: { timeout: "soon" } } }).success).toBe(false);
});
