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
  said: { readonly atMs: number; readonly verb: string; readonly about: string }[] = [];
  readonly #byVersion = new Map<string, Deployment>();
  #versions = 0;

  constructor(topology: Topology, journal: Journal) {
    this.#topology = topology;
    this.#journal = journal;
  }

  newEpisode(): void {
    this.deployments = [];
    this.said = [];
  }

  /** What was asked for with a version of the service, in this episode or before. */
  deploymentOf(version: string): Deployment | undefined {
    return this.#byVersion.get(version);
  }

  async deploy(deployment: Deployment): Promise<Said> {
    this.#versions += 1;
    const version = `v${String(this.#versions)}`;
    this.deployments.push(deployment);
    this.#byVersion.set(version, deployment);
    const { port, run, operators } = this.#topology;
    const about = `${version} by ${deployment.strategy} ${deployment.behaviour}`.trim();
    const text = serviceDocument({ version, deployment, port, run });
    return await this.#say("deploy", about, operators.apply(`${version}.json`, text));
  }

  async carryOut({ verb, host, deployment }: PlannedCommand): Promise<void> {
    const { operators, asidePort, run } = this.#topology;
    const say = (answer: Promise<Said>): Promise<Said> => this.#say(verb, verb.includes("drain") ? host : "", answer);
    switch (verb) {
      case "pause":
      case "resume":
      case "abort":
      case "retry":
        await say(operators.command(verb, SERVICE));
        return;
      case "promote":
      case "promote-full":
        await say(operators.promote(SERVICE, verb === "promote-full"));
        return;
      case "undo":
        await say(operators.undo(SERVICE));
        return;
      case "deploy":
        await this.deploy(deployment);
        return;
      case "drain":
      case "undrain":
        await say(operators.drain(host, verb === "drain"));
        return;
      case "apply-aside": {
        this.#versions += 1;
        const version = `a${String(this.#versions)}`;
        const wanted = { version, deployment: GOOD, port: asidePort, run };
        await say(operators.apply(`${version}.json`, asideDocument(wanted)));
        return;
      }
      case "delete-aside":
        await say(operators.delete(ASIDE));
        return;
    }
  }

  /** What the harness itself says, to bring a rollout to its end. */
  async say(verb: "resume" | "promote" | "abort", why: string, service: string): Promise<Said> {
    const { operators } = this.#topology;
    const promote = verb === "promote";
    return await this.#say(verb, why, promote ? operators.promote(service, false) : operators.command(verb, service));
  }

  undrain(host: string): Promise<Said> {
    return this.#say("undrain", host, this.#topology.operators.drain(host, false));
  }

  async #say(verb: string, about: string, answering: Promise<Said>): Promise<Said> {
    this.said.push({ atMs: Date.now(), verb, about });
    const answer = await answering;
    this.#journal.say("command", { verb, about, ...answer, outcome: answer.kind });
    return answer;
  }
}
