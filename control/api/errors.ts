/** One table from what went wrong to a gRPC status. The sentence is for the operator and is passed on as it stands. */
import { status } from "@grpc/grpc-js";
import type { Log } from "../../proto/kernel/log.ts";
import { Refusal } from "../refusal.ts";
import type { RefusalKind } from "../refusal.ts";
import { StoreFailed } from "../registry.ts";

export interface Status {
  readonly code: status;
  readonly details: string;
}

const CODES: Readonly<Record<RefusalKind, status>> = {
  invalid: status.INVALID_ARGUMENT,
  "not-found": status.NOT_FOUND,
  precondition: status.FAILED_PRECONDITION,
  unavailable: status.UNAVAILABLE,
};

/** A status goes as a header, in which a byte may take three; HTTP/2 clients take headers of 64 KiB in all. */
const DETAILS_BYTES = 16 << 10;

export function statusOf(error: unknown, log: Log): Status {
  if (error instanceof Refusal) return { code: CODES[error.kind], details: bounded(error.message) };
  if (error instanceof StoreFailed) return { code: status.UNAVAILABLE, details: bounded(error.message) };
  log.error({ err: error }, "an operator's call failed by a defect");
  return { code: status.INTERNAL, details: "the controller failed by a defect of its own; its log has the details" };
}

function bounded(details: string): string {
  const bytes = Buffer.from(details);
  if (bytes.length <= DETAILS_BYTES) return details;
  // What is cut in the middle of a character is not shown.
  const shown = bytes
    .subarray(0, DETAILS_BYTES)
    .toString()
    .replace(/\ufffd$/, "");
  return `${shown} … (${bytes.length - Buffer.byteLength(shown)} more bytes)`;
}
