/**
 * What a registry is shown, from a file on the host: Docker's own config.json (`docker login` writes it), or one line
 * `user:password`. Read anew for each pull, so that a rotated one is used at once. Nothing of it is logged.
 *
 * Errors  a sentence; nothing throws. What stands in a credential helper is not to be had from here.
 */
import { readFileSync, statSync } from "node:fs";
import type { Credentials } from "./engine.ts";

const MAX_BYTES = 1 << 20;

export type ReadCredentials =
  { readonly kind: "ok"; readonly value: Credentials | null } | { readonly kind: "wrong"; readonly why: string };

/** `registry`: as the image's name says it. A file that names others has none for this one: that is no mistake. */
export function readCredentials(file: string, registry: string): ReadCredentials {
  const wrong = (why: string): ReadCredentials => ({ kind: "wrong", why: `credentialsFile ${file}: ${why}` });
  let text: string;
  try {
    if (statSync(file).size > MAX_BYTES) return wrong("larger than 1 MiB");
    text = readFileSync(file, "utf8").trim();
  } catch (error) {
    return wrong((error as NodeJS.ErrnoException).code ?? String(error));
  }
  if (!text.startsWith("{")) return plain(text, registry) ?? wrong("neither Docker's config.json nor user:password");
  try {
    const { auths = {}, credsStore, credHelpers } = JSON.parse(text) as Config;
    const entry = Object.entries(auths).find(([key]) => sameRegistry(key, registry))?.[1];
    const found = entry === undefined ? undefined : fromEntry(entry, registry);
    if (found !== undefined) return { kind: "ok", value: found };
    const helper = credHelpers?.[registry] ?? credsStore;
    if (helper !== undefined)
      return wrong(`what it has for ${registry} is in the helper ${helper}, which is not asked`);
    return entry === undefined ? { kind: "ok", value: null } : wrong(`its entry for ${registry} says nothing`);
  } catch {
    return wrong("not JSON");
  }
}

interface Config {
  readonly auths?: Readonly<Record<string, Entry>>;
  readonly credsStore?: string;
  readonly credHelpers?: Readonly<Record<string, string>>;
}
interface Entry {
  readonly auth?: string;
  readonly username?: string;
  readonly password?: string;
  readonly identitytoken?: string;
}

const HUB = ["docker.io", "index.docker.io", "registry-1.docker.io"];

/** Keys are hosts, or addresses as `https://index.docker.io/v1/`. */
function sameRegistry(key: string, registry: string): boolean {
  const host = key.replace(/^https?:\/\//, "").replace(/\/.*$/, "");
  return host === registry || (HUB.includes(host) && HUB.includes(registry));
}

function fromEntry(entry: Entry, serveraddress: string): Credentials | undefined {
  if (entry.identitytoken !== undefined) return { identitytoken: entry.identitytoken, serveraddress };
  const { username, password } = entry;
  if (username !== undefined && password !== undefined) return { username, password, serveraddress };
  const said = Buffer.from(entry.auth ?? "", "base64").toString("utf8");
  const found = plain(said, serveraddress);
  return found?.kind === "ok" ? (found.value ?? undefined) : undefined;
}

function plain(text: string, serveraddress: string): ReadCredentials | undefined {
  const colon = text.indexOf(":");
  if (colon < 1 || text.includes("\n")) return undefined;
  const [username, password] = [text.slice(0, colon), text.slice(colon + 1).replace(/\0+$/, "")];
  return { kind: "ok", value: { username, password, serveraddress } };
}
