/**
 * Service documents, from text to checked specs. Pure: the caller has read the files.
 *
 * A relative `cwd`, `credentialsFile` or path of a volume stands on the document's folder (`baseDir`), as in docker-compose, wherever the command was given;
 * without a `baseDir` it is left as it is. A command's own path is left to the kernel, which finds `./server` from
 * `cwd` and `server` on `PATH`.
 *
 * Errors  all are answers, each with file, line, column and path. One problem anywhere refuses everything: half of what
 *         was written is not what was meant. A file without a single document is refused too: it is more often one that
 *         is being written than a wish to serve nothing.
 */
import { posix } from "node:path";
import type * as z from "zod";
import { OF_KEY } from "./leaf.ts";
import { formatPath } from "./problem.ts";
import type { Path, Problem } from "./problem.ts";
import { serviceDocument } from "./schema.ts";
import { checkTogether, checkWithin } from "./together.ts";
import type { ServiceSpec } from "./types.ts";
import { readYaml } from "./yaml.ts";
import type { PlainDocument } from "./yaml.ts";

export { formatProblem } from "./problem.ts";
export type { Problem } from "./problem.ts";

export interface Source {
  /** As messages name it. */
  readonly file: string;
  readonly text: string;
  /** The absolute path that relative ones in the text stand on. */
  readonly baseDir?: string;
}

export interface ParsedService {
  readonly spec: ServiceSpec;
  readonly file: string;
  /** Where its document starts. */
  readonly line: number;
}

export type ParseResult =
  | { readonly kind: "ok"; readonly services: readonly ParsedService[] }
  | { readonly kind: "invalid"; readonly problems: readonly Problem[] };

/** What one is shown at once; the rest is found after these are mended. */
const MAX_PROBLEMS = 20;

/** All documents of one file. */
export const parseDocuments = (source: Source): ParseResult => parseFiles([source]);

/** All documents of several files, checked against each other too. */
export function parseFiles(sources: readonly Source[]): ParseResult {
  const problems: Problem[] = [];
  const found: Found[] = [];
  for (const source of sources) {
    const read = readYaml(source.file, source.text);
    if (read.kind === "invalid") {
      problems.push(...read.problems);
      continue;
    }
    if (read.documents.length === 0) {
      problems.push({ file: source.file, line: 1, column: 1, path: "", message: "no document in this file" });
    }
    for (const document of read.documents) {
      const place: Place = { file: source.file, document };
      const spec = readService(place, problems);
      if (spec !== undefined) found.push({ ...place, spec: onBase(spec, source.baseDir) });
    }
  }
  if (problems.length === 0) problems.push(...together(found));
  if (problems.length > 0) return { kind: "invalid", problems: problems.slice(0, MAX_PROBLEMS) };
  const services = found.map(({ spec, file, document }) => ({ spec, file, line: document.locate([], "value").line }));
  return { kind: "ok", services };
}

interface Place {
  readonly file: string;
  readonly document: PlainDocument;
}
interface Found extends Place {
  readonly spec: ServiceSpec;
}

function readService(place: Place, problems: Problem[]): ServiceSpec | undefined {
  const checked = serviceDocument.safeParse(place.document.value);
  if (!checked.success) {
    problems.push(...byPosition(issuesToProblems(place, checked.error.issues)));
    return undefined;
  }
  const complaints = checkWithin(checked.data);
  problems.push(...complaints.map(({ path, message }) => problem(place, path, "value", message)));
  return complaints.length === 0 ? checked.data : undefined;
}

function together(found: readonly Found[]): Problem[] {
  return checkTogether(found.map(({ spec }) => spec)).flatMap((conflict) => {
    const [later, earlier] = [found[conflict.service], found[conflict.with]];
    if (later === undefined || earlier === undefined) return [];
    const first = earlier.document.locate(["metadata", "name"], "value");
    const where = `${earlier.file}:${String(first.line)}:${String(first.column)}`;
    return [problem(later, conflict.path, "value", `${conflict.message} (the other is at ${where})`)];
  });
}

function problem(place: Place, path: Path, of: "key" | "value", message: string): Problem {
  return { file: place.file, ...place.document.locate(path, of), path: formatPath(path), message };
}

function issuesToProblems(place: Place, issues: readonly z.core.$ZodIssue[]): Problem[] {
  const problems = issues.flatMap((issue) => {
    const path = issue.path.map((step) => (typeof step === "number" ? step : String(step)));
    if (issue.code === "unrecognized_keys") {
      // leaf.ts, mapping(): one line for each key.
      const lines = issue.message.split("\n");
      return issue.keys.map((key, i) => problem(place, [...path, key], "key", lines[i] ?? "unknown key"));
    }
    if (issue.code === "custom" && issue.params?.["of"] === OF_KEY.of)
      return [problem(place, path, "key", issue.message)];
    if (issue.code === "invalid_key") return [problem(place, path, "key", issue.issues[0]?.message ?? issue.message)];
    return [problem(place, path, "value", issue.message)];
  });
  // Of a document of another kind, nothing else is worth saying.
  const foreign = problems.filter(({ path }) => path === "apiVersion" || path === "kind");
  return foreign.length > 0 ? foreign : problems;
}

const byPosition = (problems: Problem[]): Problem[] =>
  problems.sort((a, b) => a.line - b.line || a.column - b.column || (a.path < b.path ? -1 : 1));

function onBase(spec: ServiceSpec, baseDir: string | undefined): ServiceSpec {
  const based = (path: string): string => {
    const full = posix.isAbsolute(path) || baseDir === undefined ? path : posix.join(baseDir, path);
    // `/srv/shop/` and `/srv/shop` are one folder, and must be one hash.
    const normal = posix.normalize(full);
    return normal.length > 1 ? normal.replace(/\/$/, "") : normal;
  };
  const { run } = spec;
  switch (run.kind) {
    case "external":
      return spec;
    case "process":
      return { ...spec, run: { ...run, cwd: based(run.cwd) } };
    case "docker": {
      const mounts = run.mounts.map((m) => (m.type === "bind" ? { ...m, source: based(m.source) } : m));
      const credentialsFile = run.credentialsFile === null ? null : based(run.credentialsFile);
      return { ...spec, run: { ...run, mounts, credentialsFile } };
    }
  }
}
