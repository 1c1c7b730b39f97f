/**
 * A recording as it is kept in a file, read and checked. It is what `baton judge --record` writes, or what anyone can
 * make of their own figures:
 *
 *   {"canary": "v2", "stable": "v1", "counts": "totals"}
 *   {"atMs": 1767225600000, "versions": {"v1": {"requests": 90, "errors": 0}, "v2": {"requests": 10, "errors": 1}}}
 *   …
 *
 * as JSON lines, or as one JSON value: `{canary, stable, counts, samples: […]}`, or the list of samples alone. What is
 * not said counts as none (`errors`, `lost`, latencies); `canary` and `stable` may come from the command line.
 *
 *   counts     totals: since the beginning, as counters do. windows: since the sample before.
 *   latency    [[bucket, count], …], ascending, by the buckets of proto/contract/histogram.ts; or
 *   latencyUs  [[below, count], …], ascending: answers that took less than so many microseconds, and not less than
 *              what the entry before it says
 *
 * Errors  CliError (exit 2): the file and the line or place, in one sentence.
 */
import { readFileSync, statSync } from "node:fs";
import * as z from "zod";
import { bucketOf, LATENCY_BUCKETS } from "../../../proto/contract/histogram.ts";
import { EXIT } from "../../../proto/contract/limits.ts";
import { formatPath } from "../../../proto/contract/spec/problem.ts";
import type { VersionTraffic } from "../../model/view.ts";
import type { Recording } from "../../rollout/analysis/recorded.ts";
import { CliError } from "../errors.ts";

/** A day of one sample a second with full histograms. */
const LARGEST_FILE = 256 << 20;

const count = z.int().nonnegative();
const pairs = z
  .array(z.tuple([count, count]))
  .refine((list) => list.every(([at], i) => i === 0 || at > (list[i - 1]?.[0] ?? 0)), { error: "not ascending" });

const traffic = z
  .strictObject({
    requests: count,
    errors: count.default(0),
    lost: count.default(0),
    latency: pairs
      .refine((list) => list.every(([bucket]) => bucket < LATENCY_BUCKETS), {
        error: `there are ${String(LATENCY_BUCKETS)} buckets, from 0 on`,
      })
      .optional(),
    latencyUs: pairs.optional(),
  })
  .refine(({ latency, latencyUs }) => latency === undefined || latencyUs === undefined, {
    error: "latency and latencyUs: one of them says it all",
  })
  .transform(({ requests, errors, lost, latency, latencyUs }): VersionTraffic => {
    return { requests, errors, lost, latency: latency ?? inBuckets(latencyUs ?? []) };
  });

const sample = z.strictObject({
  atMs: z.number(),
  versions: z.record(z.string(), traffic),
  inFlight: z.record(z.string(), z.number().nonnegative()).default({}),
  ready: z.record(z.string(), z.number().nonnegative()).default({}),
});

const header = z.strictObject({
  canary: z.string().optional(),
  stable: z.string().nullable().optional(),
  counts: z.enum(["totals", "windows"]).optional(),
});
const whole = header.extend({ samples: z.array(sample) });

/** What the command line says in the file's place. */
export interface Said {
  readonly canary?: string;
  readonly stable?: string;
  readonly counts?: Recording["counts"];
}

export function readRecording(path: string, said: Said): Recording {
  const name = path === "-" ? "stdin" : path;
  const read = parse(name, readText(path, name));
  const canary = said.canary ?? read.canary;
  const labels = [...new Set(read.samples.flatMap(({ versions }) => Object.keys(versions)))];
  const there = labels.length === 0 ? "there are none in it" : `those in it: ${labels.join(", ")}`;
  if (canary === undefined) throw wrong(`${name}: say which version is judged, with --canary; ${there}`);
  const stable = said.stable ?? read.stable ?? null;
  for (const label of [canary, stable]) {
    if (label !== null && !labels.includes(label)) throw wrong(`${name}: no sample has a version ${label}; ${there}`);
  }
  if (stable === canary) throw wrong(`${name}: ${canary} can't be compared with itself`);
  return { canary, stable, counts: said.counts ?? read.counts ?? "totals", samples: read.samples };
}

type Read = z.output<typeof whole>;

function parse(name: string, text: string): Read {
  const json = parsed(text);
  if (Array.isArray(json)) return checked(whole, { samples: json as unknown[] }, name);
  if (typeof json === "object" && json !== null && "samples" in json) return checked(whole, json, name);
  // JSON lines; of a recorder that was killed, the last one may have been cut.
  const lines = text.split("\n").map((line, i) => ({ at: `${name}:${String(i + 1)}`, line: line.trim() }));
  const said = lines.filter(({ line }) => line !== "");
  const values = said.map(({ at, line }, i) => {
    const value = parsed(line);
    if (value !== undefined) return { at, value };
    if (i === said.length - 1 && i > 0 && !text.endsWith("\n")) return null;
    throw wrong(`${at}: no JSON; a recording is a JSON document, or one sample a line`);
  });
  const first = values[0];
  if (first === undefined) throw wrong(`${name}: it is empty`);
  const headed = first !== null && typeof first.value === "object" && first.value !== null && !("atMs" in first.value);
  const top = headed ? checked(header, first.value, first.at) : {};
  const samples = values
    .slice(headed ? 1 : 0)
    .flatMap((one) => (one === null ? [] : checked(sample, one.value, one.at)));
  return { ...top, samples };
}

function checked<T extends z.ZodType>(schema: T, value: unknown, at: string): z.output<T> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const path = formatPath((issue?.path ?? []).map((step) => (typeof step === "number" ? step : String(step))));
  throw wrong(`${at}: ${path === "" ? "" : `${path}: `}${issue?.message ?? "not a recording"}`);
}

function readText(path: string, name: string): string {
  try {
    if (path !== "-" && statSync(path).size > LARGEST_FILE) {
      throw wrong(`${name}: larger than ${String(LARGEST_FILE >> 20)} MiB`);
    }
    return readFileSync(path === "-" ? 0 : path, "utf8");
  } catch (error) {
    throw error instanceof CliError ? error : wrong(`${name}: can't be read: ${(error as Error).message}`);
  }
}

/** undefined: no JSON. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

export function inBuckets(latencyUs: readonly (readonly [number, number])[]): VersionTraffic["latency"] {
  const counts = new Map<number, number>();
  for (const [below, answers] of latencyUs) {
    const bucket = bucketOf(below - 1);
    counts.set(bucket, (counts.get(bucket) ?? 0) + answers);
  }
  return [...counts];
}

const wrong = (message: string): CliError => new CliError(message, EXIT.usage);
