/**
 * What every source of measurements shares: what is asked, what comes back, and how a service's and its versions' names
 * come into a query, a URL or an argument.
 *
 * A source answers with an outcome and never rejects:
 *   value   a finite number
 *   nodata  it was asked and it answered, but there is nothing to judge (no series, NaN): inconclusive, never a success
 *   error   it could not be asked, or said something else than a number; the message is for the operator
 *
 * Messages are one line of bounded length. They hold no secret of ours: of a URL only what `address` leaves, of a
 * command only its name.
 */
import type { CommandSource, PrometheusSource, WebhookSource } from "../../proto/contract/spec/analysis.ts";
import type { ExternalMeasurement } from "../model/analysis.ts";

export type ExternalSource = PrometheusSource | WebhookSource | CommandSource;
export type Outcome = ExternalMeasurement["outcome"];

/** What is measured, and for whom. `stable` is "" when there was no version before. */
export interface Subject {
  readonly service: string;
  readonly rollout: string;
  readonly canary: string;
  readonly stable: string;
  readonly metric: string;
}

/** Longer ones are cut: they are stored with the rollout. */
const MESSAGE_LENGTH = 300;

export const failed = (message: string): Outcome => ({ kind: "error", message: oneLine(message) });
export const noData = (message: string): Outcome => ({ kind: "nodata", message: oneLine(message) });

/** NaN and the infinities are what a division by no traffic gives: no data. */
export const numeric = (value: number, from: string): Outcome =>
  Number.isFinite(value) ? { kind: "value", value } : noData(`${from} is ${String(value)}: there is nothing to judge`);

/** What others wrote, fit for a terminal and a table. */
export function oneLine(text: string): string {
  const line = text.replace(/[\s\x00-\x1f\x7f-\x9f]+/g, " ").trim();
  return line.length <= MESSAGE_LENGTH ? line : `${line.slice(0, MESSAGE_LENGTH - 1)}…`;
}

/** undefined: it is no http or https URL. */
export function httpUrl(text: string): URL | undefined {
  const url = URL.parse(text);
  return url?.protocol === "http:" || url?.protocol === "https:" ? url : undefined;
}

/** What may be told of a URL: tokens are kept in userinfo and query. */
export const address = (url: URL): string => `${url.origin}${url.pathname === "/" ? "" : url.pathname}`;

/** Fills in `{{service}}`, `{{canary}}` and `{{stable}}`; what else stands in braces stays as it is. */
export const fill = (template: string, subject: Subject, escape: (value: string) => string): string =>
  template.replace(/\{\{\s*(service|canary|stable)\s*\}\}/g, (_, name: "service" | "canary" | "stable") =>
    escape(subject[name]),
  );
