/**
 * Assignments from service documents, with no controller: read at start, on change and on SIGHUP. A version change is a
 * small rollout of its own (rollout.ts).
 *
 * Errors  a bad file is refused with its problems (file:line:column), and what was before stays. At the agent's very
 *         first start there is nothing before: it ends, with the problems shown. A restarted one goes on with what it
 *         had last, says so, and waits for the file to be mended.
 * Half    a file that is being written is not taken: its content must stand still for a moment.
 */
import { readFileSync } from "node:fs";
import { basename, dirname } from "node:path";
import type { Applied, Rejected } from "../../../proto/contract/assignment.ts";
import { assignmentHash } from "../../../proto/contract/canonical.ts";
import { formatProblem, parseFiles } from "../../../proto/contract/spec/parse.ts";
import type { ServiceSpec } from "../../../proto/contract/spec/types.ts";
import type { Clock, Timer } from "../../../proto/kernel/clock.ts";
import type { Log } from "../../../proto/kernel/log.ts";
import type { AssignmentSource, SourcePort } from "../source.ts";
import { assigned, restore, step, take } from "./rollout.ts";
import type { LocalRollout } from "./rollout.ts";
import { watchFiles } from "./watch.ts";
import type { Watch } from "./watch.ts";

const STEADY_MS = 50;
const STEP_MS = 100;

export interface StaticOptions {
  readonly files: readonly string[];
  readonly host: string;
  readonly clock: Clock;
  readonly log: Log;
}

type Reading =
  | { readonly kind: "ok"; readonly text: string; readonly specs: readonly ServiceSpec[] }
  | { readonly kind: "bad"; readonly text: string; readonly problems: readonly string[] };
type Rollouts = ReadonlyMap<string, LocalRollout>;

export class StaticSource implements AssignmentSource {
  readonly #options: StaticOptions;
  readonly #port: SourcePort;
  #rollouts: Rollouts = new Map();
  /** The newest that the core could apply: what stays when the next can't be. */
  #accepted: Rollouts = new Map();
  #text: string | null = null;
  #problems: readonly string[] = [];
  #generation: number;
  #offered = "";
  #watch: Watch | undefined;
  #timer: Timer | undefined;
  #steadying: Timer | undefined;

  constructor(options: StaticOptions, port: SourcePort) {
    this.#options = options;
    this.#port = port;
    this.#generation = port.lastGood?.generation ?? 0;
  }

  start(): void {
    const { files, clock, log } = this.#options;
    const { lastGood } = this.#port;
    const reading = read(files);
    this.#text = reading.text;
    if (reading.kind === "ok") this.#take(reading.specs, false);
    else if (lastGood === null) {
      this.#port.fail(reading.problems);
      return;
    } else {
      this.#refuse(reading.problems, "going on with what was applied last");
      this.#port.restore(lastGood);
    }
    this.#watch = watchFiles(files, clock, log, () => this.#look());
    this.#stepIn();
  }

  applied(_applied: Applied): void {
    this.#accepted = this.#rollouts;
    this.#problems = [];
  }

  rejected(rejected: Rejected): void {
    this.#rollouts = this.#accepted;
    this.#offered = "";
    this.#refuse([rejected.why], "what was before stays");
    const { lastGood } = this.#port;
    // Nothing was ever applied in this boot, and nothing will be: its operator is looking at the screen.
    if (this.#accepted.size === 0 && this.#port.applied() === null && lastGood === null) {
      this.#port.fail([rejected.why]);
    }
  }

  changed(): void {
    this.#step();
  }

  hup(): void {
    this.#options.log.info({ files: this.#options.files }, "SIGHUP: reading the files again");
    this.#reread(true);
  }

  troubles(): readonly string[] {
    return this.#problems;
  }

  stop(): void {
    this.#watch?.close();
    this.#timer?.cancel();
    this.#steadying?.cancel();
  }

  /** Something may have changed: wait until it stands still. */
  #look(): void {
    const { files, clock } = this.#options;
    const { text } = read(files);
    if (text === this.#text) return;
    this.#steadying?.cancel();
    this.#steadying = clock.after(STEADY_MS, () => {
      if (read(files).text === text) this.#reread(false);
      else this.#look();
    });
  }

  #reread(anew: boolean): void {
    const reading = read(this.#options.files);
    if (reading.text === this.#text && !anew) return;
    this.#text = reading.text;
    if (reading.kind === "ok") this.#take(reading.specs, anew);
    else this.#refuse(reading.problems, "what was before stays");
  }

  #take(specs: readonly ServiceSpec[], anew: boolean): void {
    this.#problems = [];
    const now = this.#options.clock.monotonic();
    const rollouts = new Map<string, LocalRollout>();
    for (const spec of specs) {
      const before = this.#rollouts.get(spec.name) ?? this.#restored(spec);
      rollouts.set(spec.name, take(spec, before, now, anew));
    }
    this.#rollouts = rollouts;
    this.#offer();
  }

  /** As it was before the agent was restarted, and only then. */
  #restored(spec: ServiceSpec): LocalRollout | undefined {
    if (this.#rollouts.size > 0) return undefined;
    const service = this.#port.lastGood?.services.find(({ name }) => name === spec.name);
    return service === undefined ? undefined : restore(service, spec, this.#options.clock.monotonic());
  }

  #refuse(problems: readonly string[], consequence: string): void {
    this.#problems = problems;
    for (const problem of problems) this.#options.log.error({ problem }, `refused: ${problem}; ${consequence}`);
  }

  #offer(): void {
    const services = [...this.#rollouts.values()].map(assigned);
    const hash = assignmentHash(services);
    if (hash === this.#offered) return;
    this.#offered = hash;
    this.#generation += 1;
    this.#port.offer({ epoch: 0, generation: this.#generation, hash, services });
  }

  #step(): void {
    const { clock, log, host } = this.#options;
    if (![...this.#rollouts.values()].some(({ next }) => next !== null)) return;
    const facts = { now: clock.monotonic(), wall: clock.now(), host, instances: this.#port.instances() };
    const rollouts = new Map<string, LocalRollout>();
    for (const [name, before] of this.#rollouts) {
      const { rollout, outcome } = step(before, facts);
      rollouts.set(name, rollout);
      if (outcome?.kind === "promoted") log.info({ service: name }, outcome.message);
      if (outcome?.kind === "refused") this.#refuse([outcome.message], "mend the document, or say SIGHUP to try again");
    }
    this.#rollouts = rollouts;
    this.#offer();
  }

  #stepIn(): void {
    this.#timer = this.#options.clock.every(STEP_MS, () => this.#step());
  }
}

function read(files: readonly string[]): Reading {
  const sources: { file: string; text: string; baseDir: string }[] = [];
  const unreadable: string[] = [];
  for (const file of files) {
    try {
      sources.push({ file: basename(file), text: readFileSync(file, "utf8"), baseDir: dirname(file) });
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      unreadable.push(`${file}: ${code === "ENOENT" ? "there is no such file" : message}`);
    }
  }
  const text = JSON.stringify([sources, unreadable]);
  if (unreadable.length > 0) return { kind: "bad", text, problems: unreadable };
  const parsed = parseFiles(sources);
  if (parsed.kind === "invalid") return { kind: "bad", text, problems: parsed.problems.map(formatProblem) };
  return { kind: "ok", text, specs: parsed.services.map(({ spec }) => spec) };
}
