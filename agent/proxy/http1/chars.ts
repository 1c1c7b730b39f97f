/**
 * What each byte may be, as tables of 256 flags: one load a byte decides, with no branch on ranges.
 * Source  RFC 9110 §5.5, §5.6.2 (field-value, token); RFC 3986 (host, target).
 */
export const CR = 13;
export const LF = 10;
export const SP = 32;
export const HTAB = 9;
export const COLON = 58;
export const COMMA = 44;
export const SLASH = 47;

function table(accepts: (byte: number) => boolean): Uint8Array {
  return Uint8Array.from({ length: 256 }, (_, byte) => (accepts(byte) ? 1 : 0));
}

const alphanumeric = (byte: number): boolean =>
  (byte >= 48 && byte <= 57) || (byte >= 65 && byte <= 90) || (byte >= 97 && byte <= 122);
const among = (text: string) => (byte: number) => text.includes(String.fromCharCode(byte));

export const TOKEN = table((byte) => alphanumeric(byte) || among("!#$%&'*+-.^_`|~")(byte));
/** VCHAR, obs-text, SP, HTAB: no other control byte, so neither NUL nor a bare CR or LF passes. */
export const FIELD = table((byte) => byte === HTAB || (byte >= SP && byte !== 127));
/** Visible ASCII but `#`: a fragment is never sent, and parsers differ on what follows it. */
export const TARGET = table((byte) => byte > SP && byte < 127 && byte !== 35);
/** uri-host [":" port]: no userinfo, no path, no list. */
export const HOST = table((byte) => alphanumeric(byte) || among("-._~%!$&'()*+;=:[]")(byte));
/** 0..15 for hexadecimal digits, 255 for the rest. */
export const HEX = Uint8Array.from({ length: 256 }, (_, byte) => {
  const digit = "0123456789abcdef".indexOf(String.fromCharCode(byte).toLowerCase());
  return digit < 0 ? 255 : digit;
});

/** `lower` is in lower case and of token characters; so is what lies at `at`, but for its case. */
export function matches(bytes: Uint8Array, at: number, lower: Uint8Array): boolean {
  for (let i = 0; i < lower.length; i++) {
    if (((bytes[at + i] ?? 0) | 32) !== lower[i]) return false;
  }
  return true;
}

/** The text as bytes, for `matches`. */
export const ascii = (text: string): Uint8Array => Uint8Array.from(text, (char) => char.charCodeAt(0));

/** A whole token or value equals the text but for case. */
export function equals(bytes: Uint8Array, from: number, to: number, lower: Uint8Array): boolean {
  return to - from === lower.length && matches(bytes, from, lower);
}
