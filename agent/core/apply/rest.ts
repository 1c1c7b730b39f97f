/**
 * What is left of an assignment when some of its services can't listen where they are asked to. Pure.
 *
 * A service that is stuck goes on as it was live, where it was; else the agent does without it. All others are taken as
 * they are asked for.
 */
import type { AssignedService, Assignment } from "../../../proto/contract/assignment.ts";
import { assignmentHash } from "../../../proto/contract/canonical.ts";

export function without(asked: Assignment, stuck: ReadonlySet<string>, live: Assignment | null): Assignment {
  return replaced(asked, (service) => {
    if (!stuck.has(service.name)) return [service];
    return (live?.services ?? []).filter((before) => before.name === service.name);
  });
}

/** What a restart begins with: as `without`, but what was never live is kept, to be tried again. */
export function kept(asked: Assignment, rest: Assignment): Assignment {
  return replaced(asked, (service) => [rest.services.find((one) => one.name === service.name) ?? service]);
}

function replaced(asked: Assignment, by: (service: AssignedService) => readonly AssignedService[]): Assignment {
  const services = asked.services.flatMap(by);
  return { ...asked, services, hash: assignmentHash(services) };
}
