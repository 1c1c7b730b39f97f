/**
 * A number from anything that speaks HTTP and JSON. With POST it is told what is measured, as
 * `{"service", "rollout", "canary", "stable", "metric"}`; with GET the names may stand in the URL, percent-encoded.
 *
 * The number is a JSON number at `jsonPath`; null there is no data. Everything else, another status included, is an
 * error: a gate that is broken must not look like one that says no.
 */
import type { WebhookSource } from "../../proto/contract/spec/analysis.ts";
import { parseJsonPath } from "../../proto/contract/spec/json-path.ts";
import type { Wire } from "./http.ts";
import { ask, ownWords, parsed } from "./http.ts";
import { valueAt } from "./json-path.ts";
import { address, failed, fill, httpUrl, noData, numeric } from "./source.ts";
import type { Outcome, Subject } from "./source.ts";

export async function askWebhook(source: WebhookSource, subject: Subject, wire: Wire): Promise<Outcome> {
  const url = httpUrl(fill(source.url, subject, encodeURIComponent));
  if (url === undefined) return failed("the webhook's address is no http or https URL");
  const path = parseJsonPath(source.jsonPath);
  if (path === undefined)
    return failed(`${source.jsonPath} names no single value: write it like $.data.value or $.rows[0]`);
  const { method, timeoutMs } = source;
  const where = address(url);
  const body = method === "POST" ? { body: JSON.stringify(subject) } : {};
  const reply = await ask(wire, { method, url, timeoutMs, ...body });
  if (reply.kind === "error") return failed(reply.message);
  const { status } = reply;
  if (status < 200 || status > 299) return failed(`${where} answered ${status}: ${ownWords(reply.body)}`);
  const json = parsed(reply.body);
  if (json === undefined) return failed(`${where} answered ${status} without JSON`);
  const value = valueAt(json, path);
  if (value === null) return noData(`${where} has null at ${source.jsonPath}: there is nothing to judge`);
  if (value === undefined) return failed(`${where} has nothing at ${source.jsonPath}`);
  if (typeof value !== "number") return failed(`${where} has no number at ${source.jsonPath} but ${kindOf(value)}`);
  return numeric(value, source.jsonPath);
}

const kindOf = (value: unknown): string =>
  typeof value === "object" ? (Array.isArray(value) ? "an array" : "an object") : `a ${typeof value}`;
