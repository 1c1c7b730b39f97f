/**
 * Follows one rollout to its end: a live block on a terminal, a plain line at each change elsewhere. It survives a
 * controller that goes away for a while, even before the first answer: whoever follows was told of the rollout by it,
 * the rollout goes on in the agents, so the follower waits and asks again; where several addresses are known, at the next.
 *
 * Answers the exit code that the rollout's state calls for; EXIT.timeout when it has not ended in time, INTERRUPTED
 * when `signal` aborted.
 */
import { createLogUpdate } from "log-update";
import { EXIT } from "../../proto/contract/limits.ts";
import type { RolloutView } from "../../proto/gen/baton/v1/operator.ts";
import type { Controller } from "./client.ts";
import { Api } from "./client.ts";
import { CliError, NotFound } from "./errors.ts";
import { remark } from "./output.ts";
import { stepNow } from "./render/program.ts";
import { plainLine, rolloutBlock } from "./render/rollout.ts";

export interface FollowOptions {
  readonly service: string;
  readonly rollout: string;
  /** Milliseconds; null waits for ever. */
  readonly timeoutMs: number | null;
  /** Ends the following, not the rollout. */
  readonly signal?: AbortSignal;
  /** Nothing is shown; only the exit code counts. */
  readonly quiet?: boolean;
  /** Seen at every change, the last one included. */
  readonly onView?: (view: RolloutView) => void;
}

export interface Followed {
  readonly exitCode: number;
  readonly view: RolloutView | null;
}

/** A pause that ends by itself once a host is back is waited through; every other one wants a person. */
const wantsPerson = (view: RolloutView): boolean => view.phase === "Paused" && view.reason !== "FleetPartitioned";

/** 128 + SIGINT, as shells say it. */
export const INTERRUPTED = 130;
const RETRY_MS = 250;
const UNREACHABLE_PATIENCE_MS = 60_000;
/** Another controller hears of a rollout a moment after the one that began it. */
const UNHEARD_OF_PATIENCE_MS = 5_000;

export async function follow(controller: Controller, options: FollowOptions): Promise<Followed> {
  const screen = options.quiet === true ? quietScreen : process.stderr.isTTY ? liveScreen() : plainScreen();
  const deadline = new AbortController();
  const timer =
    options.timeoutMs === null
      ? null
      : setTimeout(() => {
          deadline.abort();
        }, options.timeoutMs);
  const over = options.signal === undefined ? deadline.signal : AbortSignal.any([deadline.signal, options.signal]);
  let last: RolloutView | null = null;
  let goneSince: number | null = null;
  const { told } = controller;
  controller.told = (line) => screen.moved(line);
  try {
    while (!over.aborted) {
      try {
        const request = { service: options.service, rollout: options.rollout };
        for await (const view of controller.stream(Api.watchRollout, request, over)) {
          goneSince = null;
          last = view;
          screen.show(view);
          options.onView?.(view);
          if (view.ended || wantsPerson(view)) return { exitCode: view.exitCode, view };
        }
      } catch (error) {
        goneSince ??= Date.now();
        if (Date.now() - goneSince > patience(error, controller)) throw error;
        if (controller.addresses.length === 1) {
          screen.note("the controller can't be reached; the agents go on, waiting for it");
        }
      }
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
    return { exitCode: options.signal?.aborted === true ? INTERRUPTED : EXIT.timeout, view: last };
  } finally {
    if (timer !== null) clearTimeout(timer);
    controller.told = told;
    screen.end();
  }
}

/** How long this may go on before it is the outcome, milliseconds. */
function patience(error: unknown, { addresses }: Controller): number {
  if (error instanceof NotFound && addresses.length > 1) return UNHEARD_OF_PATIENCE_MS;
  return error instanceof CliError && error.exitCode === EXIT.unreachable ? UNREACHABLE_PATIENCE_MS : -1;
}

interface Screen {
  show(view: RolloutView): void;
  /** Of the moment: gone with the next view. */
  note(text: string): void;
  /** Stays. */
  moved(text: string): void;
  end(): void;
}

const nothing = (): void => undefined;
const quietScreen: Screen = { show: nothing, note: nothing, moved: nothing, end: nothing };

function liveScreen(): Screen {
  const draw = createLogUpdate(process.stderr, { showCursor: true });
  let view: RolloutView | null = null;
  let note = "";
  const redraw = (): void => {
    if (view !== null) draw(rolloutBlock(view, Date.now()) + (note === "" ? "" : `\n\n${note}`));
  };
  const timer = setInterval(redraw, 1_000);
  return {
    show(next) {
      view = next;
      note = "";
      redraw();
    },
    note(text) {
      note = text;
      redraw();
    },
    moved: (text) => draw.persist(text),
    end() {
      clearInterval(timer);
      draw.clear(); // who follows prints how it ended
    },
  };
}

function plainScreen(): Screen {
  let last = "";
  const once = (line: string): void => {
    if (line !== last) remark(line);
    last = line;
  };
  // A line a change of stage, of step or of a host's stage: counts alone are not worth one.
  let key = "";
  return {
    show(view) {
      const hosts = view.hosts.map((host) => host.stage);
      const next = [view.stage, view.reason, view.phase, stepNow(view), ...hosts].join("|");
      if (next !== key) once(plainLine(view));
      key = next;
    },
    note: once,
    moved: remark,
    end: nothing,
  };
}
