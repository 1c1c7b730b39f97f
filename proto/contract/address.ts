/**
 * Where something listens: IP literals, host names, and `host:port` as people write it (IPv6 in brackets, RFC 3986).
 *
 * Errors  parsers answer `undefined` for what they can't read; the caller knows what to name.
 */
import { isIP, isIPv4, isIPv6 } from "node:net";

export interface HostPort {
  /** Without brackets. */
  readonly address: string;
  readonly port: number;
}

export const MAX_PORT = 65_535;
export const isPort = (port: number): boolean => Number.isInteger(port) && port >= 0 && port <= MAX_PORT;

const LABEL = /^[a-z0-9_]([-a-z0-9_]{0,61}[a-z0-9_])?$/i;

/** A name that a resolver may be asked for: RFC 1123 labels, `_` too (docker-compose makes such names). */
export function isHostname(text: string): boolean {
  if (text.length === 0 || text.length > 253) return false;
  const labels = text.split(".");
  // A last label of digits alone is a mistyped IPv4 address (RFC 3696, section 2), not a name.
  return labels.every((label) => LABEL.test(label)) && !/^\d+$/.test(labels.at(-1) ?? "");
}

/** An IPv4 or IPv6 literal; a zone (`fe80::1%eth0`) is not taken, as it means something on one machine only. */
export const isAddress = (text: string): boolean => isIP(text) !== 0 && !text.includes("%");

/** One spelling for each address: `0:0:0:0:0:0:0:1` and `::1` are the same listener. Host names in lower case. */
export function canonicalAddress(text: string): string {
  if (isIPv6(text) && !text.includes("%")) return new URL(`http://[${text}]`).hostname.slice(1, -1);
  return text.toLowerCase();
}

/** `127.0.0.1:80`, `[::1]:80`, `shop.internal:80`; the port is 0..65535, in digits alone. */
export function parseHostPort(text: string): HostPort | undefined {
  const match = /^(?:\[([^\]]*)\]|([^:[\]]*)):(\d{1,5})$/.exec(text);
  if (match === null) return undefined;
  const [, bracketed, plain = "", digits] = match;
  const port = Number(digits);
  if (!isPort(port)) return undefined;
  if (bracketed !== undefined) {
    return isIPv6(bracketed) && isAddress(bracketed) ? { address: canonicalAddress(bracketed), port } : undefined;
  }
  return isIPv4(plain) || isHostname(plain) ? { address: canonicalAddress(plain), port } : undefined;
}

export function formatHostPort(address: string, port: number): string {
  return address.includes(":") ? `[${address}]:${String(port)}` : `${address}:${String(port)}`;
}

/** 127.0.0.0/8, ::1, either of them mapped into IPv6, and the name `localhost` (RFC 6761). */
export function isLoopback(address: string): boolean {
  const canonical = canonicalAddress(address);
  if (canonical === "localhost" || canonical.endsWith(".localhost")) return true;
  if (isIPv4(canonical)) return canonical.startsWith("127.");
  // A mapped address is spelt in hex by the canonical form: ::ffff:127.0.0.1 is ::ffff:7f00:1.
  return canonical === "::1" || /^::ffff:7f[0-9a-f]{2}:[0-9a-f]{1,4}$/.test(canonical);
}

/** Stands for every address of the machine. */
export const isUnspecified = (address: string): boolean => ["0.0.0.0", "::"].includes(canonicalAddress(address));

/**
 * Whether two listeners ask for the same socket: equal, or one is the unspecified address that covers the other. `::`
 * is taken to cover IPv4 too, as it does on Linux and in Node unless told otherwise. Port 0 never overlaps.
 */
export function overlaps(a: HostPort, b: HostPort): boolean {
  if (a.port !== b.port || a.port === 0) return false;
  const [x, y] = [canonicalAddress(a.address), canonicalAddress(b.address)];
  return x === y || covers(x, y) || covers(y, x);
}

function covers(wide: string, narrow: string): boolean {
  if (wide === "::") return true;
  return wide === "0.0.0.0" && (isIPv4(narrow) || narrow.startsWith("::ffff:"));
}
