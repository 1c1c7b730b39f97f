/**
 * The cookie that tells a caller apart: found among those that it sends, and given to one that has none.
 *
 * Source  RFC 6265 §4.1.1, §4.2.1: pairs parted by ";", names as they are, values of cookie-octets, quoted or not. A pair
 *         that is none is passed over; of several the first counts, which is the one with the longest path (§5.4).
 */
import type { Random } from "../../proto/kernel/random.ts";

/** `lines` are the values of the Cookie fields. Null: it has none, or an empty one. */
export function cookieOf(lines: readonly string[], name: string): string | null {
  for (const line of lines) {
    for (const part of line.split(";")) {
      const pair = part.trim();
      const equals = pair.indexOf("=");
      if (equals === -1 || pair.slice(0, equals) !== name) continue;
      const value = /^("?)([\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]+)\1$/.exec(pair.slice(equals + 1))?.[2];
      if (value !== undefined) return value;
    }
  }
  return null;
}

/** 128 bits of chance: two callers share one about never. */
export function newId(random: Random): string {
  let id = "";
  for (let i = 0; i < 4; i++)
    id += Math.floor(random.next() * 4_294_967_296)
      .toString(16)
      .padStart(8, "0");
  return id;
}

/** A field line: for the whole site, for `maxAgeMs`, not for scripts, not sent along from other sites' pages. */
export const setCookieLine = (name: string, id: string, maxAgeMs: number): string =>
  `Set-Cookie: ${name}=${id}; Path=/; Max-Age=${Math.floor(maxAgeMs / 1_000)}; HttpOnly; SameSite=Lax\r\n`;
