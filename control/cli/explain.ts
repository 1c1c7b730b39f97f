/**
 * What went wrong with one attempt at a call, told apart by what it means for the next attempt, and in words for the
 * operator.
 *
 *   unreached  no connection was made, or what answers there is no controller: nothing was asked of one
 *   declined   the controller says that it did nothing and can't at the moment (nobody leads)
 *   unable     it says that it can't, in a sentence that tells what of it may have been done
 *   broken     the connection or the time was over before the answer: it may have been done
 *   answered   an answer, if not the hoped-for
 */
import { Metadata, status } from "@grpc/grpc-js";
import type { ServiceError } from "@grpc/grpc-js";
import { EXIT } from "../../proto/contract/limits.ts";
import { NOT_DONE } from "../../proto/contract/nats.ts";
import { CliError, NotFound } from "./errors.ts";

export type Failure = "unreached" | "declined" | "unable" | "broken" | "answered";

export function failureOf({ code, details, metadata }: ServiceError): Failure {
  // What comes from the other side brings its headers; what this side's library says for itself has none.
  if (metadata.get("content-type").length > 0) {
    if (code !== status.UNAVAILABLE) return "answered";
    return metadata.get(NOT_DONE).length > 0 ? "declined" : "unable";
  }
  if (/^(No connection established|Name resolution failed)/.test(details)) return "unreached";
  if (code === status.INTERNAL) return details.includes("RST_STREAM") ? "broken" : "answered";
  return LOST.has(code) ? "broken" : "answered";
}

const LOST: ReadonlySet<status> = new Set([status.UNAVAILABLE, status.CANCELLED, status.DEADLINE_EXCEEDED]);

const NOT_GRPC = "what answers there does not speak gRPC";
/** A proxy's own words for what is behind it: that may be a controller, and it may have been asked. */
const BEHIND: ReadonlySet<number> = new Set([502, 503, 504]);

/**
 * The same, except for an answer that is not gRPC, as a web server's 404: to the library that is the call's outcome.
 * @param headers of an answer that went on after them; what ended with its headers has them in the error
 */
export function heard(error: ServiceError, headers: Metadata | undefined): ServiceError {
  const [type] = (headers ?? error.metadata).get("content-type");
  const httpStatus = Number(/^Received HTTP status code (\d+)$/.exec(error.details)?.[1] ?? 0);
  const answered = headers !== undefined || type !== undefined || httpStatus !== 0;
  if (!answered || type?.toString().startsWith("application/grpc") === true) return error;
  if (!BEHIND.has(httpStatus)) return unreached(NOT_GRPC);
  const details = `a proxy answers there, with HTTP status ${String(httpStatus)}`;
  return Object.assign(new Error(details), { code: status.UNAVAILABLE, details, metadata: new Metadata() });
}

export function unreached(why: string): ServiceError {
  const details = `No connection established. Last error: ${why}. Resolution note:`;
  return Object.assign(new Error(why), { code: status.UNAVAILABLE, details, metadata: new Metadata() });
}

export function explain(error: ServiceError, at: string): CliError {
  const failure = failureOf(error);
  if (failure === "declined" || failure === "unable") return new CliError(error.details, EXIT.unreachable);
  if (failure === "broken" && error.code !== status.DEADLINE_EXCEEDED) {
    return new CliError(`the controller at ${at} went away: ${inShort(error.details)}`, EXIT.unreachable);
  }
  switch (error.code) {
    case status.UNAVAILABLE: {
      const why = inShort(error.details);
      const look =
        why === NOT_GRPC
          ? "Is it the controller's --grpc address?"
          : "Is it running (baton control), and is --controller right?";
      return new CliError(`the controller at ${at} can't be reached: ${why}. ${look}`, EXIT.unreachable);
    }
    case status.DEADLINE_EXCEEDED:
      return new CliError(`the controller at ${at} did not answer in time`, EXIT.unreachable);
    case status.UNAUTHENTICATED:
      return new CliError(`${error.details}. Pass --token-file with a token that it knows.`, EXIT.usage);
    case status.NOT_FOUND:
      return new NotFound(error.details, EXIT.usage);
    case status.INVALID_ARGUMENT:
      return new CliError(error.details, EXIT.usage);
    default:
      return new CliError(error.details === "" ? error.message : error.details, EXIT.failed);
  }
}

/** Of the library's long words, what an operator can use. */
export function inShort(details: string): string {
  const last = /Last error: (?:Error: )?(.*?)\.? Resolution note:/.exec(details)?.[1] ?? details;
  if (/^Protocol error|Parse Error/.test(last)) return NOT_GRPC;
  if (/^Name resolution failed/.test(last)) return "no such host name";
  return last.replace(/^connect (\w+).*$/, (all, code: string) => WORDS[code] ?? all);
}

const WORDS: Readonly<Record<string, string>> = {
  ECONNREFUSED: "nothing listens there (ECONNREFUSED)",
  EHOSTUNREACH: "there is no way to that host (EHOSTUNREACH)",
  ETIMEDOUT: "no answer (ETIMEDOUT)",
};
