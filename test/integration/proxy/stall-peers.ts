/**
 * An app and two clients in a thread of their own, which go on while the proxy's thread stands still. The app answers
 * `ANSWER_MS` after a request and closes the connection when it has been idle for `keepMs`.
 *
 *   the app has a first request, or its client the answer → "stop" is told, and the proxy's thread is stopped by the test
 *   → it is answered, → its connection is closed, → a second request comes by another client → both answers are told
 */
import { connect, createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { parentPort, workerData } from "node:worker_threads";

export interface Play {
  readonly stopAt: "request" | "answer";
  readonly keepMs: number;
  /** After the first. */
  readonly secondMs: number;
}

const ANSWER_MS = 50;
const { stopAt, keepMs, secondMs } = workerData as Play;
const POST = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok";
const ANSWER = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

const port = parentPort;
if (port === null) throw new Error("to be started as a worker");

const after = (ms: number, act: () => void): void => void setTimeout(act, ms);
let asked = 0;

const app = createServer((socket) => {
  socket.on("error", () => undefined);
  socket.on("data", () => {
    asked += 1;
    if (asked === 1 && stopAt === "request") port.postMessage({ kind: "stop" });
    after(ANSWER_MS, () => {
      socket.write(ANSWER);
      after(keepMs, () => socket.end());
    });
  });
});

/** Resolves with the status line that it is answered with; "" when its connection ends without one. */
function answerOf(socket: Socket): Promise<string> {
  return new Promise((resolve) => {
    let text = "";
    socket.on("data", (bytes: Buffer) => {
      text += bytes.toString("latin1");
      if (text.endsWith("ok") || text.includes(" 502 ")) resolve(text.split("\r\n", 1)[0] ?? "");
    });
    socket.on("close", () => resolve(text.split("\r\n", 1)[0] ?? ""));
    socket.on("error", () => resolve(""));
  });
}

port.on("message", ({ proxy }: { readonly proxy: number }) => {
  const first = connect(proxy, "127.0.0.1");
  const second = connect(proxy, "127.0.0.1");
  const answers = Promise.all([answerOf(first), answerOf(second)]);
  first.write(POST);
  if (stopAt === "answer") first.once("data", () => port.postMessage({ kind: "stop" }));
  after(secondMs, () => second.write(POST));
  void answers.then((told) => {
    port.postMessage({ kind: "answered", told });
    for (const socket of [first, second]) socket.destroy();
    app.close();
    port.close();
  });
});

app.listen(0, "127.0.0.1", () => port.postMessage({ kind: "ready", port: (app.address() as AddressInfo).port }));
