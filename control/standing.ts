/** Where a revision stands that is to be served: it is already, a rollout is taking the service there, or neither. */
import type { Rollout } from "./model/rollout.ts";
import type { Revision, Service } from "./model/service.ts";
import { Refusal } from "./refusal.ts";
import type { Registry } from "./registry.ts";

/** @throws Refusal when what is under way has to end first */
export function standing(registry: Registry, service: Service, to: Revision): Rollout | "stable" | "elsewhere" {
  const { name, stable } = service;
  const waiting = registry.blockedOf(name);
  if (waiting?.to === to.revision) return waiting;
  const running = registry.activeOf(name);
  if (running === undefined) return stable === to.revision ? "stable" : "elsewhere";
  const { id } = running;
  const back = goingBack(running);
  if (back && running.to === to.revision) {
    const why = `${id} is going back from ${to.version}; deploy it again once that is over (\`baton rollout watch ${name}\`)`;
    throw new Refusal("precondition", why);
  }
  if (running.to === to.revision) return running;
  if (stable !== to.revision) return "elsewhere";
  if (!back) {
    const why = `${id} is moving ${name} away from ${to.version}; \`baton rollout abort ${name}\` goes back`;
    throw new Refusal("precondition", why);
  }
  const on =
    waiting === undefined
      ? `\`baton rollout watch ${name}\` follows it`
      : `\`baton rollout abort ${name}\` gives up ${waiting.id}, which is to follow`;
  throw new Refusal("precondition", `${id} is going back to ${to.version} already; ${on}`);
}

export const goingBack = ({ stage }: Rollout): boolean => stage.kind === "aborting" || stage.kind === "rolling-back";

export const servedAlready = ({ name }: Service, { version, revision }: Revision): string =>
  `${name} serves ${version} (r${String(revision)}) already; \`baton rollout history ${name}\` shows what else it can serve`;
