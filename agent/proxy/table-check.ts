/** Whether a table holds together. Answers the first thing that is wrong as one sentence for an operator, or null. */
import { isFieldName } from "../../proto/contract/http-field.ts";
import { WHOLE } from "../../proto/contract/units.ts";
import type { EndpointConfig, ServiceConfig, TableConfig } from "./config.ts";
import { refusedField } from "./header-filter.ts";

export function checkTable(config: TableConfig, slots: number): string | null {
  if (!/^[\x21-\x7e]+$/.test(config.agent))
    return `table: the agent's name ${JSON.stringify(config.agent)} fits no header`;
  const names = new Set<string>();
  for (const service of config.services) {
    if (names.has(service.name)) return `table: service "${service.name}" is there twice`;
    names.add(service.name);
    const why = checkService(service, slots);
    if (why !== null) return `service "${service.name}": ${why}`;
  }
  const keys = new Set<string>();
  for (const { key, services } of config.listeners) {
    if (keys.has(key)) return `table: listener ${key} is there twice`;
    keys.add(key);
    for (const index of services) {
      if (config.services[index] === undefined) return `listener ${key}: there is no service with index ${index}`;
    }
  }
  return null;
}

function checkService(service: ServiceConfig, slots: number): string | null {
  const badSlot = (slot: number): boolean => !Number.isInteger(slot) || slot < 0 || slot >= slots;
  if (badSlot(service.slot)) return `slot ${service.slot} is not within 0..${slots - 1}`;
  const total = service.versions.reduce((sum, { weight }) => sum + weight, 0);
  const sound = service.versions.every(({ weight }) => Number.isInteger(weight) && weight >= 0);
  if (!sound || (total !== WHOLE && total !== 0)) return `weights sum to ${total}, not to ${WHOLE} or 0`;
  const { timeoutMs, sseMs, websocketMs } = service.drain;
  if (![timeoutMs, sseMs, websocketMs].every((ms) => Number.isFinite(ms) && ms >= 0)) return "drain: a time is missing";
  for (const { path, retry, requestHeaders, responseHeaders } of service.rules) {
    const isPath = path.type === "RegularExpression" || path.value.startsWith("/");
    if (!isPath) return `path "${path.value}" does not begin with "/"`;
    if (!Number.isInteger(retry.attempts) || retry.attempts < 0) return `retry.attempts is ${retry.attempts}`;
    const refused = refusedField(requestHeaders) ?? refusedField(responseHeaders);
    if (refused !== null) return `the rule for "${path.value}" can't change this header: ${refused}`;
  }
  const split = checkSplit(service);
  if (split !== null) return split;
  const seen = new Set<string>();
  for (const { version, endpoints } of service.versions) {
    for (const endpoint of endpoints) {
      const why = checkEndpoint(endpoint);
      if (why !== null || badSlot(endpoint.slot)) {
        return `version "${version}", endpoint "${endpoint.id}": ${why ?? `slot ${endpoint.slot} is out of range`}`;
      }
      const key = `${endpoint.id}/${endpoint.address}/${endpoint.port}`;
      if (seen.has(key)) return `endpoint "${endpoint.id}" is there twice`;
      seen.add(key);
    }
  }
  return null;
}

function checkSplit({ sticky, routes, mirrors }: ServiceConfig): string | null {
  if (sticky !== null && !isFieldName(sticky.name)) return `sticky: ${JSON.stringify(sticky.name)} is no name`;
  if (sticky?.kind === "cookie" && !(sticky.maxAgeMs > 0)) return `sticky: a cookie of ${sticky.maxAgeMs} ms`;
  for (const { name, percentage } of mirrors) {
    if (!(percentage >= 0 && percentage <= WHOLE)) return `mirror "${name}": ${percentage} is not within 0..${WHOLE}`;
  }
  for (const { name, matches } of [...routes, ...mirrors]) {
    // Of none of nothing, or of everything? Nobody should have to guess.
    if (matches.length === 0) return `"${name}" says no match`;
  }
  return null;
}

function checkEndpoint({ address, port }: EndpointConfig): string | null {
  if (address === "") return "it has no address";
  return Number.isInteger(port) && port > 0 && port < 65_536 ? null : `port ${port} is none`;
}
