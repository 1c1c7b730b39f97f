/**
 * The part of JSONPath that names one value: `$`, then any of `.name`, `['name']`, `["name"]` and `[0]`. Wildcards,
 * slices and filters name several, and are refused.
 *
 * Source  RFC 9535, singular queries (without negative indices and escapes in names).
 */
export type JsonPath = readonly (string | number)[];

const STEP = /\.([A-Za-z_\u0080-\uffff][\w\u0080-\uffff-]*)|\[(\d{1,9})\]|\['([^'\\]*)'\]|\["([^"\\]*)"\]/y;

/** undefined: it is none. */
export function parseJsonPath(text: string): JsonPath | undefined {
  if (!text.startsWith("$")) return undefined;
  const path: (string | number)[] = [];
  for (STEP.lastIndex = 1; STEP.lastIndex < text.length;) {
    const step = STEP.exec(text);
    if (step === null) return undefined;
    const [, dotted, index, single, double] = step;
    path.push(index === undefined ? (dotted ?? single ?? double ?? "") : Number(index));
  }
  return path;
}
