/** A rollout's program for people: steps, split, analyses, and the agents that have yet to confirm. */
import pc from "picocolors";
import type { AnalysisView, MetricView, RolloutView, StepView } from "../../../proto/gen/baton/v1/operator.ts";
import { table } from "../output.ts";
import { percent, span } from "./units.ts";

/** Steps that are shown on either side of the present one; a program may have a hundred. */
const AROUND = 6;

export function programBlock(view: RolloutView, now: number): readonly string[] {
  const lines: string[] = [];
  if (view.fastTrack) lines.push("fast track: steps and analyses are passed over");
  if (view.program.length > 0) lines.push(...steps(view, now));
  const split = splitLine(view);
  if (split !== "") lines.push(split);
  if (view.analyses.length > 0) lines.push("", analysesTable(view.analyses));
  return lines;
}

/** `step 2/5 setWeight 20 %`; "" where there is no program, or it is over. */
export function stepNow(view: RolloutView): string {
  const at = view.program.find((step) => step.state === "current");
  return at === undefined ? "" : `step ${String(at.number)}/${String(view.program.length)} ${at.text}`;
}

function steps(view: RolloutView, now: number): readonly string[] {
  const { program } = view;
  const current = program.findIndex((step) => step.state === "current");
  const reached = program.findLastIndex((step) => step.state === "done");
  const centre = current >= 0 ? current : Math.max(0, reached);
  const from = Math.max(0, centre - AROUND);
  const shown = program.slice(from, centre + AROUND + 1).map((step) => stepLine(step, now));
  const after = program.length - from - shown.length;
  return [
    ...(from === 0 ? [] : [pc.dim(`  … ${String(from)} before`)]),
    ...shown,
    ...(after === 0 ? [] : [pc.dim(`  … ${String(after)} more`)]),
  ];
}

const MARKS: Readonly<Record<string, string>> = { done: "✓", current: "▶", "to come": "·", "not reached": "–" };

function stepLine(step: StepView, now: number): string {
  const text = `${MARKS[step.state] ?? " "} ${String(step.number)}  ${step.text}`;
  if (step.state === "done") return pc.green(text);
  return step.state === "current" ? `${pc.bold(text)}  ${progress(step, now)}` : pc.dim(text);
}

function progress(step: StepView, now: number): string {
  if (step.untilMs > 0n) return `${span(Number(step.untilMs) - now)} left`;
  if (step.confirmedAtMs > 0n) return `confirmed by every live agent ${span(now - Number(step.confirmedAtMs))} ago`;
  if (step.sinceMs > 0n) return `asked ${span(now - Number(step.sinceMs))} ago, not confirmed by all yet`;
  return "has not begun";
}

function splitLine({ split, ended }: RolloutView): string {
  if (split === undefined || ended) return "";
  const routes = split.routes.map((route) => {
    const share = route.kind === "mirror" ? ` ${percent(route.percentage)}` : "";
    return `${route.kind} route ${route.name}${share} (on ${String(route.hostsApplied)} of ${String(route.hostsAsked)} hosts)`;
  });
  const sticky = split.sticky === "" ? [] : [`sticky by ${split.sticky}`];
  return [`split: ${percent(split.weight)} to the new version`, ...sticky, ...routes].join(", ");
}

const PHASES: Readonly<Record<string, (text: string) => string>> = {
  successful: pc.green,
  failed: pc.red,
  inconclusive: pc.yellow,
  error: pc.yellow,
};

const coloured = (phase: string): string => (PHASES[phase] ?? ((text: string) => text))(phase);

function analysesTable(analyses: readonly AnalysisView[]): string {
  const rows = analyses.flatMap((run) => {
    const own = run.metrics.map((metric) => [
      run.id,
      `${metric.name}${note(metric)}`,
      coloured(metric.phase),
      counts(metric),
      last(metric),
      metric.message,
    ]);
    if (run.message === "" || run.phase === "running") return own;
    return [...own, [run.id, "", `${coloured(run.phase)}${run.accepted ? ", passed over" : ""}`, "", "", run.message]];
  });
  return table(["ANALYSIS", "METRIC", "PHASE", "OK/FAILED/INCONCL./ERRORS", "LAST", "WHAT"], rows);
}

function note({ dryRun, critical }: MetricView): string {
  if (dryRun) return " (dry run)";
  return critical ? "" : " (not critical)";
}

const counts = ({ successful, failed, inconclusive, errors }: MetricView): string =>
  [successful, failed, inconclusive, errors].join("/");

/** The newest figures, the latest last. */
function last({ recent }: MetricView): string {
  const values = recent.slice(-3).map(({ value }) => (value === undefined ? "–" : figure(value)));
  return values.length === 0 ? "–" : values.join(" ");
}

const figure = (value: number): string =>
  Number.isInteger(value) && Math.abs(value) < 1e6 ? String(value) : String(Number(value.toPrecision(3)));

/** Who has yet to apply what is asked, and why not. */
export function unconfirmedLines({ unconfirmed }: RolloutView): readonly string[] {
  return unconfirmed.map(({ host, role, state, why }) => {
    const name = role === "gateway" ? `gateway ${host}` : host;
    return `not confirmed: ${name} ${state === "lags" ? state : pc.red(state)} (${why})`;
  });
}
