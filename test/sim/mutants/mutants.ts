/**
 * One guard taken out at a time, with the production check that covers for it (control/rollout/invariants.ts): the
 * simulation has to notice each. An edit names its text exactly, so that one which no longer fits fails loudly.
 */
export interface Edit {
  readonly file: string;
  readonly text: string;
  readonly instead: string;
}

export interface Mutant {
  readonly name: string;
  /** What its finding is to begin with: the invariant, or the sentence of a liveness check. */
  readonly invariant: string;
  readonly what: string;
  readonly edits: readonly Edit[];
}

const check = (text: string): Edit => ({
  file: "control/rollout/invariants.ts",
  text,
  instead: text.replace(/\{$/, "{\n  if (Number(1) === 1) return [];"),
});
const CAPACITY = check(
  "function capacity(prior: HostTrack, next: HostTrack, evidence: Evidence): readonly Violation[] {",
);
const WEIGHTS = check("function weights(before: Rollout, after: Rollout, evidence: Evidence): readonly Violation[] {");
const RETIREMENT = check(
  "function retirement(prior: HostTrack, next: HostTrack, evidence: Evidence, context: Context): readonly Violation[] {",
);
const AVAILABILITY = check(
  "function availability(before: Rollout, after: Rollout, evidence: Evidence, context: Context): readonly Violation[] {",
);
const STOPPED = check(
  "function stopped(before: Rollout, after: Rollout, evidence: Evidence, context: Context): readonly Violation[] {",
);

export const MUTANTS: readonly Mutant[] = [
  {
    name: "I1 ready",
    invariant: "I1",
    what: "traffic turns to a version that was never ready",
    edits: [
      {
        file: "control/rollout/track.ts",
        text: `  if (!evidence.healthy(track.host, track.towards)) return wait(draft, track, \`for \${version} to be ready\`);
  if (!held(draft, track, track.healthyAtMs)) return wait(draft, track, \`for \${version} to stay ready\`);
  const exitsAllowed`,
        instead: "  const exitsAllowed",
      },
      CAPACITY,
      WEIGHTS,
    ],
  },
  {
    name: "I1 weight",
    invariant: "I1",
    what: "a step is asked for before the version is ready on every host that takes its share",
    edits: [
      {
        file: "control/rollout/track.ts",
        text: `  if (!evidence.healthy(track.host, track.towards)) return wait(draft, track, \`for \${version} to be ready\`);
  if (!held(draft, track, track.healthyAtMs)) return wait(draft, track, \`for \${version} to stay ready\`);
  const exitsAllowed = evidence.exits(track.host, track.towards);
  const shares`,
        instead: `  const splitsHere = track.way === "surge" && splits(draft.rollout) && !isBack(draft) && !programOver(draft.rollout);
  if (!splitsHere && !evidence.healthy(track.host, track.towards)) return wait(draft, track, \`for \${version} to be ready\`);
  if (!splitsHere && !held(draft, track, track.healthyAtMs)) return wait(draft, track, \`for \${version} to stay ready\`);
  const exitsAllowed = evidence.exits(track.host, track.towards);
  const shares`,
      },
      {
        file: "control/rollout/steps.ts",
        text: "  if (counted.some((t) => !evidence.confirmed(t.host) || !evidence.healthy(t.host, rollout.to))) return false;",
        instead: "  if (taking.some((t) => !evidence.confirmed(t.host))) return false;",
      },
      CAPACITY,
      WEIGHTS,
    ],
  },
  {
    name: "I2 drained",
    invariant: "I2",
    what: "what drains is stopped with requests in flight",
    edits: [
      {
        file: "control/rollout/drain.ts",
        text: '  if (inFlight === 0) return { kind: "drained" };',
        instead: '  if (inFlight >= 0) return { kind: "drained" };',
      },
      RETIREMENT,
    ],
  },
  {
    name: "I3 window",
    invariant: "I3",
    what: "hosts go out without regard to how many are out",
    edits: [
      {
        file: "control/rollout/window.ts",
        text: "  return down.size + (down.has(track.host) ? 0 : 1) <= unavailable;",
        instead: "  return down.size >= 0;",
      },
      {
        file: "control/rollout/window.ts",
        text: "  if (draft.ofAll(outInPlace) >= unavailable) return false;\n",
        instead: "",
      },
      AVAILABILITY,
    ],
  },
  {
    name: "I3 starts",
    invariant: "I3",
    what: "a host that is about to serve is taken out as one that serves nobody",
    edits: [
      {
        file: "control/rollout/evidence.ts",
        text: '        return inTime && i.state === "starting" && i.exit === "" && !i.wasReady;',
        instead: "        return false;",
      },
    ],
  },
  {
    name: "I4 epoch",
    invariant: "I4",
    what: "a controller that another has followed goes on deciding",
    edits: [
      {
        file: "control/rollout/engine.ts",
        text: "  if (ended(rollout) || context.epoch < rollout.epoch) return",
        instead: "  if (ended(rollout)) return",
      },
      {
        file: "control/rollout/invariants.ts",
        text: "  if (context.epoch < before.epoch || after.change <= before.change) {",
        instead: "  if (after.change <= before.change) {",
      },
    ],
  },
  {
    name: "I5 barrier",
    invariant: "I5",
    what: "a step goes on without the agent's confirmation",
    edits: [
      {
        file: "control/rollout/evidence.ts",
        text: "      view.appliedHash === view.askedHash\n",
        instead: "      view.appliedHash !== undefined\n",
      },
    ],
  },
  {
    name: "I5 in flight",
    invariant: "I5",
    what: "an old word counts while another assignment is on its way (ABA)",
    edits: [
      {
        file: "control/fleet/agent.ts",
        text: '    return this.inFlight === null || (this.inFlight.hashes[service] ?? "") === hash ? hash : "";',
        instead: "    return hash;",
      },
      {
        file: "control/fleet/agent.ts",
        text: '    if (this.applied !== null && !newer(live, this.applied)) return "";\n',
        instead: "",
      },
    ],
  },
  {
    name: "I6 pause",
    invariant: "I6",
    what: "a pause stops no host from beginning",
    edits: [{ file: "control/rollout/forward.ts", text: "  if (pause !== null) return;\n", instead: "" }, STOPPED],
  },
  {
    name: "I6 sick",
    invariant: "I6",
    what: "hosts follow one that is not well",
    edits: [
      {
        file: "control/rollout/window.ts",
        text: "  const sick = unhealthyBefore(draft);",
        instead: "  const sick = unhealthyBefore(draft).slice(0, 0);",
      },
      STOPPED,
    ],
  },
  {
    name: "I6 analysis",
    invariant: "I6",
    what: "a failed analysis stops nothing",
    edits: [
      {
        file: "control/rollout/analyses.ts",
        text: '  const failed = rollout.analyses.find((run) => run.phase === "failed");\n  return failed',
        instead: '  const failed = rollout.analyses.find((run) => run.id === "");\n  return failed',
      },
      STOPPED,
    ],
  },
  {
    name: "silent",
    invariant: "silent",
    what: "a pause names no command that moves it on",
    edits: [
      {
        file: "control/rollout/describe.ts",
        text: 'Manual: ["`resume` goes on"],',
        instead: "Manual: [],",
      },
    ],
  },
];
