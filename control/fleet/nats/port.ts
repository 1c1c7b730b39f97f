/** One agent's session over NATS, as the fleet sees it. */
import type { ControllerMessage, Hello } from "../../../proto/contract/session.ts";
import type { Farewell } from "../../../proto/contract/wire.ts";
import type { Assignment } from "../../../proto/contract/assignment.ts";
import type { Millis } from "../../../proto/kernel/clock.ts";
import type { Agent, SessionPort } from "../agent.ts";

export interface PortVoice {
  now(): Millis;
  say(host: string, session: string, what: ControllerMessage | Farewell): void;
  put(host: string, assignment: Assignment): void;
  ended(port: NatsPort): void;
}

/** What was put is put again after so long without an answer, and ever more seldom. */
const AGAIN_MS = { first: 5_000, last: 60_000 };

export class NatsPort implements SessionPort {
  readonly id: string;
  readonly host: string;
  readonly boot: string;
  readonly peer: string;
  agent: Agent | null = null;
  /** The agent itself has begun another: nobody hears of this one's end. */
  left = false;
  readonly #voice: PortVoice;
  #asked: { readonly assignment: Assignment; sinceMs: Millis; againMs: Millis } | null = null;

  constructor(id: string, hello: Hello, voice: PortVoice) {
    this.id = id;
    this.host = hello.host;
    this.boot = hello.boot;
    this.peer = `${hello.address === "" ? hello.host : hello.address} (over NATS)`;
    this.#voice = voice;
  }

  send(message: ControllerMessage): void {
    switch (message.kind) {
      case "welcome":
        this.#voice.say(this.host, this.id, message);
        return;
      case "assignment":
        this.#asked = { assignment: message.assignment, sinceMs: this.#voice.now(), againMs: AGAIN_MS.first };
        this.#voice.put(this.host, message.assignment);
        return;
      case "reconnect":
        // There is no stream to leave: the session goes on, and whoever leads next calls for another.
        this.left = true;
    }
  }

  end(why: string): void {
    if (!this.left) this.#voice.say(this.host, this.id, { kind: "farewell", reason: why });
    this.left = true;
    this.#voice.ended(this);
  }

  /** Whether what was put may have been missed: it is heard of since, and has not answered. */
  unanswered(now: Millis): boolean {
    const asked = this.#asked;
    const agent = this.agent;
    if (asked === null || agent === null) return false;
    if (agent.inFlight?.assignment !== asked.assignment) {
      this.#asked = null;
      return false;
    }
    if (now - asked.sinceMs < asked.againMs || (agent.heardAt ?? 0) < asked.sinceMs) return false;
    asked.sinceMs = now;
    asked.againMs = Math.min(AGAIN_MS.last, asked.againMs * 2);
    return true;
  }
}
