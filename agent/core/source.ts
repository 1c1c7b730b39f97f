/** Where assignments come from: the controller (session/) or files (static/). One of them, for the core's whole life. */
import type { Applied, Assignment, Rejected } from "../../proto/contract/assignment.ts";
import type { InstanceReport, Report } from "../../proto/contract/report.ts";

export interface AssignmentSource {
  start(): void;
  /** What was offered is live in every worker. May be said again for the same one. */
  applied(applied: Applied): void;
  /** What was offered can't be applied; the one before stays. */
  rejected(rejected: Rejected): void;
  /** An instance, the applied assignment or the incidents are another now: worth telling at once. */
  changed(): void;
  /** SIGHUP. */
  hup(): void;
  /** One clause each for what keeps it from its work, for /readyz and people; [] when nothing does. */
  troubles(): readonly string[];
  stop(): void;
}

/** What a source may ask of the core. */
export interface SourcePort {
  readonly boot: string;
  /** What the agent was live with before it was restarted; null at its first start, or when that was damaged. */
  readonly lastGood: Assignment | null;
  highestEpoch(): number;
  /** An epoch was heard of: none below it is taken from now on (I4). */
  sawEpoch(epoch: number): void;
  applied(): Applied | null;
  /** Takes it without asking for the fence: it is the agent's own last good one. */
  restore(assignment: Assignment): void;
  offer(assignment: Assignment): void;
  report(): Report;
  instances(): readonly InstanceReport[];
  /** It can't begin at all: the sentences are shown to whoever started the agent, and the agent ends. */
  fail(sentences: readonly string[]): void;
}
