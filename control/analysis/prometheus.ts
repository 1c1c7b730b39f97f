/**
 * An instant query of Prometheus' HTTP API: GET ADDRESS/api/v1/query. The answer must be one number: a scalar, or a
 * vector of one series. A vector of several is an error and not its first sample: their order means nothing, so a
 * verdict would hang on chance.
 *
 * No series, NaN and the infinities are no data: an expression over no requests gives just these.
 *
 * Names come into the query escaped for a label's value, in whichever quotes: PromQL takes Go's escapes, of which \xNN
 * holds in both kinds (in back quotes nothing does, and nothing can end them).
 * Source  https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries
 */
import type { PrometheusSource } from "../../proto/contract/spec/analysis.ts";
import type { Wire } from "./http.ts";
import { ask, ownWords, parsed } from "./http.ts";
import { address, failed, fill, httpUrl, noData, numeric } from "./source.ts";
import type { Outcome, Subject } from "./source.ts";

export async function askPrometheus(source: PrometheusSource, subject: Subject, wire: Wire): Promise<Outcome> {
  const url = httpUrl(source.address);
  if (url === undefined) return failed("the address of Prometheus is no http or https URL");
  const where = address(url);
  url.pathname = `${url.pathname.replace(/\/+$/, "")}/api/v1/query`;
  url.searchParams.set("query", fill(source.query, subject, labelValue));
  // It gives the query up by itself then, instead of working on for nobody.
  url.searchParams.set("timeout", `${source.timeoutMs}ms`);
  const reply = await ask(wire, { method: "GET", url, timeoutMs: source.timeoutMs });
  if (reply.kind === "error") return failed(reply.message);
  const json = parsed(reply.body) as Answer | null | undefined;
  if (reply.status < 200 || reply.status > 299 || json?.status === "error") {
    const kind = typeof json?.errorType === "string" ? `${json.errorType}: ` : "";
    return failed(`Prometheus at ${where} answered ${reply.status}: ${kind}${ownWords(reply.body)}`);
  }
  if (json?.status !== "success") return failed(`${where} answered ${reply.status}, but not as Prometheus does`);
  return resultOf(json.data);
}

/** As far as it is what it should be. */
interface Answer {
  readonly status?: unknown;
  readonly errorType?: unknown;
  readonly data?: { readonly resultType?: unknown; readonly result?: unknown } | null;
}

function resultOf(data: Answer["data"]): Outcome {
  const { resultType, result } = data ?? {};
  if (!Array.isArray(result)) return failed("Prometheus answered without a result");
  if (resultType === "scalar") return sample(result);
  if (resultType !== "vector") return failed(`the query gives a ${String(resultType)}, not a number for this moment`);
  if (result.length === 0) return noData("the query gives no series: there is nothing to judge");
  if (result.length > 1) {
    return failed(`the query gives ${result.length} series where one number is wanted: aggregate it, with sum(…) say`);
  }
  const { value } = (result[0] ?? {}) as { readonly value?: unknown };
  if (!Array.isArray(value))
    return failed("the query gives a histogram, not a number: take histogram_quantile(…) of it");
  return sample(value);
}

function sample(pair: readonly unknown[]): Outcome {
  const text = pair[1];
  if (typeof text !== "string" || !NUMBER.test(text))
    return failed("Prometheus answered with a sample that is no number");
  return numeric(Number(text.replace("Inf", "Infinity")), "the query's result");
}

const NUMBER = /^(NaN|[+-]?Inf|[+-]?\d+(\.\d+)?(e[+-]?\d+)?)$/i;

const labelValue = (value: string): string =>
  value.replace(/[\\"'`\x00-\x1f\x7f]/g, (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, "0")}`);
