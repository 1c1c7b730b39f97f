/** Where a request is to go: its service and rule, by listener, authority and path. One object an exchange, used again. */
import type { Context } from "./context.ts";
import { FAILURE } from "./errors.ts";
import type { Failure } from "./errors.ts";
import { latin1 } from "./http1/framing.ts";
import { METHOD } from "./http1/request.ts";
import type { RequestHead } from "./http1/request.ts";
import { matchRule } from "./rules.ts";
import type { Rule } from "./rules.ts";
import type { Service } from "./table.ts";

export class Route {
  service: Service | null = null;
  rule: Rule | null = null;

  /** Null, or why the request goes nowhere. `service` is set as far as it was found. */
  find(context: Context, listenerKey: string, head: RequestHead, bytes: Buffer): Failure | null {
    const { table } = context;
    const listener = table.listeners.get(listenerKey);
    this.rule = null;
    this.service = listener?.only ?? listener?.service(latin1(bytes, head.hostStart, head.hostEnd)) ?? null;
    if (this.service === null) return table.sequence < 0 ? FAILURE.noTable : FAILURE.noRoute;
    this.rule = this.service.catchAll ?? ruleFor(context, this.service, head, bytes);
    if (this.rule === null) return FAILURE.noRoute;
    if (head.method === METHOD.trace) return FAILURE.trace;
    return head.maxForwards === 0 && head.method === METHOD.options ? FAILURE.lastHop : null;
  }
}

function ruleFor({ subject }: Context, { rules }: Service, head: RequestHead, bytes: Buffer): Rule | null {
  subject.take(head, bytes);
  return matchRule(rules, subject);
}
