/**
 * What the reports prove, asked in the engine's words. Every answer is about what was *reported*: a host without news is
 * neither ready nor gone, so both questions answer "no" for it, and nothing is done on either (I5).
 *
 * The barrier is here: `confirmed` and `gatewaysConfirmed` compare what is live in the agents with what this very change
 * of the rollout asks for (R5).
 */
import type { HostTrack, Rollout } from "../model/rollout.ts";
import type { Revision } from "../model/service.ts";
import type { HostView, InstanceView } from "../model/view.ts";
import type { Context } from "./types.ts";

/** States in which an instance's process may still be there. */
const UP: ReadonlySet<InstanceView["state"]> = new Set(["starting", "ready", "serving", "draining", "stopping"]);

export class Evidence {
  readonly #rollout: Rollout;
  readonly #context: Context;
  readonly #gateways: readonly HostView[];

  constructor(rollout: Rollout, context: Context) {
    this.#rollout = rollout;
    this.#context = context;
    const moved = new Set(rollout.hosts.map((track) => track.host));
    this.#gateways = Object.values(context.view.hosts).filter(
      (view) => view.role === "gateway" && !moved.has(view.name),
    );
  }

  /** A host that the view does not know is one without news. */
  lease(host: string): HostView["lease"] {
    return this.#context.view.hosts[host]?.lease ?? "unknown";
  }

  live(host: string): boolean {
    return this.lease(host) === "live";
  }

  /** Given up for now: its lease ran out, and policy or operator said to go on without it. */
  leftBehind(host: string): boolean {
    if (this.lease(host) !== "lost") return false;
    return this.#rollout.strategy.onPartition === "continue" || this.#rollout.without.includes(host);
  }

  /** It serves what this change of the rollout asks of it. */
  confirmed(host: string): boolean {
    return this.#agrees(this.#context.view.hosts[host]);
  }

  /** Every gateway that counts has taken what this change asks; a silent one is waited for. */
  gatewaysConfirmed(): boolean {
    return this.unconfirmedGateways().length === 0;
  }

  unconfirmedGateways(): readonly string[] {
    return this.#gateways
      .filter((view) => !this.#agrees(view) && !this.leftBehind(view.name))
      .map((view) => view.name)
      .sort();
  }

  /** In flight from gateways to this host, as last reported. */
  towardsHost(host: string): number {
    return this.#gateways
      .filter((view) => view.lease === "live")
      .reduce((sum, view) => sum + (view.endpointInFlight[host] ?? 0), 0);
  }

  /** Every agent whose news the rollout depends on. */
  concerned(): readonly string[] {
    return [...this.#rollout.hosts.map((track) => track.host), ...this.#gateways.map((view) => view.name)];
  }

  /** Why it refused what it is asked; who serves what is asked has not refused it, whatever it said before. */
  rejected(host: string): string {
    const view = this.#context.view.hosts[host];
    return view === undefined || view.appliedHash === view.askedHash ? "" : view.rejected;
  }

  drained(host: string): boolean {
    return this.#context.view.hosts[host]?.adminState === "drain";
  }

  /** All wanted instances of the revision are ready, and not on their way out. */
  healthy(host: string, revision: number): boolean {
    return this.#ready(host, revision, false) >= this.#wanted(host, revision);
  }

  /** The same, where it does not matter that they drain: they were never told to stop. */
  up(host: string, revision: number): boolean {
    return this.#ready(host, revision, true) >= this.#wanted(host, revision);
  }

  /**
   * The host takes its share of traffic: some revision is ready here and serves, be it the one that is asked for or, on a
   * host that is behind, another. One that is moved in place counts as out until it has served for its bake, as a pod
   * does until `minReadySeconds`.
   */
  serves(track: HostTrack): boolean {
    if (track.way === "in-place" && track.stage !== "waiting" && track.stage !== "done") return false;
    if (!track.routed || !this.live(track.host) || this.drained(track.host)) return false;
    const serving = this.#all(track.host).filter((i) => i.healthySinceMs > 0 && i.state === "serving");
    return serving.some(({ revision }) => {
      return serving.filter((i) => i.revision === revision).length >= this.#wanted(track.host, revision);
    });
  }

  /**
   * Something of what it is asked to serve is ready here, or may be at any moment: started (its agent anew, mostly), not
   * exited since, never ready before, and with less than its deadline gone since this stage began. Taking such a host out
   * costs traffic, though it may not serve its whole share now.
   */
  mayServe({ host, routed, sinceMs, revisions }: HostTrack): boolean {
    if (!routed || this.drained(host)) return false;
    const inTime = this.#context.now < sinceMs + this.#rollout.strategy.healthyDeadlineMs;
    return revisions
      .filter(({ mode }) => mode === "serving")
      .flatMap(({ revision }) => this.instances(host, revision))
      .some((i) => {
        if (i.healthySinceMs > 0) return i.state === "ready" || i.state === "serving";
        return inTime && i.state === "starting" && i.exit === "" && !i.wasReady;
      });
  }

  /** It is asked to take traffic and has not said yet that it does: drained before, or with something else to apply. */
  comesBack(track: HostTrack): boolean {
    return track.routed && this.live(track.host) && !this.drained(track.host) && !this.confirmed(track.host);
  }

  /** The agent's own mark of when the last of them became ready: it changes when one was unready between two reports. */
  readyMark(host: string, revision: number): number {
    return Math.max(0, ...this.instances(host, revision).map((instance) => instance.healthySinceMs));
  }

  /**
   * How often instances of the revision have exited here. Not those that were told to stop: they are of an earlier
   * rollout, and their agent forgets them after a while, which must not make room for more exits of this one's.
   */
  exits(host: string, revision: number): number {
    return this.instances(host, revision).reduce((sum, instance) => {
      if (instance.state === "stopped") return sum;
      const down = instance.exit !== "" && instance.state === "failed";
      return sum + instance.restarts + (down ? 1 : 0);
    }, 0);
  }

  /** In flight on instances of any revision but this one. */
  inFlightBeside(host: string, revision: number): number {
    return this.#all(host)
      .filter((instance) => instance.revision !== revision)
      .reduce((sum, instance) => sum + instance.inFlight, 0);
  }

  inFlight(host: string, revision: number): number {
    return this.instances(host, revision).reduce((sum, instance) => sum + instance.inFlight, 0);
  }

  /** No process of any other revision is left. */
  alone(host: string, revision: number): boolean {
    return this.#all(host).every((instance) => instance.revision === revision || !UP.has(instance.state));
  }

  instances(host: string, revision: number): readonly InstanceView[] {
    return this.#all(host).filter((instance) => instance.revision === revision);
  }

  #all(host: string): readonly InstanceView[] {
    const view = this.#context.view.hosts[host];
    return view?.lease === "live" ? view.instances : [];
  }

  #agrees(view: HostView | undefined): boolean {
    return (
      view?.lease === "live" &&
      this.#context.view.change === this.#rollout.change &&
      // Nothing asked yet is not agreement about nothing.
      view.askedHash !== "" &&
      view.appliedHash === view.askedHash
    );
  }

  #ready(host: string, revision: number, draining: boolean): number {
    return this.instances(host, revision).filter(
      (instance) =>
        instance.healthySinceMs > 0 &&
        (instance.state === "ready" || instance.state === "serving" || (draining && instance.state === "draining")),
    ).length;
  }

  #wanted(host: string, number: number): number {
    const { from, to } = this.#context;
    const revision = to.revision === number ? to : from?.revision === number ? from : null;
    return revision === null ? 1 : wanted(revision, host);
  }
}

/** Instances that one host runs of a revision; at least one, so that nothing is never "all ready". */
export function wanted(revision: Revision, host: string): number {
  const { run, version } = revision.spec;
  if (run.kind !== "external") return Math.max(1, run.count);
  const own = run.instances.filter(
    (instance) => instance.version === version && (instance.host === null || instance.host === host),
  );
  return Math.max(1, own.length);
}
