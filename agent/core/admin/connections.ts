/**
 * What is connected now: asked of every worker, bounded in number and time.
 *
 * Errors  a worker that does not answer in time is listed as such; the others' answers stand.
 */
import type { Clock } from "../../../proto/kernel/clock.ts";
import type { KeeperLink } from "../keeper-link.ts";

const ANSWER_MS = 1_000;
const DEFAULT_LIMIT = 100;
const MAX_LIMIT = 10_000;

export interface WorkerConnections {
  readonly worker: number;
  readonly pid: number;
  readonly generation: number;
  readonly phase: string;
  readonly answered: boolean;
  readonly connections: readonly unknown[];
}

export async function connectionsOf(
  link: KeeperLink,
  clock: Clock,
  asked: string | null,
): Promise<{ readonly limit: number; readonly workers: readonly WorkerConnections[] }> {
  const number = Number(asked ?? DEFAULT_LIMIT);
  const limit = Number.isInteger(number) && number > 0 ? Math.min(number, MAX_LIMIT) : DEFAULT_LIMIT;
  const workers = [...link.workers.values()].map(async ({ id, pid, generation, phase }) => {
    const question = link.connections(id, limit);
    let answered = true;
    const timer = clock.after(ANSWER_MS, () => {
      answered = false;
      question.stop();
    });
    const connections = (await question.list).slice(0, limit);
    timer.cancel();
    return { worker: id, pid, generation, phase, answered, connections };
  });
  return { limit, workers: await Promise.all(workers) };
}
