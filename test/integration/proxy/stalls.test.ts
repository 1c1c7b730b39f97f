/** R1, when the worker itself stands still: a machine that is suspended, a container that is stopped, a starved core. */
import { Worker } from "node:worker_threads";
import { expect, test } from "vitest";
import { endpoint, Kit } from "../../support/proxy-kit.ts";
import type { Play } from "./stall-peers.ts";

type Told =
  | { readonly kind: "ready"; readonly port: number }
  | { readonly kind: "stop" }
  | { readonly kind: "answered"; readonly told: readonly string[] };

/** Nothing of this thread runs meanwhile. */
const standStill = (ms: number): void => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);

/** What two clients are told, of whom the second asks while the proxy stands still. */
async function told(kit: (port: number) => Promise<Kit>, workerData: Play): Promise<void> {
  const peers = new Worker(new URL("./stall-peers.ts", import.meta.url), { workerData });
  const ready = Promise.withResolvers<number>();
  const answered = Promise.withResolvers<readonly string[]>();
  peers.on("error", answered.reject);
  peers.on("message", (message: Told) => {
    if (message.kind === "ready") ready.resolve(message.port);
    else if (message.kind === "stop") standStill(800);
    else answered.resolve(message.told);
  });
  await using playing = await kit(await ready.promise);
  peers.postMessage({ proxy: playing.port });
  expect(await answered.promise).toEqual(["HTTP/1.1 200 OK", "HTTP/1.1 200 OK"]);
  expect(await playing.books(1)).toMatchObject({ completed: 2, lost: {} });
  await peers.terminate();
}

test("an answer that is read together with the app's farewell does not leave a connection that the next request dies on", async () => {
  // As long as an app keeps its connections here, and a stall is longer.
  const kit = (port: number): Promise<Kit> => Kit.start([endpoint("a", port, 1)], { upstreamIdleMs: 140 });
  // More than one go: which of two sockets a thread reads first is the kernel's choice.
  for (let n = 0; n < 5; n++) await told(kit, { stopAt: "request", keepMs: 150, secondMs: 350 });
}, 60_000);

test("a request that is read before the farewell to an idle connection, after a stall, does not go into that one", async () => {
  const kit = (port: number): Promise<Kit> => Kit.start([endpoint("a", port, 1)]);
  for (let n = 0; n < 3; n++) await told(kit, { stopAt: "answer", keepMs: 300, secondMs: 200 });
}, 60_000);
