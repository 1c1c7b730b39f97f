/**
 * What a recording is judged by: an analysis out of a service document, metrics said on the command line, or the tests
 * that judge a canary whose document says nothing. All go through the one schema, so that words and defaults are the
 * same as in a document.
 *
 * Errors  CliError (exit 2).
 */
import { EXIT } from "../../../proto/contract/limits.ts";
import { didYouMean } from "../../../proto/contract/nearest.ts";
import type { AnalysisSpec } from "../../../proto/contract/spec/analysis.ts";
import { formatProblem, parseFiles } from "../../../proto/contract/spec/parse.ts";
import { formatPath } from "../../../proto/contract/spec/problem.ts";
import { background } from "../../../proto/contract/spec/schema-analysis.ts";
import type { StrategySpec } from "../../../proto/contract/spec/strategy.ts";
import { programOf } from "../../rollout/program.ts";
import { CliError } from "../errors.ts";
import { readDocuments } from "../files.ts";

export interface MetricOptions {
  readonly spec?: string;
  readonly service?: string;
  readonly analysis?: string;
  readonly metric?: readonly string[];
  readonly interval?: string;
  readonly alpha?: number;
  readonly minRequests?: number;
}

export function analysisOf(options: MetricOptions): AnalysisSpec {
  const { spec, metric = [] } = options;
  if (spec !== undefined) {
    const inline = ["metric", "interval", "alpha", "minRequests"] as const;
    const both = inline.find((name) => options[name] !== undefined);
    if (both !== undefined)
      throw wrong(`--spec says it all: leave out --${both === "minRequests" ? "min-requests" : both}`);
    return fromDocument(spec, options);
  }
  if (options.service !== undefined || options.analysis !== undefined) {
    throw wrong("--service and --analysis choose out of a document: give it with --spec");
  }
  return fromWords(metric.length > 0 ? metric : ["errors", "latency"], options);
}

function fromDocument(file: string, { service, analysis }: MetricOptions): AnalysisSpec {
  const read = parseFiles(readDocuments([file]));
  if (read.kind === "invalid") throw wrong(read.problems.map(formatProblem).join("\n"));
  const names = read.services.map(({ spec }) => spec.name);
  const [only] = names;
  if (service === undefined && names.length > 1) throw wrong(`${file}: choose with --service: ${names.join(", ")}`);
  const found = read.services.find(({ spec }) => spec.name === (service ?? only));
  if (found === undefined) throw wrong(`${file}: no service ${service ?? ""}${didYouMean(service ?? "", names)}`);
  const all = analysesIn(found.spec.strategy);
  const ids = [...all.keys()];
  const [first] = ids;
  if (first === undefined)
    throw wrong(`${file}: the strategy of ${found.spec.name} has no analysis; --metric says one here`);
  // The one in the background sees the whole rollout, as a recording does.
  const id = analysis ?? (ids.length === 1 ? first : ids.find((one) => one === "background"));
  const chosen = all.get(id ?? "");
  if (chosen !== undefined) return chosen;
  const which = analysis === undefined ? "choose with --analysis" : `no analysis "${analysis}"; there are`;
  throw wrong(`${file}: ${which}: ${ids.join(", ")}`);
}

/** By the names that `rollout status` shows. */
function analysesIn(strategy: StrategySpec): ReadonlyMap<string, AnalysisSpec> {
  const all = new Map<string, AnalysisSpec>();
  if (strategy.analysis !== null) all.set("background", strategy.analysis);
  for (const step of programOf({ strategy, fastTrack: false, from: 1 })) {
    if (step.kind === "analysis") all.set(step.id, step.analysis);
  }
  return all;
}

const FIGURE = /^\s*([A-Za-z]\w*)\s*([<>=!].*)$/;

/** `errors`, `latency`: the sequential test. `p99 < 300`, `successRate >= 0.99`: a limit on the canary's own figure. */
function fromWords(words: readonly string[], { interval, alpha, minRequests }: MetricOptions): AnalysisSpec {
  const said = words.map((word) => {
    const [, of = word.trim(), condition] = FIGURE.exec(word) ?? [];
    return { of, condition };
  });
  const metrics = said.map(({ of, condition }, i) => ({
    name: said.findIndex((one) => one.of === of) === i ? of : `${of}-${String(i + 1)}`,
    ...(interval === undefined ? {} : { interval }),
    ...(condition === undefined
      ? { sequential: given({ of, alpha, minRequests }) }
      : { traffic: { of }, successCondition: `result ${condition}` }),
  }));
  const read = background.safeParse({ metrics });
  if (read.success && read.data !== null) return read.data;
  const problems = (read.error?.issues ?? []).map(({ path: [, at, ...rest], message }) => {
    const where = formatPath(rest.map((step) => (typeof step === "number" ? step : String(step))));
    return `--metric "${words[Number(at)] ?? ""}": ${where === "" ? "" : `${where}: `}${message}`;
  });
  throw wrong([...new Set(problems)].join("\n"));
}

const given = (options: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> =>
  Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));

const wrong = (message: string): CliError => new CliError(message, EXIT.usage);
