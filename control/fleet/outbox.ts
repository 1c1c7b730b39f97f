/**
 * What is on its way to one agent over a stream. A write that does not go out at once is waited for; meanwhile only the
 * newest assignment is kept: one is in flight at most, so an older one that waits was never seen, and the newer stands for
 * it.
 */
import type { ControllerMessage } from "../../proto/contract/session.ts";

export class Outbox {
  /** Answers false when no more should be written before `drained`. */
  readonly #write: (message: ControllerMessage) => boolean;
  #waiting: ControllerMessage[] = [];
  #blocked = false;

  constructor(write: (message: ControllerMessage) => boolean) {
    this.#write = write;
  }

  send(message: ControllerMessage): void {
    if (message.kind === "assignment") this.#waiting = this.#waiting.filter((m) => m.kind !== "assignment");
    this.#waiting.push(message);
    this.#pump();
  }

  /** The stream takes more; or it is about to end, and all that waits is left to it. */
  drained(): void {
    this.#blocked = false;
    this.#pump();
  }

  #pump(): void {
    while (!this.#blocked) {
      const next = this.#waiting.shift();
      if (next === undefined) return;
      this.#blocked = !this.#write(next);
    }
  }
}
