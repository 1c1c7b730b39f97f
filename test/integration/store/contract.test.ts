import { afterAll, beforeAll, describe } from "vitest";
import type { NatsServers } from "../../support/nats.ts";
import { startNats } from "../../support/nats.ts";
import { severalWriters, storeContract } from "../../support/store-contract.ts";
import { fleet, open } from "./kit.ts";

describe.each([
  { name: "one nats-server", servers: 1 },
  { name: "three nats-servers", servers: 3 },
] as const)("$name", ({ name, servers }) => {
  let nats: NatsServers;
  beforeAll(async () => {
    nats = await startNats({ servers });
  });
  afterAll(async () => {
    await nats[Symbol.asyncDispose]();
  });

  storeContract(name, {
    fresh: async () => {
      const cluster = fleet();
      return { store: await open(nats, cluster), reopen: () => open(nats, cluster) };
    },
  });
  severalWriters(name, {
    fresh: () => {
      const cluster = fleet();
      return Promise.resolve(() => open(nats, cluster));
    },
  });
});
