/** Small service documents, and what the parser makes of them. */
import { formatProblem, parseDocuments } from "../../proto/contract/spec/parse.ts";
import type { ParseResult } from "../../proto/contract/spec/parse.ts";
import type { ServiceSpec } from "../../proto/contract/spec/types.ts";

/** A small document with one line of `spec` more: line 8, column 3. */
export const withLine = (line: string): string => `apiVersion: baton/v1
kind: Service
metadata: { name: shop }
spec:
  version: v1
  listen: [{ port: 8080 }]
  run: { process: { command: [node, server.js] } }
  ${line}
`;

export function lines(result: ParseResult): string[] {
  return result.kind === "ok" ? [] : result.problems.map(formatProblem);
}

export const problemsOf = (text: string): string[] => lines(parseDocuments({ file: "shop.yaml", text }));

export function specOf(text: string, baseDir?: string): ServiceSpec {
  const read = parseDocuments({ file: "shop.yaml", text, ...(baseDir === undefined ? {} : { baseDir }) });
  if (read.kind === "invalid") throw new Error(lines(read).join("\n"));
  return read.services[0]!.spec;
}
