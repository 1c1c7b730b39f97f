/** The end of every command that moves a rollout: print what was started, or follow it to its end. */
import type { RolloutView } from "../../proto/gen/baton/v1/operator.ts";
import { EXIT } from "../../proto/contract/limits.ts";
import { formatDuration } from "../../proto/contract/units.ts";
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
  if (options.wait === true || options.watch === true) return await waitFor(controller, view, options);
  if (options.timeout !== undefined) remark("--timeout is for --wait and --watch: nothing is waited for without them");
  print(options.output, view, () => rolloutBlock(view, Date.now()));
  if (!view.ended) remark(`\nFollow it with: baton rollout watch ${view.service}`);
  return 0;
}

/** The same of a rollout that is known by name alone: the controller may be gone since it said so. */
export async function waitFor(
  controller: Controller,
  { id, service }: Pick<RolloutView, "id" | "service">,
  options: CommonOptions & WaitOptions,
): Promise<number> {
  const interrupted = new AbortController();
  const interrupt = (): void => interrupted.abort();
  process.once("SIGINT", interrupt);
  const { exitCode, view } = await follow(controller, {
    service,
    rollout: id,
    timeoutMs: options.timeout ?? null,
    signal: interrupted.signal,
    quiet: options.watch !== true && options.output !== "table",
  });
  process.off("SIGINT", interrupt);
  if (exitCode === INTERRUPTED) {
    remark(
      `the rollout goes on: \`baton rollout watch ${service}\` follows it, \`baton rollout abort ${service}\` takes it back`,
    );
    return INTERRUPTED;
  }
  if (view === null) remark(`nothing was heard of ${id} in time; \`baton rollout status ${service}\` shows it`);
  else print(options.output, view, () => rolloutBlock(view, Date.now()));
  if (exitCode === EXIT.timeout && options.timeout !== undefined) {
    remark(
      `gave up waiting after ${formatDuration(options.timeout)}; the rollout goes on: \`baton rollout watch ${service}\``,
    );
  }
  return exitCode;
}
