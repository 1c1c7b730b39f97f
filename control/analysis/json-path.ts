/** What a path of one value (proto/contract/spec/json-path.ts) leads to in a JSON document. */
import type { JsonPath } from "../../proto/contract/spec/json-path.ts";

/** undefined: there is nothing there, which JSON itself can't say. Names that objects inherit are not there. */
export function valueAt(json: unknown, path: JsonPath): unknown {
  let value = json;
  for (const step of path) {
    if (typeof step === "number") value = Array.isArray(value) ? (value as readonly unknown[])[step] : undefined;
    else value = isRecord(value) && Object.hasOwn(value, step) ? value[step] : undefined;
  }
  return value;
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
