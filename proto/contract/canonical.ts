/**
 * One text for one value, and its SHA-256: how controller and agent agree that they speak of the same state without
 * sending it back.
 *
 * Canonical  keys sorted by UTF-16 code units, no white space, numbers and strings as JSON.stringify writes them:
 *            RFC 8785 (JCS) for what Baton holds. A key whose value is `undefined` is left out, as JSON does.
 * Errors     throws on what JSON can't hold (NaN, infinity, bigint, a function): a defect of the caller's.
 */
import { createHash } from "node:crypto";
import type { AssignedService } from "./assignment.ts";

export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(",")}]`;
  if (typeof value === "object" && value !== null) {
    const entries = Object.entries(value).filter(([, held]) => held !== undefined);
    entries.sort(([a], [b]) => (a < b ? -1 : 1));
    return `{${entries.map(([key, held]) => `${JSON.stringify(key)}:${canonicalJson(held)}`).join(",")}}`;
  }
  if (typeof value === "number" && !Number.isFinite(value)) throw new TypeError(`canonicalJson: ${String(value)}`);
  if (value === null || ["number", "string", "boolean"].includes(typeof value)) return JSON.stringify(value);
  throw new TypeError(`canonicalJson: a value of type ${typeof value}`);
}

/** 64 hex digits. */
export const hashOf = (value: unknown): string => createHash("sha256").update(canonicalJson(value)).digest("hex");

/** What `Assignment.hash` holds. */
export const assignmentHash = (services: readonly AssignedService[]): string => hashOf(services);

/** What `Applied.services` holds for one service. */
export const serviceHash = (service: AssignedService): string => hashOf(service);

export const isHash = (text: string): boolean => /^[0-9a-f]{64}$/.test(text);
