/**
 * Records a rollout while it goes on: asks the controller for it again and again, and writes what each version has done
 * since the rollout began, one line of JSON a sample (judge/recording.ts says the format). Nothing is kept in the
 * controller, and the file is whole after every line.
 *
 * What a recording lacks: the sidecars' counts are all there (requests, 5xx, lost, latencies, in flight, ready), but
 * answers of Prometheus, webhooks and commands are not. It begins with its first sample: what came before is in the
 * totals, and is not judged.
 */
import { EXIT } from "../../../proto/contract/limits.ts";
import type { RolloutView, VersionView } from "../../../proto/gen/baton/v1/operator.ts";
import type { RecordedSample } from "../../rollout/analysis/recorded.ts";
import { Api } from "../client.ts";
import type { Controller } from "../client.ts";
import { CliError } from "../errors.ts";
import { INTERRUPTED } from "../follow.ts";
import { remark } from "../output.ts";
import { inBuckets } from "./recording.ts";

export interface RecordOptions {
  readonly service: string;
  readonly everyMs: number;
  readonly signal: AbortSignal;
  readonly write: (line: string) => void;
}

const UNREACHABLE_PATIENCE_MS = 60_000;

/** Answers the exit code: done when the rollout has ended, whichever way. */
export async function record(controller: Controller, options: RecordOptions): Promise<number> {
  const { service, everyMs, signal, write } = options;
  const first = await controller.call(Api.getRollout, { service, rollout: "" });
  if (first.ended) {
    throw new CliError(`rollout ${first.id} has ended: a recording is made while one goes on`, EXIT.usage);
  }
  const header = { canary: first.toVersion, stable: first.fromVersion === "" ? null : first.fromVersion };
  write(`${JSON.stringify({ ...header, counts: "totals" })}\n`);
  let goneSince: number | null = null;
  for (let view: RolloutView | null = first; !signal.aborted;) {
    if (view !== null) write(`${JSON.stringify(sampleOf(view, Date.now()))}\n`);
    if (view?.ended === true) {
      remark(`rollout ${view.id} has ended: ${view.stage}`);
      return EXIT.done;
    }
    await pause(everyMs, signal);
    try {
      view = await controller.call(Api.getRollout, { service: "", rollout: first.id });
      goneSince = null;
    } catch (error) {
      if (!(error instanceof CliError) || error.exitCode !== EXIT.unreachable) throw error;
      goneSince ??= Date.now();
      if (Date.now() - goneSince > UNREACHABLE_PATIENCE_MS) throw error;
      view = null; // the totals of the next sample make up for it
    }
  }
  return INTERRUPTED;
}

export function sampleOf({ versions }: Pick<RolloutView, "versions">, atMs: number): RecordedSample {
  const per = <T>(figure: (version: VersionView) => T): Record<string, T> =>
    Object.fromEntries(versions.map((version) => [version.version, figure(version)]));
  return {
    atMs,
    versions: per(({ requests, errors, lost, latency }) => ({
      ...{ requests: Number(requests), errors: Number(errors), lost: Number(lost) },
      latency: inBuckets(latency.map(({ belowUs, count }) => [Number(belowUs), Number(count)])),
    })),
    inFlight: per(({ inFlight }) => Number(inFlight)),
    ready: per(({ ready }) => ready),
  };
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
    if (signal.aborted) done();
  });
}
