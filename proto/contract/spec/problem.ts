/** What is wrong with a document, and where: one clear line for a person. */

export interface Problem {
  readonly file: string;
  /** Counted from 1, as editors do. */
  readonly line: number;
  readonly column: number;
  /** `spec.rules[0].path`, within the document that the line is in; "" when the text could not be read that far. */
  readonly path: string;
  readonly message: string;
}

/** `shop.yaml:7:3: spec.strategy.rolling.maxSurg: unknown key; did you mean maxSurge?` */
export function formatProblem(p: Problem): string {
  const where = `${p.file}:${String(p.line)}:${String(p.column)}`;
  return p.path === "" ? `${where}: ${p.message}` : `${where}: ${p.path}: ${p.message}`;
}

export type Path = readonly (string | number)[];

export function formatPath(path: Path): string {
  let text = "";
  for (const step of path) {
    if (typeof step === "number") text += `[${String(step)}]`;
    else if (/^[A-Za-z_][\w-]*$/.test(step)) text += text === "" ? step : `.${step}`;
    else text += `[${JSON.stringify(step)}]`;
  }
  return text;
}

/** A value as a message names it: `number 5`, `text "abc"`, `a list`. */
export function describe(value: unknown): string {
  if (value === null) return "nothing";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "string") return `text ${JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value)}`;
  if (typeof value === "number") return `number ${String(value)}`;
  if (typeof value === "boolean") return String(value);
  return "a mapping";
}
