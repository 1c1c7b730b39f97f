/** How a service's instances come to be, as it travels. What a document may not say, a message may not either. */
import type * as wire from "../../gen/baton/v1/spec.ts";
import { MAX_PORT } from "../address.ts";
import { LIMITS } from "../limits.ts";
import type { RunSpec } from "../spec/types.ts";
import { encodeDocker, readDocker } from "./docker.ts";
import { argument, isVariable, noNul } from "./words.ts";
import { fail, list, present, table, text, u32, whole } from "./reader.ts";
import { hostAddress, name, version } from "./spec.ts";

export function encodeRun(run: RunSpec): wire.RunSpec {
  if (run.kind === "process") {
    const { command, cwd, env, count } = run;
    return { kind: { $case: "process", value: { command: [...command], cwd, env: { ...env }, count: u32(count) } } };
  }
  if (run.kind === "docker") return { kind: { $case: "docker", value: encodeDocker(run) } };
  const instances = run.instances.map((i) => ({ ...i, host: i.host ?? "", port: u32(i.port) }));
  return { kind: { $case: "external", value: { instances } } };
}

export function readRun(field: string, run: wire.RunSpec): RunSpec {
  const { $case, value } = present(field, run.kind);
  if ($case === "process") {
    if (value.command.length === 0 || value.command[0] === "") fail(`${field}.command`, "names no program");
    return {
      kind: "process",
      command: list(`${field}.command`, value.command, LIMITS.arguments, argument),
      cwd: text(`${field}.cwd`, value.cwd, 4_096, noNul),
      env: table(`${field}.env`, value.env, LIMITS.variables, argument, isVariable),
      count: whole(`${field}.count`, value.count, LIMITS.instancesPerHost, 1),
    };
  }
  if ($case === "docker") return readDocker(field, value);
  return {
    kind: "external",
    instances: list(`${field}.instances`, value.instances, LIMITS.externalInstances, (f, i) => ({
      version: version(`${f}.version`, i.version),
      host: i.host === "" ? null : name(`${f}.host`, i.host),
      address: hostAddress(`${f}.address`, i.address),
      port: whole(`${f}.port`, i.port, MAX_PORT, 1),
    })),
  };
}
