/**
 * Names that people give and ids that Baton makes. Names are DNS labels, so that one fits a metric label, a path, a
 * header and a file name without escaping; versions also take what git shas, image tags and semantic versions hold.
 *
 * Errors  predicates; the caller knows the file, line and path to name.
 */
import { integer } from "../kernel/random.ts";
import type { Random } from "../kernel/random.ts";
import { LIMITS } from "./limits.ts";

const NAME = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const LABEL_VALUE = /^[A-Za-z0-9]([-._A-Za-z0-9]*[A-Za-z0-9])?$/;

/**
 * What is known of services, hosts and versions is kept by name in plain objects, where `constructor` and its like are
 * found without anybody having put them there: refused here, no reader has to think of it.
 */
const isFree = (text: string): boolean => !(text in Object.prototype);

/** A service's or host's name: a DNS label (RFC 1123), lower case. */
export const isName = (text: string): boolean => text.length <= LIMITS.nameLength && NAME.test(text) && isFree(text);

/** `v2`, `1.4.0-rc.1`, a git sha, an image tag: letters, digits, `-`, `_` and `.`, a letter or digit at both ends. */
export const isVersion = (text: string): boolean => isWord(text) && isFree(text);

/** A label's value, as in Kubernetes: letters, digits, `-`, `_` and `.`, a letter or digit at both ends; or empty. */
export const isLabelValue = (text: string): boolean => text === "" || isWord(text);

const isWord = (text: string): boolean => text.length <= LIMITS.nameLength && LABEL_VALUE.test(text);

/** A label's key, as in Kubernetes: `name` or `dns.prefix/name`. */
export function isLabelKey(text: string): boolean {
  const slash = text.indexOf("/");
  if (slash < 0) return isVersion(text);
  const prefix = text.slice(0, slash);
  return prefix.length <= 253 && prefix.split(".").every(isName) && isVersion(text.slice(slash + 1));
}

export const NAME_RULE = `lower-case letters, digits and "-", at most ${String(LIMITS.nameLength)}, a letter or digit at both ends, not "constructor"`;
export const VERSION_RULE = `letters, digits, "-", "_" and ".", at most ${String(LIMITS.nameLength)}, a letter or digit at both ends, not "constructor" or its like`;

/**
 * An instance's id, unique on its host: `shop-r2-0-1a2b`. `taken` says which ids the host has known; among 65,536 for
 * one slot of one revision a free one is soon found, and a crash loop's backoff can't use them up in a year.
 */
export function instanceId(
  service: string,
  revision: number,
  slot: number,
  random: Random,
  taken: (id: string) => boolean = () => false,
): string {
  for (;;) {
    const id = `${service}-r${String(revision)}-${String(slot)}-${hex(random, 4)}`;
    if (!taken(id)) return id;
  }
}

/** A rollout's id: `shop-r2-5f0c91`. A revision may be rolled out more than once, so the number alone is not enough. */
export const rolloutId = (service: string, revision: number, random: Random): string =>
  `${service}-r${String(revision)}-${hex(random, 6)}`;

/** New at every start of a keeper: 64 bits, so that two starts in a fleet's life never share one. */
export const bootId = (random: Random): string => hex(random, 16);

/** New at every session that the controller accepts. */
export const sessionId = (random: Random): string => hex(random, 16);

function hex(random: Random, digits: number): string {
  let text = "";
  while (text.length < digits) text += integer(random, 16).toString(16);
  return text;
}
