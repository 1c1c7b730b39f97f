/** What an agent says of itself when a session begins, whatever carries it. */
import { PROTOCOL_VERSION } from "../../../proto/contract/limits.ts";
import type { Hello } from "../../../proto/contract/session.ts";
import type { AgentOptions } from "../../keeper/protocol.ts";
import type { SourcePort } from "../source.ts";

export function helloOf(agent: AgentOptions, software: string, port: SourcePort): Hello {
  return {
    protocolVersion: PROTOCOL_VERSION,
    host: agent.name,
    role: agent.role,
    labels: agent.labels,
    boot: port.boot,
    software,
    address: agent.address,
    highestEpoch: port.highestEpoch(),
    applied: port.applied(),
    inboundPorts: agent.inboundPorts,
  };
}
