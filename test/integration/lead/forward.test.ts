import { randomBytes } from "node:crypto";
import { Metadata, status } from "@grpc/grpc-js";
import type { sendUnaryData, ServerUnaryCall } from "@grpc/grpc-js";
import { expect, test } from "vitest";
import { answerForwarded, forwardOver } from "../../../control/api/forward.ts";
import type { OperatorServer } from "../../../control/api/service.ts";
import type { Ground } from "../../../control/desk.ts";
import { openReplica } from "../../../control/replica.ts";
import { openNatsStore } from "../../../control/store/nats/open.ts";
import { LIMITS } from "../../../proto/contract/limits.ts";
import { natsNames } from "../../../proto/contract/nats.ts";
import { OperatorService, RolloutView } from "../../../proto/gen/baton/v1/operator.ts";
import { silentLog } from "../../../proto/kernel/log.ts";
import { systemClock, systemRandom } from "../../../proto/runtime/system-clock.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { startNats } from "../../support/nats.ts";
import { until } from "../../support/processes.ts";

const names = natsNames("baton");
const request = OperatorService.pause.requestSerialize({ service: "shop", reason: "", actor: "ann" });
const view: RolloutView = { ...RolloutView.decode(new Uint8Array()), id: "shop-1" };
const asked = { method: "Pause", actor: "ann", request };

test("an answer that is more than NATS takes comes whole where it can, and else is told as done; the leader lives on", async () => {
  await using nats = await startNats();
  const [leader, follower] = [await nats.link(), await nats.link()];
  const most = follower.connection.info?.max_payload ?? 0;
  let message = "x".repeat(2 * most);
  // As the leader's own: it answers in a later turn, where nobody would catch what is thrown.
  const pause = (_call: unknown, callback: sendUnaryData<unknown>): void => {
    setImmediate(() => callback(null, { ...view, message }));
  };
  const trusted = { pause } as unknown as OperatorServer;
  const unanswer = answerForwarded(leader, names.operate, { trusted, position: 7 });
  const forward = forwardOver(follower, names.operate, systemClock);
  const whole = await forward(asked);
  expect(whole).toMatchObject({ code: 0, position: 7n });
  expect(RolloutView.decode(whole.response).message).toBe(message);

  message = randomBytes(most).toString("base64");
  expect(message.length).toBeLessThan(LIMITS.messageBytes);
  const done = await forward(asked);
  expect(done.code).toBe(status.RESOURCE_EXHAUSTED);
  expect(done.details).toMatch(/^it is done, but what it shows has \d+ bytes, and NATS takes/);
  unanswer();
});

test("a write that was passed on is answered when its follower's time is over, and not some seconds later", async () => {
  await using nats = await startNats();
  const link = await nats.link();
  const store = await openNatsStore({ link, names, clock: systemClock, log: silentLog });
  // It stands still: whoever waits for a time to pass waits for ever.
  const clock = new FakeClock();
  const ground: Ground = {
    ...{ id: "c1", software: "test", startedAtMs: 0, clock, random: systemRandom, log: silentLog },
    ...{ now: () => clock.now(), operatorToken: null, leaseMs: 1_000, reportEveryMs: 1_000 },
    measure: () => Promise.reject(new Error("followers measure nothing")),
    ...{ leader: () => "c2", troubles: () => [] },
  };
  const response = Buffer.from(RolloutView.encode(view).finish());
  let passedOn = 0;
  const desk = await openReplica({
    ...{ ground, store, gap: () => undefined },
    sessions: () => ({ trouble: "", stop: () => Promise.resolve() }),
    // What the leader has stored by then is never heard here.
    forward: () => Promise.resolve({ code: 0, details: "", response, position: BigInt(++passedOn + 1_000) }),
  });
  let answered: string | undefined;
  const call = { request: OperatorService.pause.requestDeserialize(request), metadata: new Metadata() };
  desk.operators.pause(call as unknown as ServerUnaryCall<never, RolloutView>, (error, shown) => {
    answered = error === null ? shown?.id : String(error.details);
  });
  await until("it is passed on", () => passedOn === 1);
  await desk.stop("it leads now");
  await until("it is answered", () => answered !== undefined);
  expect(answered).toBe("shop-1");
  await store.close();
});
