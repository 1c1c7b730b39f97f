/**
 * Tokens for sources that ask for one: `ORIGIN=FILE`, as `--analysis-token` says it. Each goes to its own origin and to
 * no other: service documents name addresses, and must not be able to have a token sent to one of their choice.
 *
 * Errors  TokenUnusable, in one sentence, at the start.
 */
import { readFileSync } from "node:fs";
import { TokenUnusable } from "../api/auth.ts";
import { httpUrl } from "./source.ts";

/** `https://prometheus:9090=/etc/baton/prometheus.token`; undefined: it is not of this form. */
export function parseTokenOption(text: string): { readonly origin: string; readonly file: string } | undefined {
  const at = text.indexOf("=");
  const url = httpUrl(text.slice(0, Math.max(at, 0)));
  const file = text.slice(at + 1);
  if (url === undefined || file === "") return undefined;
  const bare =
    url.username === "" && url.password === "" && url.pathname === "/" && url.search === "" && url.hash === "";
  return bare ? { origin: url.origin, file } : undefined;
}

export function readSourceTokens(options: readonly string[]): ReadonlyMap<string, string> {
  return new Map(
    options.map((option) => {
      const parsed = parseTokenOption(option);
      if (parsed === undefined) throw new TokenUnusable(`--analysis-token ${option} is no ORIGIN=FILE`);
      return [parsed.origin, readTokenFile(parsed.file)];
    }),
  );
}

function readTokenFile(file: string): string {
  let text: string;
  try {
    text = readFileSync(file, "utf8").trim();
  } catch (error) {
    throw new TokenUnusable(`the token file can't be read: ${(error as Error).message}`);
  }
  if (!/^[\x21-\x7e]+$/.test(text)) {
    throw new TokenUnusable(`the token file ${file} must hold one line of visible characters`);
  }
  return text;
}
