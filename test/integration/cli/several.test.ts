/**
 * Several controllers, as the command line sees them: what it asks the next one, and what it must not ask twice. The
 * controllers are servers on the wire that answer as scripted.
 */
import { Server, ServerCredentials, status } from "@grpc/grpc-js";
import type { handleUnaryCall, ServerWritableStream } from "@grpc/grpc-js";
import { Metadata } from "@grpc/grpc-js";
import { expect, test } from "vitest";
import { Api, Controller } from "../../../control/cli/client.ts";
import { follow } from "../../../control/cli/follow.ts";
import { EXIT } from "../../../proto/contract/limits.ts";
import { OperatorService, RolloutView } from "../../../proto/gen/baton/v1/operator.ts";
import type { GetRolloutRequest } from "../../../proto/gen/baton/v1/operator.ts";
import { until } from "../../support/processes.ts";

type Watch = ServerWritableStream<GetRolloutRequest, RolloutView>;
type Answer = Parameters<handleUnaryCall<unknown, unknown>>[1];

class Scripted implements Disposable {
  readonly #server = new Server();
  /** What was asked, by method, in order. */
  readonly asked: string[] = [];
  address = "";
  unary: (method: string, answer: Answer) => void = (_, answer) => answer(null, {});
  watch: (call: Watch) => void = () => undefined;

  static async start(): Promise<Scripted> {
    const one = new Scripted();
    const handlers = Object.fromEntries(
      Object.entries(OperatorService).map(([name, { responseStream }]) => [
        name,
        responseStream
          ? (call: Watch) => {
              one.asked.push(name);
              one.watch(call);
            }
          : (_: unknown, answer: Answer) => {
              one.asked.push(name);
              one.unary(name, answer);
            },
      ]),
    );
    one.#server.addService(OperatorService, handlers);
    const port = await new Promise<number>((resolve, reject) => {
      one.#server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) => {
        if (error === null) resolve(bound);
        else reject(error);
      });
    });
    one.address = `127.0.0.1:${String(port)}`;
    return one;
  }

  /** As a killed process does: every connection is gone at once. */
  [Symbol.dispose](): void {
    this.#server.forceShutdown();
  }
}

const unavailable = (details: string, notDone: boolean) => {
  const metadata = new Metadata();
  if (notDone) metadata.set("baton-not-done", "1");
  return { code: status.UNAVAILABLE, details, metadata };
};
const view = (changes: Partial<RolloutView>): RolloutView => {
  const plain = RolloutView.decode(new Uint8Array());
  return { ...plain, id: "shop-r2-x", service: "shop", phase: "Progressing", stage: "Step", ...changes };
};
const deploy = { service: "shop", version: "v2", revision: 0, actor: "ann" };

function of(...all: readonly Scripted[]): { readonly controller: Controller; readonly told: string[] } & Disposable {
  const controller = new Controller({ controllers: all.map(({ address }) => address), timeoutMs: 3_000 });
  const told: string[] = [];
  controller.told = (line) => told.push(line);
  return { controller, told, [Symbol.dispose]: () => controller[Symbol.dispose]() };
}

test("a change that a lost controller may have made is not asked of another one; what is only looked at is", async () => {
  using first = await Scripted.start();
  using second = await Scripted.start();
  using to = of(first, second);
  first.unary = () => first[Symbol.dispose]();
  await expect(to.controller.call(Api.deploy, deploy)).rejects.toMatchObject({
    exitCode: EXIT.unreachable,
    message: expect.stringMatching(
      /was lost before it answered .* may have been done or not; look before you do it again/,
    ) as string,
  });
  expect(second.asked).toEqual([]);
  second.unary = (_, answer) => answer(null, { hosts: [] });
  await to.controller.call(Api.listHosts, {});
  expect(second.asked).toEqual(["listHosts"]);
  expect(to.told).toEqual([
    `the controller at ${first.address} can't be reached (nothing listens there (ECONNREFUSED)); asking ${second.address}`,
  ]);
});

test("a change that was certainly not made is asked of the next one, and again while nobody leads", async () => {
  using first = await Scripted.start();
  using second = await Scripted.start();
  using to = of(first, second);
  first.unary = (_, answer) => answer(unavailable("no controller leads at the moment", true));
  let leads = false;
  second.unary = (_, answer) => {
    if (leads) answer(null, view({}));
    else answer(unavailable("no controller leads at the moment", true));
    leads = first.asked.length > 1;
  };
  expect(await to.controller.call(Api.deploy, deploy)).toMatchObject({ id: "shop-r2-x" });
  expect(to.told).toEqual(["no controller leads at the moment; waiting for it"]);
  expect(first.asked.length).toBeGreaterThan(1);
});

test("a controller that can't say whether it was done is believed, and nobody else is asked", async () => {
  using first = await Scripted.start();
  using second = await Scripted.start();
  using to = of(first, second);
  first.unary = (_, answer) => answer(unavailable("the leader did not answer in time; it may have been done", false));
  await expect(to.controller.call(Api.deploy, deploy)).rejects.toMatchObject({
    exitCode: EXIT.unreachable,
    message: "the leader did not answer in time; it may have been done",
  });
  expect(second.asked).toEqual([]);
});

test("while nobody leads anywhere, the call ends in time with the controllers' own words", async () => {
  using only = await Scripted.start();
  using to = of(only);
  only.unary = (_, answer) => answer(unavailable("no controller leads at the moment", true));
  await expect(to.controller.call(Api.deploy, deploy)).rejects.toMatchObject({
    exitCode: EXIT.unreachable,
    message: "no controller leads at the moment",
  });
  expect(only.asked.length).toBeGreaterThan(3);
});

test("a followed rollout goes on at the next controller, though that one hears of it a moment later", async () => {
  using first = await Scripted.start();
  using second = await Scripted.start();
  using to = of(first, second);
  first.watch = (call) => call.write(view({}));
  let heard = false;
  second.watch = (call) => {
    if (!heard) call.emit("error", { code: status.NOT_FOUND, details: "no rollout shop-r2-x" });
    else {
      call.write(view({ stage: "Succeeded", phase: "Healthy", ended: true, exitCode: 0 }));
      call.end();
    }
    heard = true;
  };
  const seen: string[] = [];
  const followed = follow(to.controller, {
    ...{ service: "shop", rollout: "shop-r2-x", timeoutMs: 20_000, quiet: true },
    onView: ({ stage }) => seen.push(stage),
  });
  await until("it is followed", () => seen.length === 1);
  first[Symbol.dispose]();
  expect(await followed).toMatchObject({ exitCode: EXIT.done, view: { stage: "Succeeded" } });
  expect(seen).toEqual(["Step", "Succeeded"]);
  expect(second.asked).toEqual(["watchRollout", "watchRollout"]);
});
