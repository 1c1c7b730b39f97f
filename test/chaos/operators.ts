/**
 * The operators' side: asks whichever controller answers, and takes a refusal for an answer. A call that nobody answered
 * may have been carried out all the same; it is not said again.
 */
import { Api, Controller } from "../../control/cli/client.ts";
import { CliError } from "../../control/cli/errors.ts";
import { EXIT } from "../../proto/contract/limits.ts";
import type { Event, HostView, Info, RolloutView, ServiceView } from "../../proto/gen/baton/v1/operator.ts";

export type Said =
  | { readonly kind: "done"; readonly what: string }
  | { readonly kind: "refused"; readonly why: string }
  | { readonly kind: "unreachable"; readonly why: string };

const ASK_MS = 4_000;
const COMMAND_MS = 12_000;
const ACTOR = "chaos";
const EVENTS = 500;

export class Operators implements Disposable {
  readonly #readers: readonly Controller[];
  readonly #writers: readonly Controller[];
  #next = 0;

  constructor(addresses: readonly string[]) {
    this.#readers = addresses.map((address) => new Controller({ controllers: [address], timeoutMs: ASK_MS }));
    this.#writers = addresses.map((address) => new Controller({ controllers: [address], timeoutMs: COMMAND_MS }));
  }

  /** One controller's word on itself, by its place in the list; null when it does not answer. */
  info(at: number): Promise<Info | null> {
    return this.#readers[at]!.call(Api.getInfo, {}).catch(() => null);
  }

  /** Null while nobody answers. */
  async hosts(): Promise<readonly HostView[] | null> {
    return (await this.#ask((controller) => controller.call(Api.listHosts, {})))?.hosts ?? null;
  }

  /** Newest first. */
  async rollouts(): Promise<readonly RolloutView[] | null> {
    return (await this.#ask((controller) => controller.call(Api.listRollouts, { service: "" })))?.rollouts ?? null;
  }

  rollout(id: string): Promise<RolloutView | null> {
    return this.#ask((controller) => controller.call(Api.getRollout, { service: "", rollout: id }));
  }

  service(name: string): Promise<ServiceView | null> {
    return this.#ask((controller) => controller.call(Api.getService, { name }));
  }

  /** The newest, oldest first; null when nobody answers. */
  events(): Promise<readonly Event[] | null> {
    const request = { follow: false, service: "", limit: EVENTS, afterSeq: 0n };
    return this.#ask((controller) => Array.fromAsync(controller.stream(Api.events, request)));
  }

  apply(file: string, text: string): Promise<Said> {
    const documents = [{ file, text, baseDir: "/" }];
    return this.#say(async (controller) => {
      const { results } = await controller.call(Api.apply, { documents, deploy: true, dryRun: false });
      return results.map((one) => `${one.outcome} r${String(one.revision)} ${one.rollout}`).join(", ");
    });
  }

  command(verb: "pause" | "resume" | "abort" | "retry", service: string): Promise<Said> {
    const request = { service, reason: "chaos", actor: ACTOR };
    return this.#say(async (controller) => told(await controller.call(Api[verb], request)));
  }

  promote(service: string, full: boolean): Promise<Said> {
    return this.#say(async (controller) => told(await controller.call(Api.promote, { service, full, actor: ACTOR })));
  }

  undo(service: string): Promise<Said> {
    return this.#say(async (controller) =>
      told(await controller.call(Api.undo, { service, toRevision: 0, actor: ACTOR })),
    );
  }

  drain(host: string, drained: boolean): Promise<Said> {
    return this.#say(async (controller) => {
      const view = await controller.call(drained ? Api.drain : Api.undrain, { host, actor: ACTOR });
      return `${view.name} ${view.adminState}`;
    });
  }

  delete(name: string): Promise<Said> {
    return this.#say(async (controller) => {
      await controller.call(Api.deleteService, { name });
      return `${name} deleted`;
    });
  }

  [Symbol.dispose](): void {
    for (const controller of [...this.#readers, ...this.#writers]) controller[Symbol.dispose]();
  }

  async #ask<T>(question: (controller: Controller) => Promise<T>): Promise<T | null> {
    for (let tried = 0; tried < this.#readers.length; tried++) {
      try {
        return await question(this.#readers[this.#next]!);
      } catch (error) {
        if (!(error instanceof CliError)) throw error;
        if (error.exitCode !== EXIT.unreachable) return null;
        this.#next = (this.#next + 1) % this.#readers.length;
      }
    }
    return null;
  }

  async #say(what: (controller: Controller) => Promise<string>): Promise<Said> {
    try {
      return { kind: "done", what: await what(this.#writers[this.#next]!) };
    } catch (error) {
      if (!(error instanceof CliError)) throw error;
      return { kind: error.exitCode === EXIT.unreachable ? "unreachable" : "refused", why: error.message };
    }
  }
}

const told = (view: RolloutView): string => `${view.id} ${view.phase}/${view.stage} ${view.reason}`;
