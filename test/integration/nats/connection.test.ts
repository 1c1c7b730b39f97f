import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import type { NatsOptions } from "../../../proto/contract/nats.ts";
import { silentLog } from "../../../proto/kernel/log.ts";
import { openNats } from "../../../proto/runtime/nats.ts";
import { systemClock, systemRandom } from "../../../proto/runtime/system-clock.ts";
import { Authority } from "../../support/certificates.ts";
import { decentralised } from "../../support/nats-jwt.ts";
import { startNats } from "../../support/nats.ts";
import { until } from "../../support/processes.ts";

const folder = mkdtempSync(join(tmpdir(), "baton-nats-connection-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

const opening = (nats: NatsOptions, signal: AbortSignal, onTrouble: (why: string) => void) =>
  openNats({ nats, name: "test", clock: systemClock, random: systemRandom, log: silentLog, signal, onTrouble });

/** The first sentence of trouble. */
async function trouble(nats: NatsOptions): Promise<string> {
  const over = new AbortController();
  const { promise, resolve } = Promise.withResolvers<string>();
  const opened = opening(nats, over.signal, resolve).then(
    () => Promise.reject(new Error("it was opened")),
    () => undefined,
  );
  const why = await Promise.race([promise, opened]);
  over.abort();
  await opened;
  return why ?? "";
}

const nowhere: NatsOptions = {
  ...{
    servers: ["nats://127.0.0.1:1"],
    cluster: "baton",
    credsFile: null,
    caFile: null,
    certFile: null,
    keyFile: null,
  },
  trustNetwork: false,
};

describe("a way to NATS that can't be had", () => {
  test("nobody listens there", async () => {
    expect(await trouble(nowhere)).toBe(
      "NATS at nats://127.0.0.1:1 does not answer (connection refused): is nats-server running there?",
    );
  });

  test("credentials are missing, wrong, not there, or not readable as any", async () => {
    await using nats = await startNats({ auth: { user: "baton", password: "right" } });
    const refused = `NATS at ${nats.urls[0] ?? ""} refuses these credentials`;
    expect(await trouble(nats.options({ credsFile: null }))).toContain(`${refused} (`);
    expect(await trouble(nats.options({ credsFile: null }))).toContain("give --nats-creds FILE");
    const wrong = file("wrong", "baton:wrong\n");
    expect(await trouble(nats.options({ credsFile: wrong }))).toContain(`look at ${wrong}`);
    expect(await trouble(nats.options({ credsFile: "/none" }))).toContain("the file /none is not there");
    const two = file("two", "two lines\nof text\n");
    expect(await trouble(nats.options({ credsFile: two }))).toContain("must hold a NATS .creds file or one line");
  });

  test("a server that is too old is named with what is needed", async () => {
    const info = { server_id: "old", version: "2.8.4", proto: 1, max_payload: 1_048_576, headers: true };
    const server = createServer((socket) => {
      socket.write(`INFO ${JSON.stringify(info)}\r\n`);
      socket.on("data", (bytes) => {
        if (bytes.toString().includes("PING")) socket.write("PONG\r\n");
      });
      socket.on("error", () => undefined);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    const servers = [`nats://127.0.0.1:${String(port)}`];
    expect(await trouble({ ...nowhere, servers })).toContain(
      "is version 2.8.4; Baton needs nats-server 2.9.0 or later",
    );
    await new Promise((resolve) => server.close(resolve));
  });

  test("its certificate is of an authority that is not ours, or it speaks no TLS at all", async () => {
    const [ours, theirs] = [await Authority.found(folder, "ours"), await Authority.found(folder, "theirs")];
    {
      await using nats = await startNats({ tls: await theirs.issue("server") });
      expect(await trouble(nats.options({ caFile: ours.caFile }))).toMatch(/can't be used: .*certificate/i);
      const link = await nats.link({ caFile: theirs.caFile });
      expect(link.connected).toBe(true);
    }
    await using plain = await startNats();
    const servers = plain.urls.map((url) => url.replace("nats:", "tls:"));
    expect(await trouble(plain.options({ servers }))).toContain("speaks no TLS");
  });
});

test("password, token, .creds file and a client's certificate: each opens the way that asks for it", async () => {
  const authority = await Authority.found(folder, "authority");
  const server = await authority.issue("server-2");
  const client = await authority.issue("client");
  {
    await using nats = await startNats({ auth: { user: "baton", password: "s3:cret" } });
    expect((await nats.link()).connected).toBe(true);
  }
  {
    await using nats = await startNats({ config: { authorization: { token: "a-token" } } });
    expect((await nats.link({ credsFile: file("token", "a-token\n") })).connected).toBe(true);
  }
  {
    const { config, creds } = decentralised();
    await using nats = await startNats({ config });
    const link = await nats.link({ credsFile: file("user.creds", creds) });
    // The account has JetStream: what Baton needs can be made with it.
    const kv = await link.connection.jetstream().views.kv("any", { history: 1 });
    expect(await kv.put("key", "value")).toBeGreaterThan(0);
    expect(await trouble(nats.options({ credsFile: file("other.creds", decentralised().creds) }))).toContain("refuses");
  }
  {
    await using nats = await startNats({ tls: { ...server, caFile: authority.caFile, verify: true } });
    const { caFile } = authority;
    expect((await nats.link({ caFile, ...client })).connected).toBe(true);
    expect(await trouble(nats.options({ caFile }))).toContain("give --nats-cert and --nats-key");
  }
});

test("a password that is changed and mended while it is open: told, and connected again without a restart", async () => {
  await using nats = await startNats({ auth: { user: "baton", password: "first" } });
  const credsFile = file("changing", "baton:first\n");
  const link = await nats.link({ credsFile });
  const heard: boolean[] = [];
  link.follow((connected) => heard.push(connected));
  await nats.servers[0]?.restart({ config: { authorization: { user: "baton", password: "second" } } });
  await until("it is told", () => link.trouble.includes(`look at ${credsFile}`));
  expect(link.connected).toBe(false);
  writeFileSync(credsFile, "baton:second\n");
  await until("it is connected again", () => link.connected);
  expect(link.trouble).toBe("");
  expect(heard).toEqual([false, true]);
});

test("the file of credentials is away or empty while the way is lost: the client does not give up for ever", async () => {
  await using nats = await startNats({ auth: { user: "baton", password: "first" } });
  const [server] = nats.servers;
  const credsFile = file("rotated", "baton:first\n");
  const link = await nats.link({ credsFile });
  rmSync(credsFile);
  await server?.kill();
  await until("lost", () => !link.connected);
  await server?.restart({ config: { authorization: { user: "baton", password: "second" } } });
  await until("told which file", () => link.trouble.includes("rotated is not there"));
  writeFileSync(credsFile, "");
  writeFileSync(credsFile, "baton:second\n");
  await until("connected again", () => link.connected, 30_000);
  expect(link.connection.isClosed()).toBe(false);
});

test("a server that hangs with the connection open is found out, and found again", async () => {
  await using nats = await startNats();
  const link = await nats.link();
  nats.servers[0]?.stop();
  try {
    await until("it is told", () => !link.connected, 30_000);
  } finally {
    nats.servers[0]?.cont();
  }
  await until("it is connected again", () => link.connected, 30_000);
}, 60_000);
