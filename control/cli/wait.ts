/** The end of every command that moves a rollout: print what was started, or follow it to its end. */
import type { RolloutView } from "../../proto/gen/baton/v1/operator.ts";
import type { Controller } from "./client.ts";
import type { CommonOptions, WaitOptions } from "./context.ts";
import { follow, INTERRUPTED } from "./follow.ts";
import { print, remark } from "./output.ts";
import { rolloutBlock } from "./render/rollout.ts";

/** Answers the exit code. */
export async function finish(
  controller: Controller,
  view: RolloutView,
  options: CommonOptions & WaitOptions,
): Promise<number> {
  if (options.wait !== true && options.watch !== true) {
    print(options.output, view, () => rolloutBlock(view, Date.now()));
    if (!view.ended) remark(`\nFollow it with: baton rollout watch ${view.service}`);
    return 0;
  }
  const interrupted = new AbortController();
  const interrupt = (): void => interrupted.abort();
  process.once("SIGINT", interrupt);
  const followed = await follow(controller, {
    service: view.service,
    rollout: view.id,
    timeoutMs: options.timeout ?? null,
    signal: interrupted.signal,
    quiet: options.watch !== true && options.output !== "table",
  });
  process.off("SIGINT", interrupt);
  if (followed.exitCode === INTERRUPTED) {
    const { service } = view;
    remark(
      `the rollout goes on: \`baton rollout watch ${service}\` follows it, \`baton rollout abort ${service}\` takes it back`,
    );
    return INTERRUPTED;
  }
  const last = followed.view ?? view;
  print(options.output, last, () => rolloutBlock(last, Date.now()));
  return followed.exitCode;
}
