/**
 * Hashes of what agents are asked, each made once: what did not change is the object that it was (compiled.ts), and is
 * known by that.
 *
 * Cost  canonical JSON and SHA-256 of a service that is new; of an agent with one service, once for both hashes.
 */
import { createHash } from "node:crypto";
import type { AssignedService } from "../../proto/contract/assignment.ts";
import { canonicalJson } from "../../proto/contract/canonical.ts";

export interface Hashed {
  readonly services: readonly AssignedService[];
  /** What contract/canonical.ts calls `assignmentHash`. */
  readonly hash: string;
  /** By service: its `serviceHash`. */
  readonly hashes: Readonly<Record<string, string>>;
}

interface Known {
  readonly hash: string;
  /** Kept where an agent has several services: the hash over all of them is made of their texts. */
  readonly text: string | null;
}

const known = new WeakMap<AssignedService, Known>();
const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");

export function hashed(services: readonly AssignedService[]): Hashed {
  const keep = services.length > 1;
  const texts = services.map((service) => {
    const text = known.get(service)?.text ?? canonicalJson(service);
    const hash = known.get(service)?.hash ?? sha256(text);
    known.set(service, { hash, text: keep ? text : null });
    return text;
  });
  const hashes = services.map((service) => [service.name, known.get(service)?.hash ?? ""] as const);
  return { services, hash: sha256(`[${texts.join(",")}]`), hashes: Object.fromEntries(hashes) };
}
