/** Raw servers that break HTTP in one named way each, so that the client's ledger can be seen to fail. */
import { createHash } from "node:crypto";
import { createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import type { Target } from "../../loss/connection.ts";

export interface RawServer extends AsyncDisposable {
  readonly target: Target;
  readonly connections: number;
}

/** One request's head has come. `nth` counts requests on this connection from 1. */
export interface RawRequest {
  readonly head: string;
  readonly path: string;
  readonly nth: number;
  /** What the client asked to be echoed: `n` of the query, or its request id. */
  readonly id: string;
  /** Bytes read after the head so far, and from now on. */
  readonly body: () => string;
}

export type Reaction = (socket: Socket, request: RawRequest) => void;

export async function misbehaving(react: Reaction): Promise<RawServer> {
  const sockets = new Set<Socket>();
  let connections = 0;
  const server = createServer({ noDelay: true }, (socket) => {
    connections += 1;
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => undefined);
    let text = "";
    let nth = 0;
    socket.on("data", (chunk) => {
      text += chunk.toString("latin1");
      const end = text.indexOf("\r\n\r\n");
      if (end < 0 || !/^(GET|POST|HEAD) /.test(text)) return;
      const head = text.slice(0, end + 4);
      text = text.slice(end + 4);
      nth += 1;
      const path = head.split(" ")[1] ?? "";
      const id = /x-request-id: (\S+)/i.exec(head)?.[1] ?? "";
      react(socket, { head, path, nth, id, body: () => text });
    });
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  return {
    target: { host: "127.0.0.1", port: (server.address() as AddressInfo).port },
    get connections() {
      return connections;
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((done) => server.close(done));
    },
  };
}

const MARK = "x-demo-version: v9\r\nx-demo-instance: raw\r\n";

/** A right answer, of the app's own. */
export function answer(status: number, body: string, fields = ""): string {
  return `HTTP/1.1 ${status} Word\r\n${MARK}${fields}content-length: ${body.length}\r\n\r\n${body}`;
}

export const hello = (request: RawRequest): string => answer(200, JSON.stringify({ n: request.id }));

export const EVENTS_HEAD = `HTTP/1.1 200 OK\r\n${MARK}content-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n`;

export const chunk = (text: string): string => `${text.length.toString(16)}\r\n${text}\r\n`;

export const LAST_CHUNK = "0\r\n\r\n";

export function upgraded(request: RawRequest): string {
  const key = /sec-websocket-key: (\S+)/i.exec(request.head)?.[1] ?? "";
  const accept = createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
  return `HTTP/1.1 101 Switching Protocols\r\n${MARK}upgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: ${accept}\r\n\r\n`;
}

/** A close frame with this code, as a server sends it: unmasked. */
export const closeFrame = (code: number): Buffer => Buffer.from([0x88, 2, code >> 8, code & 0xff]);
