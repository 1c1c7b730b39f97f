/** Stores on NATS for tests: fleets of their own on shared servers, and links that fail on purpose. */
import type { Consumer, JetStreamClient, JsMsg, Msg, NatsConnection } from "nats";
import type { NatsBackedStore } from "../../../control/store/nats/nats-store.ts";
import { Memory } from "../../../control/store/nats/memory.ts";
import { openNatsStore } from "../../../control/store/nats/open.ts";
import type { NatsLink } from "../../../proto/contract/nats-link.ts";
import { natsNames } from "../../../proto/contract/nats.ts";
import type { Log } from "../../../proto/kernel/log.ts";
import { silentLog } from "../../../proto/kernel/log.ts";
import { systemClock } from "../../../proto/runtime/system-clock.ts";
import type { NatsServers } from "../../support/nats.ts";

let fleets = 0;
/** A fleet that no other test knows. */
export const fleet = (): string => `fleet-${String(++fleets)}`;

export const storeOn = (
  link: NatsLink,
  cluster: string,
  log: Log = silentLog,
  memory = new Memory(),
): Promise<NatsBackedStore> => openNatsStore({ link, names: natsNames(cluster), clock: systemClock, log, memory });

/** On a connection of its own, which is closed with it. */
export async function open(nats: NatsServers, cluster: string): Promise<NatsBackedStore> {
  const link = await nats.link();
  const store = await storeOn(link, cluster);
  const close = store.close.bind(store);
  store.close = async () => {
    await close();
    await link.close();
  };
  return store;
}

/** As `target`, but for some of what it has. */
export const altered = <T extends object>(target: T, other: Partial<T>): T =>
  new Proxy(target, {
    get: (of, name) => {
      const value: unknown = Reflect.get(name in other ? other : of, name, of);
      return typeof value === "function" && !(name in other) ? (value.bind(of) as unknown) : value;
    },
  });

/** A store's consumers begin as `begin` has it, which is given what the client does. */
export function consuming(link: NatsLink, begin: (real: Consumer["consume"]) => Consumer["consume"]): NatsLink {
  const { connection } = link;
  const jetstream: NatsConnection["jetstream"] = (options) => {
    const client = connection.jetstream(options);
    const get: typeof client.consumers.get = async (...of) => {
      const consumer = await client.consumers.get(...of);
      return altered(consumer, { consume: begin((how) => consumer.consume(how)) });
    };
    return altered(client, { consumers: altered(client.consumers, { get }) });
  };
  return altered(link, { connection: altered(connection, { jetstream }) });
}

/** What a store reads of its records is as `alter` makes it; null: it never came. */
export const reading = (link: NatsLink, alter: (message: JsMsg) => JsMsg | null): NatsLink =>
  consuming(link, (real) => async (how) => {
    const messages = await real(how);
    return altered(messages, {
      async *[Symbol.asyncIterator]() {
        for await (const message of messages) {
          const read = alter(message);
          if (read !== null) yield read;
        }
      },
    });
  });

/** What a store publishes through it is passed on, or held back for good, as `passes` says of each key. */
export class FaultyLink implements NatsLink {
  readonly connection: NatsConnection;
  passes: (key: string) => boolean = () => true;
  /** What is said on subjects is not heard. */
  deaf = false;
  /** Keys that were held back. */
  readonly held: string[] = [];
  /** Sends what was held back, as a writer would that was stopped and goes on. */
  readonly release: (() => void)[] = [];
  readonly #link: NatsLink;

  constructor(link: NatsLink) {
    this.#link = link;
    const { connection } = link;
    this.connection = altered(connection, { jetstream: (options) => this.#faulty(connection.jetstream(options)) });
  }

  get connected(): boolean {
    return this.#link.connected;
  }

  get trouble(): string {
    return this.#link.trouble;
  }

  follow(listener: (connected: boolean) => void): () => void {
    return this.#link.follow(listener);
  }

  close(): Promise<void> {
    return this.#link.close();
  }

  listen(subject: string, heard: (message: Msg) => void): () => void {
    return this.#link.listen(subject, (message) => {
      if (!this.deaf) heard(message);
    });
  }

  #faulty(js: JetStreamClient): JetStreamClient {
    const publish: JetStreamClient["publish"] = (subject, data, options) => {
      const key = subject.split(".").slice(2).join(".");
      if (this.passes(key)) return js.publish(subject, data, options);
      this.held.push(key);
      return new Promise((resolve, reject) => {
        this.release.push(() => void js.publish(subject, data, options).then(resolve, reject));
      });
    };
    return altered(js, { publish });
  }
}
