/** Which source answers a measurement. The controller's side effects towards all of them are `Sources`. */
import type { Clock } from "../../proto/kernel/clock.ts";
import type { Leave } from "./command.ts";
import { runCommand } from "./command.ts";
import { askPrometheus } from "./prometheus.ts";
import type { ExternalSource, Outcome, Subject } from "./source.ts";
import { askWebhook } from "./webhook.ts";

export interface Sources {
  readonly clock: Clock;
  /** null: commands are not run. */
  readonly commands: Leave | null;
  /** Origin → bearer token. */
  readonly tokens: ReadonlyMap<string, string>;
}

/** Resolves with an outcome, in bounded time, and promptly once `signal` aborts; it never rejects. */
export type Measure = (source: ExternalSource, subject: Subject, signal: AbortSignal) => Promise<Outcome>;

export const measureWith =
  ({ clock, commands, tokens }: Sources): Measure =>
  (source, subject, signal) => {
    switch (source.kind) {
      case "prometheus":
        return askPrometheus(source, subject, { clock, signal, tokens });
      case "webhook":
        return askWebhook(source, subject, { clock, signal, tokens });
      case "command":
        return runCommand(source, subject, { clock, signal, leave: commands });
    }
  };
