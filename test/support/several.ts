/** Several controllers on real NATS for tests, each a process of its own, and a client for each. */
import type { Info } from "../../proto/gen/baton/v1/operator.ts";
import { Api, Client } from "./control.ts";
import { startNode, until } from "./processes.ts";
import type { RunningProcess } from "./processes.ts";
import type { NatsServers } from "./nats.ts";

export interface Member extends AsyncDisposable {
  readonly id: string;
  readonly process: RunningProcess;
  readonly grpc: string;
  readonly http: string;
  readonly client: Client;
  info(): Promise<Info>;
}

export async function startMember(nats: NatsServers, id: string, ...args: readonly string[]): Promise<Member> {
  const { servers, credsFile } = nats.options();
  const process = startNode("control/main.ts", {
    args: [
      ...["--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--name", id, "--nats", servers.join(",")],
      ...(credsFile === null ? [] : ["--nats-creds", credsFile]),
      ...args,
    ],
  });
  const [, grpc = "", http = ""] = await process.line(/gRPC on (\S+), HTTP on (\S+), /);
  const client = new Client(grpc);
  return {
    ...{ id, process, grpc, http, client },
    info: () => client.call(Api.getInfo, {}),
    async [Symbol.asyncDispose]() {
      client[Symbol.dispose]();
      await process[Symbol.asyncDispose]();
    },
  };
}

export class Several implements AsyncDisposable {
  readonly members: Member[] = [];
  readonly #nats: NatsServers;

  private constructor(nats: NatsServers) {
    this.#nats = nats;
  }

  /** Resolves when one of them leads and the others follow. */
  static async start(nats: NatsServers, count: number): Promise<Several> {
    const several = new Several(nats);
    try {
      for (let n = 1; n <= count; n++) several.members.push(await startMember(nats, `c${String(n)}`));
      await several.settled();
    } catch (error) {
      await several[Symbol.asyncDispose]();
      throw error;
    }
    return several;
  }

  /** Of those whose process runs and answers: one leads, and all others say that it does. Answers with it. */
  async settled(): Promise<{ readonly leader: Member; readonly followers: readonly Member[] }> {
    let seen: readonly Info[] = [];
    const running = (): Member[] => this.members.filter(({ process }) => process.exit === null);
    await until(
      "one controller leads and the others follow it",
      async () => {
        seen = await Promise.all(running().map((member) => member.info()));
        const leaders = seen.filter(({ role }) => role === "leader");
        const others = seen.filter(({ role }) => role === "follower");
        return (
          leaders.length === 1 &&
          others.length === seen.length - 1 &&
          seen.every(({ leader }) => leader === leaders[0]?.id)
        );
      },
      30_000,
    ).catch((error: unknown) => {
      const said = seen.map(({ id, role, leader, troubles }) => `${id} ${role} of ${leader} ${troubles.join("; ")}`);
      throw new Error(`${(error as Error).message}: ${said.join(" | ")}`);
    });
    const leaderId = seen.find(({ role }) => role === "leader")?.id;
    const leader = running().find(({ id }) => id === leaderId);
    if (leader === undefined) throw new Error("the leader has gone meanwhile");
    return { leader, followers: running().filter(({ id }) => id !== leaderId) };
  }

  async add(id: string): Promise<Member> {
    const member = await startMember(this.#nats, id);
    this.members.push(member);
    return member;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.members.map((member) => member[Symbol.asyncDispose]()));
  }
}
