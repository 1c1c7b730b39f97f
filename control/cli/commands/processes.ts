/** baton control, agent: become that process. Their options are their own; `baton agent --help` shows them. */
import type { Command } from "commander";
import { existsSync } from "node:fs";
import { join } from "node:path";

/**
 * This process is replaced, so that signals, exit code and PID 1 belong to the agent itself.
 * The two sides import nothing of each other: they are named by their path alone.
 */
export function becomeProcess(side: "agent" | "agent/keeper/pod" | "control", args: readonly string[]): never {
  const entry = join(import.meta.dirname, "..", "..", "..", side, "main");
  const file = existsSync(`${entry}.ts`) ? `${entry}.ts` : `${entry}.js`;
  if (process.execve === undefined) throw new Error("this platform has no execve; run `node agent/main.ts` itself");
  // It does not come back: either this process is another, or it throws.
  process.execve(process.execPath, [process.execPath, ...process.execArgv, file, ...args], process.env);
  throw new Error("execve came back");
}

export function addProcessCommands(program: Command): void {
  for (const [name, side, summary] of [
    ["control", "control", "run a controller"],
    ["agent", "agent", "run an agent; with --static FILE it needs no controller"],
    ["pod", "agent/keeper/pod", "hold an agent's listeners while its container is replaced"],
  ] as const) {
    program
      .command(name)
      .description(summary)
      .helpOption(false)
      .allowUnknownOption()
      .allowExcessArguments()
      .argument("[options...]", `passed on; see \`baton ${name} --help\``)
      .action(() => becomeProcess(side, process.argv.slice(3)));
  }
}
