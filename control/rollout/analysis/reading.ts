/** One measurement before it is counted, and what a metric's condition says of a figure. */
import { holds } from "../../../proto/contract/spec/condition.ts";
import type { MetricSpec } from "../../../proto/contract/spec/analysis.ts";
import type { SequentialEvidence, Verdict } from "../../model/analysis.ts";
import { figure } from "./words.ts";

export interface Reading {
  /** null: an error, or no data. */
  readonly value: number | null;
  readonly verdict: Verdict;
  readonly message: string;
  readonly evidence?: SequentialEvidence;
}

/** `what` is the figure's clause: "p99 of v2 is 512 ms in 1,203 answers". What is no number is no data. */
export function judge(spec: MetricSpec, value: number, what: string): Reading {
  if (!Number.isFinite(value)) return noData(`${what}, which is no figure to judge by`);
  const { success, failure } = spec;
  if (failure !== null && holds(failure, value)) {
    return { value, verdict: "failed", message: `${what}: ${failure.text} fails it` };
  }
  if (success !== null && holds(success, value)) {
    return { value, verdict: "successful", message: `${what}: ${success.text} holds` };
  }
  if (failure === null && success !== null) {
    return { value, verdict: "failed", message: `${what}: ${success.text} does not hold` };
  }
  if (success === null) {
    const why = failure === null ? "nothing is asked of it" : `${failure.text} does not hold`;
    return { value, verdict: "successful", message: `${what}: ${why}` };
  }
  const neither = `${what}: neither ${success.text} nor ${failure?.text ?? ""} holds`;
  return { value, verdict: "inconclusive", message: neither };
}

export function noData(message: string): Reading {
  return { value: null, verdict: "inconclusive", message };
}

/** A figure of a source outside the controller. */
export function judgeExternal(spec: MetricSpec, value: number): Reading {
  const shown = Number.isFinite(value) ? figure(value) : String(value);
  return judge(spec, value, `${spec.source.kind} says ${shown}`);
}
