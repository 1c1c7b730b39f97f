import { expect, test } from "vitest";
import type { RuleSpec } from "../../../proto/contract/spec/types.ts";
import { problemsOf, specOf, withLine } from "../../support/service-document.ts";

const rulesOf = (line: string): readonly RuleSpec[] => specOf(withLine(`rules: ${line}`)).rules;

test("a rule of several matches is one rule each, with the same filters, names in lower case", () => {
  const rules = rulesOf(`
    - matches:
        - { path: { type: RegularExpression, value: "/users/[0-9]+" }, method: GET }
        - { headers: [{ name: X-Beta, value: "true" }, { type: RegularExpression, name: cookie, value: ".*id=7.*" }] }
        - { queryParams: [{ name: v, value: "" }, { name: "Ключ", value: "a b" }] }
      filters:
        - type: RequestHeaderModifier
          requestHeaderModifier: { set: [{ name: X-Env, value: blue }], add: [{ name: A, value: "1" }], remove: [X-Debug] }
        - { type: ResponseHeaderModifier, responseHeaderModifier: { remove: [Server] } }`);
  expect(rules.map(({ path, method, headers, queryParams }) => ({ path, method, headers, queryParams }))).toEqual([
    { path: { type: "RegularExpression", value: "/users/[0-9]+" }, method: "GET", headers: [], queryParams: [] },
    {
      path: { type: "PathPrefix", value: "/" },
      method: null,
      headers: [
        { type: "Exact", name: "x-beta", value: "true" },
        { type: "RegularExpression", name: "cookie", value: ".*id=7.*" },
      ],
      queryParams: [],
    },
    {
      path: { type: "PathPrefix", value: "/" },
      method: null,
      headers: [],
      queryParams: [
        { type: "Exact", name: "v", value: "" },
        { type: "Exact", name: "Ключ", value: "a b" },
      ],
    },
  ]);
  for (const { requestHeaders, responseHeaders } of rules) {
    expect(requestHeaders).toEqual({
      set: [{ name: "x-env", value: "blue" }],
      add: [{ name: "a", value: "1" }],
      remove: ["x-debug"],
    });
    expect(responseHeaders).toEqual({ set: [], add: [], remove: ["server"] });
  }
});

test.each([
  ["path: { type: Regex }", 'path.type: expected one of Exact, PathPrefix, RegularExpression, got text "Regex"'],
  ['path: { type: RegularExpression, value: "/a(" }', "path.value: not an RE2 expression: missing closing ): `/a(`"],
  [
    "path: { type: RegularExpression, value: users/.* }",
    'path.value: it is held against the whole path, which starts with "/": try ".*users/.*"',
  ],
  ["path: { type: Exact, value: a }", 'path.value: a path starts with "/"'],
  [
    "method: post",
    'method: expected one of GET, HEAD, POST, PUT, DELETE, OPTIONS, TRACE, PATCH, got text "post"; did you mean POST?',
  ],
  ["headers: [{ name: a b, value: x }]", 'headers[0].name: "a b" is not a header\'s name'],
  ["headers: [{ name: a, value: true }]", 'headers[0].value: expected text such as "true", got true: put it in quotes'],
  [
    'headers: [{ name: a, value: "x\\ny" }]',
    'headers[0].value: "x\\ny" is not a header\'s value: visible ASCII with blanks inside, and not empty',
  ],
  ["headers: [{ name: a }]", 'headers[0].value: missing; expected text such as "true"'],
  [
    "headers: [{ type: RegularExpression, name: a, value: '*' }]",
    "headers[0].value: not an RE2 expression: missing argument to repetition operator: `*`",
  ],
  ["headers: [{ name: a, value: x }, { name: A, value: y }]", "headers[1].name: a stands here twice"],
  ["queryParams: [{ name: a, value: x }, { name: a, value: y }]", "queryParams[1].name: a stands here twice"],
  ["queryParams: [{ name: '', value: x }]", 'queryParams[0].name: text "" is not a parameter\'s name'],
  ["header: []", "header: unknown key; did you mean headers?"],
])("what is wrong with a match is said where it stands: %s", (match, expected) => {
  const [line = ""] = problemsOf(withLine(`rules: [{ matches: [{ ${match} }] }]`));
  expect(line).toMatch(/^shop\.yaml:8:\d+: spec\.rules\[0\]\.matches\[0\]\./);
  expect(line.replace(/^.*?matches\[0\]\./, "")).toBe(expected);
});

const request = (change: string): string => `{ type: RequestHeaderModifier, requestHeaderModifier: { ${change} } }`;

test.each([
  [
    "{ type: URLRewrite }",
    'type: expected one of RequestHeaderModifier, ResponseHeaderModifier, got text "URLRewrite"',
  ],
  ["{ type: RequestHeaderModifier }", "requestHeaderModifier: missing; a filter of type RequestHeaderModifier has it"],
  [
    "{ type: ResponseHeaderModifier, responseHeaderModifier: {}, requestHeaderModifier: {} }",
    "requestHeaderModifier: belongs to a filter of type RequestHeaderModifier, and this one is ResponseHeaderModifier",
  ],
  [
    request("set: [{ name: Host, value: x }]"),
    "requestHeaderModifier.set[0].name: host may not be changed: requests are routed by it",
  ],
  [
    request("add: [{ name: Content-Length, value: '0' }]"),
    "requestHeaderModifier.add[0].name: content-length may not be changed: it belongs to one connection, and Baton writes it",
  ],
  [
    request("remove: [baton-error]"),
    "requestHeaderModifier.remove[0]: baton-error may not be changed: agents speak to each other by it",
  ],
  [request("remove: [via]"), "requestHeaderModifier.remove[0]: via may not be changed: agents know each other by it"],
  [request("remove: [Via, 'a:']"), 'requestHeaderModifier.remove[1]: "a:" is not a header\'s name'],
  [request("set: [{ name: a, value: x }, { name: A, value: y }]"), "requestHeaderModifier.set[1]: a stands here twice"],
  [
    request('set: [{ name: a, value: "x\\r\\nb: y" }]'),
    'requestHeaderModifier.set[0].value: text "x\\r\\nb: y" is not a header\'s value: visible ASCII with blanks inside, and not empty',
  ],
])("what is wrong with a filter is said where it stands: %s", (filter, expected) => {
  const found = problemsOf(withLine(`rules: [{ filters: [${filter}] }]`)).map((line) =>
    line.replace(/^shop\.yaml:8:\d+: spec\.rules\[0\]\.filters\[0\]\./, ""),
  );
  expect(found).toContain(expected);
});

test("one filter holds all that is changed of a kind", () => {
  const twice = `${request("remove: [a]")}, ${request("remove: [b]")}`;
  expect(problemsOf(withLine(`rules: [{ filters: [${twice}] }]`))).toEqual([
    expect.stringMatching(
      /^shop\.yaml:8:\d+: spec\.rules\[0\]\.filters\[1\]\.type: a second RequestHeaderModifier; one /,
    ),
  ]);
});

test("a match is the same one in whatever order it is said", () => {
  const a = "{ name: a, value: '1' }";
  const b = "{ type: RegularExpression, name: b, value: '1' }";
  const rules = (...matches: string[]): string[] =>
    problemsOf(withLine(`rules: [{ matches: [${matches.join(", ")}] }]`));
  expect(rules(`{ headers: [${a}, ${b}] }`, `{ headers: [${b}, ${a}] }`)).toEqual([
    expect.stringMatching(/a second match of PathPrefix \/, header a=1, header b~1, which the first one takes$/),
  ]);
  expect(rules(`{ headers: [${a}] }`, `{ queryParams: [${a}] }`, "{ method: GET }", "{}")).toEqual([]);
});

test("two services on one listener are told apart by a header", () => {
  const service = (name: string, more: string): string =>
    `---\napiVersion: baton/v1\nkind: Service\nmetadata: { name: ${name} }\nspec: { version: v1, listen: [{ port: 80 }], run: { external: { instances: [] } }, ${more} }\n`;
  const rules = (match: string): string => `rules: [{ matches: [${match}] }]`;
  const beta = rules("{ headers: [{ name: x-beta, value: '1' }] }");
  expect(problemsOf(service("shop", "hostnames: []") + service("beta", beta))).toEqual([]);
  expect(problemsOf(service("shop", beta) + service("beta", beta))).toEqual([
    expect.stringMatching(
      /service shop already takes any host PathPrefix \/, header x-beta=1 on 127\.0\.0\.1:80; tell/,
    ),
  ]);
});
