/**
 * What a header, a method or a cookie may be called, and hold, when a document or a message names it: what goes into a
 * message as it is must not be able to end a line, and what frames or routes a message is Baton's own to write.
 *
 * Errors  predicates, and one that answers with a clause; the caller knows the place to name.
 * Source  RFC 9110 section 5.6.2 (token), 5.5 (field values), 7.6.1 (hop-by-hop fields).
 */
import { LIMITS } from "./limits.ts";

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
/** Visible ASCII, with blanks between: what every parser reads alike. */
const VALUE = /^[\x21-\x7e]([\t\x20-\x7e]*[\x21-\x7e])?$/;

/** A header's name, and a cookie's. */
export const isFieldName = (text: string): boolean => text.length <= LIMITS.headerNameLength && TOKEN.test(text);
export const isLowerFieldName = (text: string): boolean => isFieldName(text) && text === text.toLowerCase();
export const isFieldValue = (text: string): boolean => text.length <= LIMITS.headerValueLength && VALUE.test(text);
export const isMethod = (text: string): boolean => text.length <= 32 && /^[A-Z]+$/.test(text);

/** Names and values of query parameters, percent-decoded: any text, but none that is half a character. */
export const isQueryText = (text: string): boolean => !text.includes("\0") && text.isWellFormed();

const FRAMING = new Set([
  "connection",
  "content-length",
  "expect",
  "http2-settings",
  "keep-alive",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

/** Why a filter may not touch that header; undefined: it may. `name` is in lower case. */
export function reservedHeader(name: string): string | undefined {
  if (FRAMING.has(name) || name.startsWith("proxy-")) return "it belongs to one connection, and Baton writes it";
  if (name === "host") return "requests are routed by it";
  if (name === "via") return "agents know each other by it";
  return name.startsWith("baton-") ? "agents speak to each other by it" : undefined;
}
