/** Session messages: what agent and controller say to each other, whatever carries it. */
import type * as wire from "../../gen/baton/v1/session.ts";
import { isLabelKey, isLabelValue } from "../ids.ts";
import { LIMITS } from "../limits.ts";
import { INBOUND_PORTS, ROLES } from "../session.ts";
import type { AgentMessage, ControllerMessage, Hello, Reconnect, Welcome } from "../session.ts";
import { encodeApplied, encodeAssignment, encodeRejected } from "./assignment.ts";
import { readApplied, readAssignment, readRejected } from "./assignment.ts";
import { decoded, present, table, text, u32, u64, whole, word } from "./reader.ts";
import type { Decoded } from "./reader.ts";
import { encodeReport, readReport } from "./report.ts";
import { hostAddress, name } from "./spec.ts";

export function encodeAgentMessage(m: AgentMessage): wire.AgentMessage {
  switch (m.kind) {
    case "hello":
      return { message: { $case: "hello", value: encodeHello(m.hello) } };
    case "applied":
      return { message: { $case: "applied", value: encodeApplied(m.applied) } };
    case "rejected":
      return { message: { $case: "rejected", value: encodeRejected(m.rejected) } };
    case "report":
      return { message: { $case: "report", value: encodeReport(m.report) } };
  }
}

export function decodeAgentMessage(m: wire.AgentMessage): Decoded<AgentMessage> {
  return decoded((): AgentMessage => {
    const { $case, value } = present("message", m.message);
    switch ($case) {
      case "hello":
        return { kind: "hello", hello: readHello(value) };
      case "applied":
        return { kind: "applied", applied: readApplied(value) };
      case "rejected":
        return { kind: "rejected", rejected: readRejected(value) };
      case "report":
        return { kind: "report", report: readReport(value) };
    }
  });
}

export function encodeControllerMessage(m: ControllerMessage): wire.ControllerMessage {
  switch (m.kind) {
    case "welcome":
      return { message: { $case: "welcome", value: encodeWelcome(m.welcome) } };
    case "assignment":
      return { message: { $case: "assignment", value: encodeAssignment(m.assignment) } };
    case "reconnect":
      return { message: { $case: "reconnect", value: encodeReconnect(m.reconnect) } };
  }
}

export function decodeControllerMessage(m: wire.ControllerMessage): Decoded<ControllerMessage> {
  return decoded((): ControllerMessage => {
    const { $case, value } = present("message", m.message);
    switch ($case) {
      case "welcome":
        return { kind: "welcome", welcome: readWelcome(value) };
      case "assignment":
        return { kind: "assignment", assignment: readAssignment(value) };
      case "reconnect":
        return { kind: "reconnect", reconnect: readReconnect(value) };
    }
  });
}

const encodeHello = (h: Hello): wire.Hello => ({
  ...h,
  protocolVersion: u32(h.protocolVersion),
  labels: { ...h.labels },
  highestEpoch: u64(h.highestEpoch),
  applied: h.applied === null ? undefined : encodeApplied(h.applied),
});

const readHello = (h: wire.Hello): Hello => ({
  // Any number: the session answers a version that it does not speak with both numbers named.
  protocolVersion: whole("protocol_version", h.protocolVersion),
  host: name("host", h.host),
  role: word("role", h.role, ROLES),
  labels: table("labels", h.labels, LIMITS.labels, (f, v) => text(f, v, LIMITS.nameLength, isLabelValue), isLabelKey),
  boot: text("boot", h.boot, LIMITS.idLength, (t) => t !== ""),
  software: text("software", h.software, LIMITS.idLength),
  // A gateway that no other agent is to reach names no address.
  address: h.address === "" && h.role === "gateway" ? "" : hostAddress("address", h.address),
  highestEpoch: whole("highest_epoch", h.highestEpoch),
  applied: h.applied === undefined ? null : readApplied(h.applied),
  inboundPorts: h.inboundPorts === "" ? "declared" : word("inbound_ports", h.inboundPorts, INBOUND_PORTS),
});

const encodeWelcome = (w: Welcome): wire.Welcome => ({
  epoch: u64(w.epoch),
  session: w.session,
  reportEveryMs: u32(w.reportEveryMs),
  leaseMs: u32(w.leaseMs),
});

/** An hour is far beyond any sensible lease; a report every few milliseconds would be a flood. */
const readWelcome = (w: wire.Welcome): Welcome => ({
  epoch: whole("epoch", w.epoch, Number.MAX_SAFE_INTEGER, 1),
  session: text("session", w.session, LIMITS.idLength, (t) => t !== ""),
  reportEveryMs: whole("report_every_ms", w.reportEveryMs, 3_600_000, 10),
  leaseMs: whole("lease_ms", w.leaseMs, 3_600_000, 100),
});

const encodeReconnect = (r: Reconnect): wire.Reconnect => ({
  withinMs: u32(r.withinMs),
  reason: r.reason.slice(0, LIMITS.textLength),
});

const readReconnect = (r: wire.Reconnect): Reconnect => ({
  withinMs: whole("within_ms", r.withinMs, 3_600_000),
  reason: text("reason", r.reason, LIMITS.textLength),
});
