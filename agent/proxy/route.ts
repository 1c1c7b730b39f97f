/** Where a request is to go: its service and rule, by listener, authority and head. One object an exchange, used again. */
import type { Context } from "./context.ts";
import { FAILURE } from "./errors.ts";
import type { Failure } from "./errors.ts";
import type { ListenerTable } from "./hosts.ts";
import { latin1 } from "./http1/framing.ts";
import { METHOD } from "./http1/request.ts";
import type { RequestHead } from "./http1/request.ts";
import { takes } from "./match.ts";
import { matchRule } from "./rules.ts";
import type { Rule } from "./rules.ts";
import type { Service } from "./service.ts";
import type { Subject } from "./subject.ts";

export class Route {
  service: Service | null = null;
  rule: Rule | null = null;

  /** Null, or why the request goes nowhere. `service` is set as far as it was found. */
  find(context: Context, listenerKey: string, head: RequestHead, bytes: Buffer): Failure | null {
    const { table, subject } = context;
    const listener = table.listeners.get(listenerKey);
    this.service = listener?.only ?? null;
    this.rule = this.service?.catchAll ?? null;
    if (this.rule === null) {
      if (table.sequence < 0) return FAILURE.noTable;
      subject.take(head, bytes);
      if (this.service !== null) this.rule = matchRule(this.service.rules, subject);
      else if (listener !== undefined) this.#byHost(listener, latin1(bytes, head.hostStart, head.hostEnd), subject);
      if (this.rule === null) return FAILURE.noRoute;
    }
    if (head.method === METHOD.trace) return FAILURE.trace;
    return head.maxForwards === 0 && head.method === METHOD.options ? FAILURE.lastHop : null;
  }

  #byHost(listener: ListenerTable, authority: string, subject: Subject): void {
    const host = listener.host(authority);
    if (host === null) return;
    if (host.only !== null) {
      this.service = host.only;
      this.rule = host.only.catchAll ?? matchRule(host.only.rules, subject);
      return;
    }
    for (const { service, rule } of host.rules) {
      if (!takes(rule.match, subject)) continue;
      this.service = service;
      this.rule = rule;
      return;
    }
  }
}
