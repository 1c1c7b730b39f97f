/** The services of a run: the one under test, rolled by each episode, and one aside that comes and goes. */
import { documentOf, SERVICE, strategyOf } from "../e2e/strategies/documents.ts";
import type { Strategy } from "../e2e/strategies/documents.ts";
import type { Deployment } from "./schedule.ts";

export { SERVICE };
export const ASIDE = "aside";

export interface Wanted {
  readonly version: string;
  readonly deployment: Deployment;
  readonly port: number;
  /** Tells this run's apps from all others on the machine. */
  readonly run: string;
}

interface Document {
  readonly metadata: { name: string };
  readonly spec: { readonly run: { readonly process: { readonly env: Record<string, string> } } };
}

export function serviceDocument(wanted: Wanted): string {
  return documentFor(SERVICE, wanted);
}

export function asideDocument(wanted: Wanted): string {
  return documentFor(ASIDE, wanted);
}

function documentFor(name: string, { version, deployment, port, run }: Wanted): string {
  const { strategy, behaviour } = deployment;
  const text = documentOf({ version, behaviour, port, strategy: strategyOf(strategy, PATIENCE) });
  const document = JSON.parse(text) as Document;
  document.metadata.name = name;
  Object.assign(document.spec.run.process.env, { CHAOS_RUN: run, CHAOS_SERVICE: name });
  return JSON.stringify(document, null, 2);
}

/** A host that hangs for eight seconds, and one that starts again on a machine with a load of five, are not a bad version. */
const PATIENCE: Strategy = { healthyDeadline: "20s", progressDeadline: "60s" };

/** Of the strategy's policy: hosts that it may take out of serving at a time. */
export const maxOut = ({ strategy }: Deployment): number => (strategy === "rolling in place" ? 1 : 0);
