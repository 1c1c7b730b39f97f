/**
 * Clients that never stop asking: GETs and POSTs in turn, over kept connections with idle pauses, or a new connection
 * each. Whatever the client sees go wrong is on record with its cause; nothing is tried again.
 */
import { Agent, request } from "node:http";

export interface ClientRecord {
  readonly answered: number;
  readonly failures: readonly string[];
  /** What answered, and how often: for tests that ask which process carried it. */
  readonly by: ReadonlyMap<string, number>;
  /** The longest that one request took, milliseconds. */
  readonly slowestMs: number;
}

export interface ClientOptions {
  readonly clients: number;
  readonly keepAlive: boolean;
  /** Between requests of one client, at random up to this. */
  readonly pauseMs: number;
}

export function startClients(key: string, options: ClientOptions): { stop(): Promise<ClientRecord> } {
  const by = new Map<string, number>();
  const failures: string[] = [];
  let answered = 0;
  let slowestMs = 0;
  let stopped = false;

  const client = async (): Promise<void> => {
    const agent = new Agent({ keepAlive: options.keepAlive, maxSockets: 1 });
    for (let n = 0; !stopped; n++) {
      const started = performance.now();
      try {
        const body = n % 2 === 1 ? "x".repeat(2_000) : undefined;
        const answer = await exchange(agent, key, body);
        if (body !== undefined && answer !== "2000") failures.push(`POST answered ${answer}`);
        if (body === undefined) by.set(answer, (by.get(answer) ?? 0) + 1);
        answered += 1;
      } catch (error) {
        failures.push((error as NodeJS.ErrnoException).code ?? String(error));
      }
      slowestMs = Math.max(slowestMs, performance.now() - started);
      await new Promise((resolve) => setTimeout(resolve, Math.random() * options.pauseMs));
    }
    agent.destroy();
  };
  const all = Promise.all(Array.from({ length: options.clients }, client));
  return {
    stop: async () => {
      stopped = true;
      await all;
      return { answered, failures, by, slowestMs };
    },
  };
}

export function exchange(agent: Agent, key: string, body?: string, path = "/"): Promise<string> {
  return new Promise((resolve, reject) => {
    const [host = "", port = ""] = key.split(":");
    const method = body === undefined ? "GET" : "POST";
    const asked = request({ agent, host, port: Number(port), path, method }, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (part: string) => (text += part));
      response.on("end", () => {
        if (response.statusCode === 200) resolve(text);
        else reject(new Error(`status ${String(response.statusCode)}`));
      });
      response.on("error", reject);
    });
    asked.on("error", reject);
    asked.end(body);
  });
}
