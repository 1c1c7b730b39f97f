/** What must be remembered of a request's head once its bytes are gone: how it may be answered, and whether twice. */
import { latin1 } from "./framing.ts";
import { METHOD, isIdempotent } from "./request.ts";
import type { Service } from "../service.ts";
import type { RequestHead } from "./request.ts";

export class Terms {
  method: number = METHOD.get;
  /** Of the client's HTTP/1. */
  minor = 1;
  persistent = true;
  upgrade: "none" | "upgrade" | "websocket" = "none";
  expectContinue = false;
  /** The client is another Baton agent, which counts what is lost. A gateway's clients can't claim to be one. */
  fromBaton = false;
  #hasKey = false;

  note(head: RequestHead, service: Service | null): void {
    this.method = head.method;
    this.minor = head.minor;
    this.persistent = head.persistent;
    this.upgrade = head.upgradeField < 0 ? "none" : head.websocket ? "websocket" : "upgrade";
    this.expectContinue = head.expectContinue;
    this.fromBaton = head.fromBaton && service?.balances !== true;
    this.#hasKey = head.hasIdempotencyKey;
  }

  get toHead(): boolean {
    return this.method === METHOD.head;
  }

  /** R15: doing it twice is as good as once, by its method, its key, or the route's word. */
  repeatable(allowed: readonly string[], image: Buffer): boolean {
    if (isIdempotent(this.method) || this.#hasKey) return true;
    return allowed.length > 0 && allowed.includes(methodName(image));
  }
}

/** The first word of a request's image. */
function methodName(image: Buffer): string {
  return latin1(image, 0, Math.max(0, image.indexOf(32)));
}

/** For the log: what the image asks for, without the query. */
export function requestLine(image: Buffer): { readonly method: string; readonly path: string } {
  return { method: methodName(image), path: pathName(image) };
}

function pathName(image: Buffer): string {
  const from = image.indexOf(32) + 1;
  const to = image.indexOf(32, from);
  const target = latin1(image, from, Math.max(from, Math.min(to, from + 256)));
  const query = target.indexOf("?");
  return query === -1 ? target : target.slice(0, query);
}
