import { join } from "node:path";
import type { ProcessSpec } from "../../../agent/keeper/protocol.ts";

/** An app that is a line of shell; its output goes to the agent's state folder. */
export function appSpec(agent: { readonly state: string }, id: string, script: string): ProcessSpec {
  return {
    id,
    command: ["/bin/sh", "-c", script],
    cwd: agent.state,
    env: { PATH: "/usr/bin:/bin" },
    outputFile: join(agent.state, "output", `${id}.log`),
  };
}
