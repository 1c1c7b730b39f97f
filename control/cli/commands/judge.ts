/** baton judge: what the judge would have said of a recorded rollout, and when; and how a recording is made. */
import type { Command } from "commander";
import { InvalidArgumentError, Option } from "commander";
import { EXIT } from "../../../proto/contract/limits.ts";
import type { AnalysisRun, Verdict } from "../../model/analysis.ts";
import type { Judged, Recording } from "../../rollout/analysis/recorded.ts";
import { judgeRecorded } from "../../rollout/analysis/recorded.ts";
import type { CommonOptions } from "../context.ts";
import { connect, duration, positiveNumber, withController } from "../context.ts";
import { CliError } from "../errors.ts";
import { analysisOf } from "../judge/metrics.ts";
import type { MetricOptions } from "../judge/metrics.ts";
import { record } from "../judge/record.ts";
import { readRecording } from "../judge/recording.ts";
import type { Said } from "../judge/recording.ts";
import { print, remark, table } from "../output.ts";
import { count, span } from "../render/units.ts";

type JudgeOptions = CommonOptions & MetricOptions & Said & { record?: string; every: number };

const HELP = `
Judge the last release before the next one is judged by the same words:
  baton judge --record shop > shop.jsonl       while a rollout goes on, until it has ended
  baton judge shop.jsonl                       by the tests that every canary is judged by
  baton judge shop.jsonl --spec shop.yaml      by the analysis of its document
  baton judge shop.jsonl --metric errors --metric "p99 < 300"

Exit codes: 0 successful, 1 failed, 5 inconclusive, 2 usage.`;

const EXITS: Readonly<Record<Verdict, number>> = {
  successful: EXIT.done,
  failed: EXIT.failed,
  inconclusive: EXIT.inconclusive,
  error: EXIT.inconclusive,
};

export function addJudgeCommand(program: Command, done: (exitCode: number) => void): void {
  withController(
    program
      .command("judge")
      .description("judge recorded traffic of two versions as a rollout would have; or record it")
      .argument("[file]", "a recording: JSON or JSON lines; - is stdin")
      .option("--record <service>", "write a recording of the service's rollout to stdout, until it has ended")
      .option("--every <duration>", "how often to record", duration, 1_000)
      .option("--spec <file>", "judge by an analysis of this service document")
      .option("--service <name>", "this one of the document's services")
      .option("--analysis <id>", 'this one of its analyses: background, "step 3", prePromotion, postPromotion')
      .option("--metric <metric>", 'errors, latency, or a limit such as "p99 < 300"; may be given again', collect)
      .option("--interval <duration>", "measure this often")
      .option("--alpha <share>", "the chance of failing a version that is no worse", share)
      .option("--min-requests <number>", "of the canary, before there is a verdict on it", positiveNumber)
      .option("--canary <version>", "the version to judge, where the recording does not say")
      .option("--stable <version>", "the version beside it")
      .addOption(
        new Option("--counts <what>", "whether samples count from the beginning or since the sample before").choices([
          "totals",
          "windows",
        ]),
      )
      .addHelpText("after", HELP),
  ).action(async (file: string | undefined, options: JudgeOptions) => {
    if ((file === undefined) === (options.record === undefined)) {
      throw new CliError("give the recording to judge, or --record SERVICE to make one", EXIT.usage);
    }
    if (options.record !== undefined) done(await recordTo(options.record, options));
    else if (file !== undefined) done(judge(readRecording(file, options), options));
  });
}

async function recordTo(service: string, options: JudgeOptions): Promise<number> {
  using controller = connect(options);
  const interrupted = new AbortController();
  const interrupt = (): void => interrupted.abort();
  process.once("SIGINT", interrupt).once("SIGTERM", interrupt);
  const write = (line: string): void => void process.stdout.write(line);
  return await record(controller, { service, everyMs: options.every, signal: interrupted.signal, write });
}

function judge(recording: Recording, options: JudgeOptions): number {
  const asked = options.spec !== undefined || options.metric !== undefined;
  const blind = !asked && !timed(recording);
  const judged = judgeRecorded(analysisOf(blind ? { ...options, metric: ["errors"] } : options), recording);
  if (judged.kind === "refused") throw new CliError(judged.why, EXIT.usage);
  if (blind) remark("there are no latencies in the recording: it is judged by errors alone");
  if (judged.leftOut.length > 0) {
    remark(`left out: ${judged.leftOut.join(", ")}; what Prometheus, webhooks and commands said is in no recording`);
  }
  const shown = outcome(judged, recording);
  print(options.output, shown, () => block(shown));
  return EXITS[shown.verdict];
}

const timed = ({ samples }: Recording): boolean =>
  samples.some(({ versions }) => Object.values(versions).some(({ latency }) => latency.length > 0));

interface Outcome {
  readonly verdict: Verdict;
  readonly message: string;
  readonly canary: string;
  readonly stable: string | null;
  readonly fromMs: number;
  readonly toMs: number;
  readonly samples: number;
  /** When the analysis would have ended; null: not before the recording did. */
  readonly verdictAtMs: number | null;
  readonly afterMs: number;
  readonly metrics: readonly {
    readonly name: string;
    readonly verdict: Verdict | "running";
    readonly message: string;
    readonly counts: AnalysisRun["metrics"][number]["counts"];
  }[];
  readonly leftOut: readonly string[];
}

function outcome(judged: Extract<Judged, { kind: "judged" }>, { canary, stable, samples }: Recording): Outcome {
  const { run, verdictAtMs, leftOut } = judged;
  const [fromMs, toMs] = [samples[0]?.atMs ?? 0, samples.at(-1)?.atMs ?? 0];
  return {
    verdict: run.phase === "running" ? "inconclusive" : run.phase,
    message: run.message,
    ...{ canary, stable, fromMs, toMs, samples: samples.length, verdictAtMs },
    afterMs: (verdictAtMs ?? toMs) - fromMs,
    metrics: run.metrics.map(({ name, phase, message, counts }) => ({ name, verdict: phase, message, counts })),
    leftOut,
  };
}

function block(shown: Outcome): string {
  const { verdict, message, canary, stable, fromMs, toMs, samples, verdictAtMs, afterMs } = shown;
  const whole = span(toMs - fromMs);
  const when =
    verdictAtMs === null
      ? `at the end of the recording, after ${whole}`
      : `after ${span(afterMs)} of ${whole}, at ${new Date(verdictAtMs).toISOString()}`;
  const beside = stable === null ? "" : ` beside ${stable}`;
  const rows = shown.metrics.map(({ name, verdict: said, message: why, counts }) => {
    const { successful, failed, inconclusive } = counts;
    return [name, said, ...[successful, failed, inconclusive].map(count), why];
  });
  return [
    `${canary}${beside}: ${verdict} ${when} (${count(samples)} samples)`,
    message,
    "",
    table(["METRIC", "VERDICT", "SUCCESSFUL", "FAILED", "INCONCLUSIVE", "WHY"], rows),
  ].join("\n");
}

const collect = (text: string, before: readonly string[] | undefined): readonly string[] => [...(before ?? []), text];

function share(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !(value > 0 && value <= 0.5)) throw new InvalidArgumentError("Expected a share up to 0.5.");
  return value;
}
