/** R1, when the worker itself stands still: a machine that is suspended, a container that is stopped, a starved core. */
import { Worker } from "node:worker_threads";
import { expect, test } from "vitest";
import { endpoint, Kit } from "../../support/proxy-kit.ts";

type Told =
  | { readonly kind: "ready"; readonly port: number }
  | { readonly kind: "asked" }
  | { readonly kind: "answered"; readonly told: readonly string[] };

/** Nothing of this thread runs meanwhile. */
const standStill = (ms: number): void => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);

test("an answer that is read together with the app's farewell does not leave a connection that the next request dies on", async () => {
  // More than one go: which of two sockets a thread reads first is the kernel's choice.
  for (let n = 0; n < 5; n++) {
    const peers = new Worker(new URL("./stall-peers.ts", import.meta.url));
    const ready = Promise.withResolvers<number>();
    const answered = Promise.withResolvers<readonly string[]>();
    peers.on("error", answered.reject);
    peers.on("message", (message: Told) => {
      if (message.kind === "ready") ready.resolve(message.port);
      else if (message.kind === "asked") standStill(600);
      else answered.resolve(message.told);
    });
    // As long as an app keeps its connections here, and a stall is longer.
    await using kit = await Kit.start([endpoint("a", await ready.promise, 1)], { upstreamIdleMs: 140 });
    peers.postMessage({ proxy: kit.port });
    expect(await answered.promise).toEqual(["HTTP/1.1 200 OK", "HTTP/1.1 200 OK"]);
    expect(await kit.books(1)).toMatchObject({ completed: 2, lost: {} });
    await peers.terminate();
  }
}, 60_000);
