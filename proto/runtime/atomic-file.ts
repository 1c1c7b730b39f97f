/**
 * Files that are whole or absent: write to a neighbour, fsync, rename, fsync the folder (RACES C8). A file carries a
 * SHA-256 of its content on its first line; one that does not match is set aside under another name and named in the
 * answer, never deleted and never half used.
 *
 * Errors  I/O errors of the write are thrown (`ENOSPC` leaves the old file untouched); a bad file is an answer.
 */
import { createHash, randomBytes } from "node:crypto";
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, rmSync, writeSync } from "node:fs";
import { dirname } from "node:path";

export type ReadResult =
  | { readonly kind: "ok"; readonly content: string }
  | { readonly kind: "absent" }
  | { readonly kind: "damaged"; readonly setAside: string; readonly why: string };

const checksum = (content: string): string => createHash("sha256").update(content).digest("hex");

export function writeAtomic(path: string, content: string): void {
  const neighbour = `${path}.${randomBytes(6).toString("hex")}.tmp`;
  try {
    const fd = openSync(neighbour, "wx", 0o600);
    try {
      const bytes = Buffer.from(`sha256:${checksum(content)}\n${content}`);
      for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(neighbour, path);
  } catch (error) {
    rmSync(neighbour, { force: true });
    throw error;
  }
  const folder = openSync(dirname(path), "r");
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

export function readChecked(path: string): ReadResult {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") return { kind: "absent" };
    // Whatever has our file's name and can't be read will not be readable at the next start either.
    if (code === "EISDIR" || code === "EACCES")
      return { kind: "damaged", ...setAside(path, `it can't be read (${code})`) };
    throw error;
  }
  const newline = text.indexOf("\n");
  const content = text.slice(newline + 1);
  if (newline > 0 && text.slice(0, newline) === `sha256:${checksum(content)}`) return { kind: "ok", content };
  return { kind: "damaged", ...setAside(path, "its checksum does not match its content") };
}

/** Moves a file that can't be used out of the way, under a name that no later one takes. */
export function setAside(path: string, why: string): { readonly setAside: string; readonly why: string } {
  const aside = `${path}.damaged-${randomBytes(4).toString("hex")}`;
  renameSync(path, aside);
  return { setAside: aside, why };
}
