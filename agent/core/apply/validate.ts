/**
 * What makes an assignment impossible on any host, found before anything is done about it. The wire's decoder has checked
 * shapes and ranges; here is what only the whole shows. Pure; one sentence a problem, for an operator.
 */
import type { Assignment } from "../../../proto/contract/assignment.ts";
import { assignmentHash } from "../../../proto/contract/canonical.ts";
import { LIMITS } from "../../../proto/contract/limits.ts";

export function problemsOf(assignment: Assignment): string[] {
  const { services } = assignment;
  const problems: string[] = [];
  if (assignmentHash(services) !== assignment.hash) problems.push("its hash is not its content's: it was damaged");
  if (services.length > LIMITS.servicesPerAgent) {
    problems.push(`${services.length} services; an agent takes at most ${LIMITS.servicesPerAgent}`);
  }
  for (const name of repeated(services.map((service) => service.name))) problems.push(`service ${name} is in it twice`);
  let instances = 0;
  for (const { name, listeners, revisions, endpoints } of services) {
    if (listeners.length > LIMITS.listenersPerService) {
      problems.push(`${name} has ${listeners.length} listeners; at most ${LIMITS.listenersPerService}`);
    }
    for (const revision of repeated(revisions.map((one) => String(one.revision)))) {
      problems.push(`${name} has revision ${revision} twice`);
    }
    for (const host of repeated(endpoints.map((one) => one.host))) problems.push(`${name} has endpoint ${host} twice`);
    for (const { run } of revisions) instances += run.kind === "external" ? 0 : run.count;
  }
  if (instances > LIMITS.instancesPerHost) {
    problems.push(`${instances} instances; a host runs at most ${LIMITS.instancesPerHost}`);
  }
  return problems;
}

const repeated = (names: readonly string[]): string[] => [
  ...new Set(names.filter((name, at) => names.indexOf(name) !== at)),
];
