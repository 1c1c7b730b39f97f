/** The operator's random words. A refusal is an answer; what is not reached is tried by no one again. */
import type { Journal } from "./journal.ts";
import type { Said } from "./operators.ts";
import type { Deployment, PlannedCommand } from "./schedule.ts";
import type { Topology } from "./topology.ts";
import { ASIDE, asideDocument, SERVICE, serviceDocument } from "./documents.ts";

const GOOD: Deployment = { strategy: "rolling surge", behaviour: "" };

export class Commander {
  readonly #topology: Topology;
  readonly #journal: Journal;
  /** Of this episode: what was deployed, and what was said, newest last. */
  deployments: Deployment[] = [];
  said: { readonly atMs: number; readonly verb: string; readonly host: string; readonly answer: Said }[] = [];
  #versions = 0;

  constructor(topology: Topology, journal: Journal) {
    this.#topology = topology;
    this.#journal = journal;
  }

  newEpisode(): void {
    this.deployments = [];
    this.said = [];
  }

  async deploy(deployment: Deployment): Promise<Said> {
    this.#versions += 1;
    const version = `v${String(this.#versions)}`;
    this.deployments.push(deployment);
    const { port, run, operators } = this.#topology;
    const said = await operators.apply(`${version}.json`, serviceDocument({ version, deployment, port, run }));
    return this.#note("deploy", `${version} by ${deployment.strategy} ${deployment.behaviour}`.trim(), said);
  }

  async carryOut({ verb, host, deployment }: PlannedCommand): Promise<void> {
    const { operators, asidePort, run } = this.#topology;
    const note = (said: Said): Said => this.#note(verb, verb.includes("drain") ? host : "", said);
    switch (verb) {
      case "pause":
      case "resume":
      case "abort":
      case "retry":
        note(await operators.command(verb, SERVICE));
        return;
      case "promote":
      case "promote-full":
        note(await operators.promote(SERVICE, verb === "promote-full"));
        return;
      case "undo":
        note(await operators.undo(SERVICE));
        return;
      case "deploy":
        await this.deploy(deployment);
        return;
      case "drain":
      case "undrain":
        note(await operators.drain(host, verb === "drain"));
        return;
      case "apply-aside": {
        this.#versions += 1;
        const version = `a${String(this.#versions)}`;
        const wanted = { version, deployment: GOOD, port: asidePort, run };
        note(await operators.apply(`${version}.json`, asideDocument(wanted)));
        return;
      }
      case "delete-aside":
        note(await operators.delete(ASIDE));
        return;
    }
  }

  /** What the harness itself says, to bring a rollout to its end. */
  async say(verb: "resume" | "promote" | "abort", why: string, service: string): Promise<Said> {
    const { operators } = this.#topology;
    const answer =
      verb === "promote" ? await operators.promote(service, false) : await operators.command(verb, service);
    return this.#note(verb, why, answer);
  }

  async undrain(host: string): Promise<Said> {
    return this.#note("undrain", host, await this.#topology.operators.drain(host, false));
  }

  #note(verb: string, about: string, answer: Said): Said {
    this.said.push({ atMs: Date.now(), verb, host: about, answer });
    this.#journal.say("command", { verb, about, ...answer, outcome: answer.kind });
    return answer;
  }
}
