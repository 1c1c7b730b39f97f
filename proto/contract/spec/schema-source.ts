/** Where a metric's figures come from: exactly one source, under the key of its kind. */
import * as z from "zod";
import { LIMITS } from "../limits.ts";
import { didYouMean } from "../nearest.ts";
import type { MetricSource } from "./analysis.ts";
import { DEFAULTS } from "./defaults.ts";
import { parseJsonPath } from "./json-path.ts";
import { duration, leaf, mapping, notOne, oneOf, positive, text, whole } from "./leaf.ts";
import { command } from "./schema-words.ts";

/** What `{{…}}` may name in a query, a URL and a command's words. */
const NAMES = ["service", "canary", "stable"] as const;

function badTemplate(template: string): string | undefined {
  for (const [, name = ""] of template.matchAll(/\{\{(.*?)\}\}/gs)) {
    const word = name.trim();
    if (NAMES.some((known) => known === word)) continue;
    return `{{${word}}} is not known; {{${NAMES.join("}}, {{")}}} are${didYouMean(word, NAMES)}`;
  }
  return undefined;
}

const template = (example: string): z.ZodType<string> =>
  leaf({ type: "string", maxLength: LIMITS.textLength }, `text such as ${example}`, (input) => {
    if (typeof input !== "string" || input.trim() === "") return undefined;
    const wrong = input.length > LIMITS.textLength ? `longer than ${String(LIMITS.textLength)} characters` : undefined;
    const problem = wrong ?? badTemplate(input);
    return problem === undefined ? { value: input } : { wrong: problem };
  });

/** Kept as it is written: the names in it are filled in when it is asked. */
function httpUrl(example: string, bare: boolean): z.ZodType<string> {
  return leaf({ type: "string", maxLength: LIMITS.textLength }, `a URL such as ${example}`, (input) => {
    if (typeof input !== "string" || input.length > LIMITS.textLength) return undefined;
    const url = URL.parse(input.replaceAll(/\{\{.*?\}\}/gs, "x"));
    if (url === null || !/^https?:$/.test(url.protocol) || /\s/.test(input)) return undefined;
    if (url.username !== "" || url.password !== "") {
      return {
        wrong: "no place for a password, which all who read the document see: give the controller --analysis-token",
      };
    }
    if (bare && (url.search !== "" || url.hash !== "")) return { wrong: "the address alone, without a query" };
    const problem = bare && input.includes("{{") ? "the address alone, without names to fill in" : badTemplate(input);
    return problem === undefined ? { value: input } : { wrong: problem };
  });
}

const timeout = (usual: number): z.ZodDefault<z.ZodType<number>> => duration(1, "10s").default(usual);

const sources = {
  sequential: mapping({
    of: oneOf(["errors", "latency"]),
    alpha: positive(0.5, "a share").default(DEFAULTS.analysis.alpha),
    minRequests: whole(1, 1_000_000_000, "a count").default(DEFAULTS.analysis.minRequests),
  }),
  traffic: mapping({
    of: oneOf(["successRate", "errorRate", "p50", "p90", "p95", "p99", "saturation", "requestRate"]),
    version: oneOf(["canary", "stable"]).default(DEFAULTS.analysis.trafficVersion),
  }),
  prometheus: mapping({
    address: httpUrl("http://127.0.0.1:9090", true),
    query: template("'sum(rate(errors_total{version=\"{{canary}}\"}[1m]))'"),
    timeout: timeout(DEFAULTS.analysis.timeoutMs),
  }),
  webhook: mapping({
    url: httpUrl("http://127.0.0.1:8000/check?version={{canary}}", false),
    method: oneOf(["GET", "POST"]).default(DEFAULTS.analysis.webhookMethod),
    jsonPath: text(
      "$.value",
      (t) => parseJsonPath(t) !== undefined,
      "a path to one value, such as $.data.value or $.rows[0]",
    ),
    timeout: timeout(DEFAULTS.analysis.timeoutMs),
  }),
  command: mapping({
    command: command.check((c) => {
      for (const [i, word] of c.value.entries()) {
        const message = badTemplate(word);
        if (message !== undefined) c.issues.push({ code: "custom", path: [i], message, input: word });
      }
    }),
    timeout: timeout(DEFAULTS.analysis.commandTimeoutMs),
  }),
};

/** The keys of a metric that name its source. */
export const sourceKeys = {
  sequential: sources.sequential.optional(),
  traffic: sources.traffic.optional(),
  prometheus: sources.prometheus.optional(),
  webhook: sources.webhook.optional(),
  command: sources.command.optional(),
};
export const SOURCES = ["sequential", "traffic", "prometheus", "webhook", "command"] as const;

type Keys = z.output<z.ZodObject<typeof sourceKeys>>;

/** The one source, or what is wrong. */
export function sourceOf(m: Keys): MetricSource | string {
  const problem = notOne(m, SOURCES);
  if (problem !== undefined) return problem;
  if (m.sequential !== undefined) return { kind: "sequential", ...m.sequential };
  if (m.traffic !== undefined) return { kind: "traffic", ...m.traffic };
  if (m.prometheus !== undefined) return { kind: "prometheus", ...timed(m.prometheus) };
  if (m.webhook !== undefined) return { kind: "webhook", ...timed(m.webhook) };
  return { kind: "command", ...timed(m.command ?? { command: [], timeout: 0 }) };
}

const timed = <T extends { readonly timeout: number }>({
  timeout: timeoutMs,
  ...rest
}: T): Omit<T, "timeout"> & {
  readonly timeoutMs: number;
} => ({ ...rest, timeoutMs });
