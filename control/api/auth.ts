/**
 * Bearer tokens, one for operators and one for agents. Beyond loopback there must be one for each, or the controller
 * does not start: whoever reaches the port may stop the fleet.
 *
 * Errors  TokenUnusable, in one sentence, at the start. Later a wrong token is an answer.
 */
import { createHash, timingSafeEqual } from "node:crypto";
import { readFileSync } from "node:fs";
import type { Metadata } from "@grpc/grpc-js";

export class TokenUnusable extends Error {
  override readonly name = "TokenUnusable";
}

/** null: none is asked for. */
export type Token = { readonly digest: Buffer } | null;

const digestOf = (text: string): Buffer => createHash("sha256").update(text).digest();

const SHORTEST = 16;

export function readToken(path: string | undefined): Token {
  if (path === undefined) return null;
  let text: string;
  try {
    text = readFileSync(path, "utf8").trim();
  } catch (error) {
    throw new TokenUnusable(`the token file can't be read: ${(error as Error).message}`);
  }
  if (!/^[\x21-\x7e]*$/.test(text)) {
    throw new TokenUnusable(`the token file ${path} must hold one line of visible characters`);
  }
  if (text.length < SHORTEST) throw new TokenUnusable(`the token in ${path} is shorter than ${SHORTEST} characters`);
  return { digest: digestOf(text) };
}

/** Digests are compared, in constant time: neither the length nor a common start of the token shows in the time. */
export function allows(token: Token, authorization: string | undefined): boolean {
  if (token === null) return true;
  const [scheme, ...rest] = (authorization ?? "").split(" ");
  if (scheme?.toLowerCase() !== "bearer") return false;
  return timingSafeEqual(token.digest, digestOf(rest.join(" ").trim()));
}

export function authorizationOf(metadata: Metadata): string | undefined {
  const value = metadata.get("authorization")[0];
  return typeof value === "string" ? value : undefined;
}
