/**
 * YAML text → plain values that still know where they stood. What YAML allows and a service document has no use for is
 * refused here, so that the schema sees JSON only: duplicate keys, keys that are no text, tags, endless nesting.
 *
 * Errors  all are answers; a file with any problem yields no document.
 * Cost    the text is bounded by LIMITS.specFileBytes; what aliases unfold to, by MAX_NODES. Duplicate keys are looked
 *         for here, in a set, and aliases resolved from a table: the parser's own check compares every pair of keys, its
 *         own resolution walks the document for every alias, and a file of 1 MiB holds either up for a minute.
 */
import { isAlias, isMap, isNode, isScalar, isSeq, LineCounter, parseAllDocuments } from "yaml";
import type { Document, Node } from "yaml";
import { LIMITS } from "../limits.ts";
import { formatPath } from "./problem.ts";
import type { Path, Problem } from "./problem.ts";

const MAX_NODES = 100_000;
const MAX_DEPTH = 32;
const MAX_PROBLEMS = 20;

export interface Position {
  readonly line: number;
  readonly column: number;
}

export interface PlainDocument {
  readonly value: unknown;
  /** Where the value at `path` stands, or its key; the nearest thing around it when it is not there. */
  locate(path: Path, of: "key" | "value"): Position;
}

export type YamlResult =
  | { readonly kind: "ok"; readonly documents: readonly PlainDocument[] }
  | { readonly kind: "invalid"; readonly problems: readonly Problem[] };

/** The parser calls itself for each level, and may run out of stack before the text ends: it says so as an error. */
const TOO_DEEP = "nested too deeply";

const START: Position = { line: 1, column: 1 };

export function readYaml(file: string, text: string): YamlResult {
  const refuse = (message: string, at = START): YamlResult => ({
    kind: "invalid",
    problems: [{ file, ...at, path: "", message }],
  });
  const bytes = Buffer.byteLength(text);
  if (bytes > LIMITS.specFileBytes) return refuse(`${bytes} bytes; a file holds at most ${LIMITS.specFileBytes}`);

  const lines = new LineCounter();
  let parsed: readonly Document[];
  try {
    parsed = parse(text, lines);
  } catch (error) {
    if (error instanceof RangeError) return refuse(TOO_DEEP);
    return refuse(`not readable as YAML: ${error instanceof Error ? firstLine(error.message) : String(error)}`);
  }
  if (parsed.length > LIMITS.documentsPerFile) {
    return refuse(`${parsed.length} documents; a file holds at most ${LIMITS.documentsPerFile}`);
  }

  const problems: Problem[] = [];
  const documents: PlainDocument[] = [];
  for (const document of parsed) {
    for (const found of [...document.errors, ...document.warnings]) {
      const message = plainMessage(found);
      problems.push({ file, ...position(lines, found.pos[0]), path: "", message });
      if (message === TOO_DEEP) return { kind: "invalid", problems: problems.slice(-1) };
    }
    if (document.errors.length > 0 || document.contents === null || isNothing(document.contents)) continue;
    const reader = new PlainReader(document, lines, file, problems);
    const value = reader.read(document.contents, []);
    documents.push({ value, locate: (path, of) => reader.locate(path, of) });
  }
  if (problems.length > 0) return { kind: "invalid", problems: problems.slice(0, MAX_PROBLEMS) };
  return { kind: "ok", documents };
}

function parse(text: string, lineCounter: LineCounter): readonly Document[] {
  const parsed = parseAllDocuments(text, { lineCounter, uniqueKeys: false, prettyErrors: false, version: "1.2" });
  return Array.isArray(parsed) ? parsed : [];
}

/** One document's walk from nodes to plain values, and back from a path to a node. */
class PlainReader {
  readonly #document: Document;
  readonly #lines: LineCounter;
  readonly #file: string;
  readonly #problems: Problem[];
  readonly #anchors = new Map<string, unknown>();
  /** What each alias stands for: the anchor of its name that stood nearest before it. */
  readonly #targets = new Map<unknown, unknown>();
  #nodes = 0;
  #gaveUp = false;

  constructor(document: Document, lines: LineCounter, file: string, problems: Problem[]) {
    this.#document = document;
    this.#lines = lines;
    this.#file = file;
    this.#problems = problems;
  }

  read(node: unknown, path: Path): unknown {
    if (this.#gaveUp) return null;
    if (++this.#nodes > MAX_NODES) return this.#giveUp(node, path, `more than ${MAX_NODES} values, aliases unfolded`);
    if (path.length > MAX_DEPTH) return this.#giveUp(node, path.slice(0, 4), TOO_DEEP);
    if (isAlias(node)) {
      const target = this.#targets.get(node) ?? this.#anchors.get(node.source);
      if (target === undefined) return this.#problem(node, path, `no anchor named &${node.source} stands before this`);
      this.#targets.set(node, target);
      return this.read(target, path);
    }
    this.#anchor(node);
    if (isScalar(node)) return node.value;
    if (isSeq(node)) return node.items.map((item, i) => this.read(item, [...path, i]));
    if (isMap(node)) return this.#readMap(node.items, path);
    return null; // an empty value
  }

  #readMap(items: readonly { key: unknown; value: unknown }[], path: Path): Record<string, unknown> {
    const result: Record<string, unknown> = {};
    const lineOf = new Map<string, number>();
    for (const { key: keyNode, value } of items) {
      if (this.#gaveUp) break;
      this.#anchor(keyNode);
      const key = isScalar(keyNode) ? keyNode.value : undefined;
      if (typeof key !== "string") {
        this.#problem(keyNode, path, "a key must be text; put it in quotes");
        continue;
      }
      const here = [...path, key];
      const first = lineOf.get(key);
      if (first !== undefined) this.#problem(keyNode, here, `stands here twice; first on line ${first}`);
      else if (key === "<<") this.#problem(keyNode, here, "merge keys are not taken; use an alias for the whole value");
      else if (key === "__proto__") this.#problem(keyNode, here, "unknown key");
      else result[key] = this.read(value, here);
      lineOf.set(key, first ?? this.#position(keyNode).line);
    }
    return result;
  }

  locate(path: Path, of: "key" | "value"): Position {
    let node: unknown = this.#document.contents;
    let found = this.#position(node);
    for (const [i, step] of path.entries()) {
      if (isAlias(node)) node = this.#targets.get(node);
      if (isMap(node)) {
        const pair = node.items.find((item) => isScalar(item.key) && item.key.value === step);
        if (pair === undefined) break;
        found = this.#position(pair.key);
        node = pair.value;
        if (i === path.length - 1 && of === "value") found = this.#position(node, found);
      } else if (isSeq(node) && typeof step === "number") {
        if (step >= node.items.length) break;
        node = node.items[step];
        found = this.#position(node, found);
      } else break;
    }
    return found;
  }

  #anchor(node: unknown): void {
    if (isNode(node) && !isAlias(node) && node.anchor !== undefined) this.#anchors.set(node.anchor, node);
  }

  #giveUp(node: unknown, path: Path, message: string): null {
    this.#gaveUp = true;
    return this.#problem(node, path, message);
  }

  #problem(node: unknown, path: Path, message: string): null {
    this.#problems.push({ file: this.#file, ...this.#position(node), path: formatPath(path), message });
    return null;
  }

  #position(node: unknown, otherwise: Position = START): Position {
    const offset = (node as Partial<Node> | null)?.range?.[0];
    return offset === undefined ? otherwise : position(this.#lines, offset);
  }
}

function position(lines: LineCounter, offset: number): Position {
  const { line, col } = lines.linePos(offset);
  return { line: Math.max(1, line), column: Math.max(1, col) };
}

/** `---` with nothing, or only comments, behind it. */
const isNothing = (node: unknown): boolean => isScalar(node) && node.value === null && (node.source ?? "") === "";

const firstLine = (text: string): string => text.split("\n", 1)[0] ?? "";

function plainMessage(found: { readonly code: string; readonly message: string }): string {
  if (found.message.includes("call stack")) return TOO_DEEP;
  if (found.code === "TAB_AS_INDENT") return "a tab in the indentation; YAML takes spaces only";
  if (found.code === "TAG_RESOLVE_FAILED") return `${firstLine(found.message)}; tags are not taken`;
  return firstLine(found.message);
}
