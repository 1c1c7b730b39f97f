/**
 * The strict reading of decoded protobuf: every number whole and bounded, every word known, every text and list within
 * its limit. protobuf itself promises none of that: it fills in zeros for what is absent, and takes any bytes' worth.
 *
 * Errors  readers leave by an exception of this module's own, which `decoded` alone catches and turns into an answer
 *         that names the field; any other exception is a defect and passes through.
 */

export type Decoded<T> =
  | { readonly kind: "ok"; readonly value: T }
  /** `why` names the field: `services[0].rules[1].path: not a path`. */
  | { readonly kind: "invalid"; readonly why: string };

class Invalid extends Error {}

export function decoded<T>(read: () => T): Decoded<T> {
  try {
    return { kind: "ok", value: read() };
  } catch (error) {
    if (error instanceof Invalid) return { kind: "invalid", why: error.message };
    throw error;
  }
}

export function fail(field: string, why: string): never {
  throw new Invalid(`${field}: ${why}`);
}

/** A message field that must be there. */
export function present<T>(field: string, value: T | undefined): T {
  return value ?? fail(field, "missing");
}

/** A whole number that a double holds exactly, `min`..`max`. */
export function whole(field: string, value: number | bigint, max: number = Number.MAX_SAFE_INTEGER, min = 0): number {
  const number = Number(value);
  if (!Number.isSafeInteger(number) || number < min || number > max) {
    fail(field, `${String(value)} is not a whole number from ${String(min)} to ${String(max)}`);
  }
  return number;
}

export function word<const T extends string>(field: string, value: string, words: readonly T[]): T {
  return words.find((known) => known === value) ?? fail(field, `${quoted(value)} is none of ${words.join(", ")}`);
}

/** Text of at most `max` characters that `is` accepts. */
export function text(field: string, value: string, max: number, is?: (text: string) => boolean): string {
  if (value.length > max) fail(field, `${String(value.length)} characters; at most ${String(max)}`);
  if (is !== undefined && !is(value)) fail(field, `${quoted(value)} is not valid here`);
  return value;
}

export function list<W, T>(field: string, value: readonly W[], max: number, read: (f: string, item: W) => T): T[] {
  if (value.length > max) fail(field, `${String(value.length)} entries; at most ${String(max)}`);
  return value.map((item, i) => read(`${field}[${String(i)}]`, item));
}

export function table(
  field: string,
  value: Readonly<Record<string, string>>,
  max: number,
  read: (f: string, value: string) => string,
  key: (key: string) => boolean,
): Record<string, string> {
  const entries = Object.entries(value);
  if (entries.length > max) fail(field, `${String(entries.length)} entries; at most ${String(max)}`);
  return Object.fromEntries(
    entries.map(([name, held]) => {
      if (!key(name)) fail(field, `${quoted(name)} is not a valid key`);
      return [name, read(`${field}.${name}`, held)];
    }),
  );
}

/** Refuses what stands twice. */
export function unique<T>(field: string, items: readonly T[], by: (item: T) => string | number): readonly T[] {
  const seen = new Set<string | number>();
  for (const item of items) {
    const key = by(item);
    if (seen.has(key)) fail(field, `${String(key)} stands here twice`);
    seen.add(key);
  }
  return items;
}

const quoted = (value: string): string => JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value);

/**
 * A count on its way out. What the wire can't hold (a fraction of a millisecond, a level that a defect took below 0)
 * becomes the nearest that it can: the session must not end over it.
 */
export const u32 = (value: number): number => (value > 0 ? Math.min(0xffff_ffff, Math.round(value)) : 0);
export const u64 = (value: number): bigint =>
  value > 0 ? BigInt(Math.min(Number.MAX_SAFE_INTEGER, Math.round(value))) : 0n;
