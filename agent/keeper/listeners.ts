/**
 * The listening sockets: bound once, held for as long as any generation of workers needs them, never accepted from. The
 * descriptor held here is why no connection is refused while workers come and go (RACES R4).
 *
 * Errors  as one sentence that names address and port; a listener that can't be bound changes nothing for the others.
 */
import { spawn } from "node:child_process";
import { BoundSocket, isIP } from "node:net";
import { entry } from "./child.ts";
import { messageOf } from "./log.ts";
import type { BoundListener } from "./protocol.ts";

interface Held {
  readonly listener: BoundListener;
  readonly socket: BoundSocket;
  readonly asked: Address;
}
interface Address {
  readonly address: string;
  readonly port: number;
}
export type BindRequest = Address & { readonly name: string };
export interface BindAnswer {
  readonly name: string;
  readonly listener: BoundListener | null;
  readonly error: string | null;
}

const SENTENCES: Readonly<Record<string, string>> = {
  EADDRINUSE: "the port is in use by another process",
  EACCES: "this user may not bind that port",
  EADDRNOTAVAIL: "this host has no such address",
};

export class Listeners {
  readonly #held = new Map<string, Held>();
  /** Unbound, but workers still accept from them. */
  readonly #retired = new Map<string, Held>();
  readonly #ports: "own" | "shared";

  /** shared: another of this user may listen beside us (pod/link.ts). That a port is taken is then not always seen. */
  constructor(ports: "own" | "shared" = "own") {
    this.#ports = ports;
  }

  list(): BoundListener[] {
    return [...this.#held.values()].map((held) => held.listener);
  }

  descriptors(): { readonly key: string; readonly fd: number }[] {
    return [...this.#held.values()].map((held) => ({ key: held.listener.key, fd: held.socket.fd() }));
  }

  /** One answer a request, in their order. What is bound as asked already is answered so. */
  async bind(requests: readonly BindRequest[]): Promise<BindAnswer[]> {
    const fresh: { readonly name: string; readonly held: Held }[] = [];
    const errors = new Map<string, string>();
    for (const request of requests) {
      const held = this.#has(request) ?? this.#claimed(request);
      if (typeof held === "string") errors.set(request.name, held);
      else if (held === null) {
        const bound = bindOne(request, this.#ports === "shared");
        if (typeof bound === "string") errors.set(request.name, bound);
        else fresh.push({ name: request.name, held: bound });
      }
    }
    const codes = fresh.length === 0 ? [] : await listenAll(fresh.map(({ held }) => held.socket.fd()));
    fresh.forEach(({ name, held }, index) => {
      const code = codes[index] ?? "";
      if (code === "") {
        this.unbind([name]); // the same name on another address: workers leave the old one by and by
        this.#held.set(name, held);
      } else {
        errors.set(name, sentence(held.listener, code));
        held.socket.close();
      }
    });
    return requests.map(({ name }) => {
      const error = errors.get(name) ?? null;
      return { name, error, listener: error === null ? (this.#held.get(name)?.listener ?? null) : null };
    });
  }

  unbind(names: readonly string[]): void {
    for (const name of names) {
      const held = this.#held.get(name);
      if (held === undefined) continue;
      this.#held.delete(name);
      this.#retired.set(held.listener.key, held);
    }
  }

  /** Closes what was unbound and is accepted from by no worker any more. */
  release(inUse: ReadonlySet<string>): void {
    for (const [key, held] of this.#retired) {
      if (inUse.has(key)) continue;
      this.#retired.delete(key);
      held.socket.close();
    }
  }

  /** All are given up. */
  close(inUse: ReadonlySet<string> = new Set()): void {
    this.unbind([...this.#held.keys()]);
    this.release(inUse);
  }

  /** Already held under this name for this address, as asked or as bound. */
  #has(request: BindRequest): Held | null {
    const held = this.#held.get(request.name);
    if (held === undefined) return null;
    return same(held.asked, request) || same(held.listener, request) ? held : null;
  }

  /** Held for the same address under another name: taken over when that was given up, else in the way. */
  #claimed(request: BindRequest): Held | string | null {
    for (const [key, held] of this.#retired) {
      if (!same(held.listener, request)) continue;
      this.#retired.delete(key);
      this.unbind([request.name]);
      const taken = { ...held, asked: request, listener: { ...held.listener, name: request.name } };
      this.#held.set(request.name, taken);
      return taken;
    }
    const other = [...this.#held.values()].find(({ listener }) => same(listener, request));
    return other === undefined ? null : `${keyOf(request)}: already bound for ${other.listener.name}`;
  }
}

function bindOne(request: BindRequest, reusePort: boolean): Held | string {
  const { name, address, port } = request;
  if (isIP(address) === 0) return `${address}:${String(port)}: "${address}" is not an IP address`;
  try {
    const socket = new BoundSocket({ host: address, port, reusePort });
    const bound = { address, port: socket.address().port };
    return { socket, asked: { address, port }, listener: { ...bound, name, key: keyOf(bound) } };
  } catch (error) {
    return sentence(request, (error as NodeJS.ErrnoException).code ?? messageOf(error));
  }
}

/** Error codes, "" for those that listen now. */
function listenAll(fds: readonly number[]): Promise<string[]> {
  return new Promise((resolve) => {
    const all = (code: string): void => resolve(fds.map(() => code));
    let output = "";
    const helper = spawn(process.execPath, [entry("./listening"), String(fds.length)], {
      stdio: ["ignore", "pipe", "inherit", ...fds],
    });
    helper.stdout?.on("data", (bytes: Buffer) => (output += bytes.toString("utf8")));
    helper.on("error", (error) => all(error.message));
    helper.on("close", () => {
      try {
        resolve(JSON.parse(output) as string[]);
      } catch {
        all("it could not be put into the listening state");
      }
    });
  });
}

const same = (a: Address, b: Address): boolean => a.address === b.address && a.port === b.port;

export function keyOf({ address, port }: Address): string {
  return `${address.includes(":") ? `[${address}]` : address}:${String(port)}`;
}

const sentence = (at: Address, code: string): string =>
  `${keyOf(at)}: ${SENTENCES[code] === undefined ? code : `${SENTENCES[code]} (${code})`}`;
