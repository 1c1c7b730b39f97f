/**
 * A web server, or a proxy, at the address that a command takes for a controller's: named as what it is, exit 7, and the
 * next address is asked. The servers are Node's own.
 */
import { createServer as createHttp } from "node:http";
import { createServer } from "node:http2";
import type { ServerHttp2Stream } from "node:http2";
import { createServer as createTcp } from "node:net";
import type { AddressInfo, Server, Socket } from "node:net";
import { expect, test } from "vitest";
import { Api, Controller } from "../../../control/cli/client.ts";
import { CliError } from "../../../control/cli/errors.ts";
import { EXIT } from "../../../proto/contract/limits.ts";
import { Folder, inProcess } from "../../support/control.ts";
import { startNode } from "../../support/processes.ts";

type Listening = AsyncDisposable & { readonly address: string };

async function listen(server: Server): Promise<Listening> {
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => sockets.add(socket));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    address: `127.0.0.1:${String((server.address() as AddressInfo).port)}`,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function http2(answer: (stream: ServerHttp2Stream) => void): Promise<Listening> {
  const server = createServer();
  server.on("stream", (stream: ServerHttp2Stream) => {
    stream.on("error", () => undefined);
    answer(stream);
  });
  return listen(server);
}

const page = "<!doctype html><title>Not found</title>";
const answers: readonly (readonly [string, (stream: ServerHttp2Stream) => void])[] = [
  ["404 and nothing else", (stream) => stream.respond({ ":status": 404 }, { endStream: true })],
  ["404 with a type", (stream) => stream.respond({ ":status": 404, "content-type": "text/html" }, { endStream: true })],
  ["404 with a page", (stream) => (stream.respond({ ":status": 404, "content-type": "text/html" }), stream.end(page))],
  ["404 with a page of no type", (stream) => (stream.respond({ ":status": 404 }), stream.end(page))],
  ["200 with a page", (stream) => (stream.respond({ ":status": 200, "content-type": "text/html" }), stream.end(page))],
  ["200 with no type", (stream) => (stream.respond({ ":status": 200 }), stream.end("ok"))],
  ["401", (stream) => stream.respond({ ":status": 401, "content-type": "text/plain" }, { endStream: true })],
];

test.each(answers)(
  "a web server that answers %s is no controller: it is named, and the next one is asked",
  async (_, answer) => {
    await using web = await http2(answer);
    const message = `the controller at ${web.address} can't be reached: what answers there does not speak gRPC. Is it the controller's --grpc address?`;
    const refusal = { exitCode: EXIT.unreachable, message };
    using alone = new Controller({ controllers: [web.address] });
    await expect(alone.call(Api.listHosts, {})).rejects.toMatchObject(refusal);
    const watch = alone.stream(Api.watchRollout, { service: "shop", rollout: "" });
    await expect(watch.next()).rejects.toMatchObject(refusal);

    using state = new Folder();
    await using control = await inProcess(state.path);
    using both = new Controller({ controllers: [web.address, control.controller.grpc] });
    const told: string[] = [];
    both.told = (line) => told.push(line);
    // It was certainly not done: a change is asked of the next one as well.
    const change = both.call(Api.drain, { host: "nosuch", actor: "ann" });
    await expect(change).rejects.toMatchObject({
      exitCode: EXIT.usage,
      message: expect.stringMatching(/^no host nosuch/) as string,
    });
    const why = "what answers there does not speak gRPC";
    expect(told).toEqual([
      `the controller at ${web.address} can't be reached (${why}); asking ${control.controller.grpc}`,
    ]);
  },
);

test("a proxy that can't reach the controller behind it: a change may have been done, and is not asked of another", async () => {
  await using proxy = await http2((stream) =>
    stream.respond({ ":status": 503, "content-type": "text/html" }, { endStream: true }),
  );
  using state = new Folder();
  await using control = await inProcess(state.path);
  using both = new Controller({ controllers: [proxy.address, control.controller.grpc] });
  const change = both.call(Api.drain, { host: "nosuch", actor: "ann" }).catch((error: unknown) => error);
  expect(await change).toBeInstanceOf(CliError);
  expect(await change).toMatchObject({
    exitCode: EXIT.unreachable,
    message: expect.stringMatching(
      /a proxy answers there, with HTTP status 503\): it may have been done or not/,
    ) as string,
  });
  using again = new Controller({ controllers: [proxy.address, control.controller.grpc] });
  expect(await again.call(Api.listHosts, {})).toMatchObject({ hosts: [] });
});

test("the command says so in one line with exit 7, of HTTP/1 as of HTTP/2, and in its table of controllers", async () => {
  await using first = await listen(createHttp((_, response) => response.writeHead(404).end(page)));
  await using second = await http2((stream) => stream.respond({ ":status": 404 }, { endStream: true }));
  await using mute = await listen(createTcp((socket) => socket.end("220 mail\r\n")));
  for (const { address } of [first, second, mute]) {
    const asked = startNode("control/cli/main.ts", { args: ["get", "hosts", "--controller", address] });
    expect((await asked.exited).code).toBe(EXIT.unreachable);
    expect(asked.stderr).toBe(
      `baton: the controller at ${address} can't be reached: what answers there does not speak gRPC. Is it the controller's --grpc address?\n`,
    );
  }
  const args = ["get", "controllers", "--controller", `${first.address},${second.address}`];
  const table = startNode("control/cli/main.ts", { args, env: { NO_COLOR: "1" } });
  await table.exited;
  expect(table.stdout.match(/not reached: what answers there does not speak gRPC$/gm)).toHaveLength(2);
});
