/** What a trial fleet kept on somebody else's NATS servers, taken away again. */
import { natsNames } from "../../../proto/contract/nats.ts";
import type { NatsOptions } from "../../../proto/contract/nats.ts";
import { silentLog } from "../../../proto/kernel/log.ts";
import { openNats } from "../../../proto/runtime/nats.ts";
import { systemClock, systemRandom } from "../../../proto/runtime/system-clock.ts";

const PATIENCE_MS = 5_000;

/** Answers "", or what is left there and why. */
export async function forget(nats: NatsOptions): Promise<string> {
  const names = natsNames(nats.cluster);
  const buckets = [names.storeBucket, names.headBucket, names.assignmentsBucket, names.leadBucket];
  const late = AbortSignal.timeout(PATIENCE_MS);
  try {
    const base = { clock: systemClock, random: systemRandom, log: silentLog };
    const link = await openNats({ ...base, nats, name: "baton up", signal: late });
    const manager = await link.connection.jetstreamManager();
    for (const bucket of buckets) {
      await manager.streams.delete(`KV_${bucket}`).catch((error: unknown) => {
        if (!(error instanceof Error) || !error.message.includes("stream not found")) throw error;
      });
    }
    await link.close();
    return "";
  } catch (error) {
    const why = late.aborted ? "they do not answer" : (error as Error).message;
    return `the buckets ${buckets.join(", ")} are left on ${nats.servers.join(", ")}: ${why}`;
  }
}
