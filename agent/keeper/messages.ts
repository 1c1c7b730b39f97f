/**
 * Reads what came over a channel: the shape is checked before anything is done, because the other side may be of
 * another version than the keeper, which outlives upgrades. null: not understood, to be logged and dropped.
 */
import type { CoreToKeeper, ProcessSpec, WorkerToKeeper } from "./protocol.ts";

type Fields = Readonly<Record<string, unknown>>;

export function readFromCore(raw: unknown): CoreToKeeper | null {
  if (!isRecord(raw)) return null;
  switch (raw["type"]) {
    case "bind":
      return isList(raw["listeners"], isAddress) ? (raw as CoreToKeeper) : null;
    case "unbind":
      return isList(raw["names"], isText) ? (raw as CoreToKeeper) : null;
    case "generation":
      return isCount(raw["workers"]) && raw["workers"] >= 1 && raw["workers"] <= 256 ? (raw as CoreToKeeper) : null;
    case "table":
      return isRecord(raw["table"]) ? (raw as CoreToKeeper) : null;
    case "launch":
      return isProcess(raw["process"]) ? (raw as CoreToKeeper) : null;
    case "kill":
      return isText(raw["id"]) && (raw["signal"] === "SIGTERM" || raw["signal"] === "SIGKILL")
        ? (raw as CoreToKeeper)
        : null;
    case "forget":
      return isText(raw["id"]) ? (raw as CoreToKeeper) : null;
    case "taken":
      return isCount(raw["worker"]) ? (raw as CoreToKeeper) : null;
    case "relay":
      return isCount(raw["worker"]) && "body" in raw ? (raw as CoreToKeeper) : null;
    case "stopping":
      return raw as CoreToKeeper;
    case "shutdown":
      return isCount(raw["code"]) && raw["code"] < 256 ? (raw as CoreToKeeper) : null;
    default:
      return null;
  }
}

export function readFromWorker(raw: unknown): WorkerToKeeper | null {
  if (!isRecord(raw)) return null;
  switch (raw["type"]) {
    case "serving":
    case "released":
      return raw as WorkerToKeeper;
    case "tabled":
      return isCount(raw["number"]) && typeof raw["ok"] === "boolean" ? (raw as WorkerToKeeper) : null;
    case "relay":
      return "body" in raw ? (raw as WorkerToKeeper) : null;
    default:
      return null;
  }
}

const isRecord = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const isText = (value: unknown): value is string => typeof value === "string" && value !== "";
const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
const isList = (value: unknown, each: (one: unknown) => boolean): boolean => Array.isArray(value) && value.every(each);

const isAddress = (value: unknown): boolean =>
  isRecord(value) &&
  isText(value["name"]) &&
  isText(value["address"]) &&
  isCount(value["port"]) &&
  value["port"] < 65_536;

function isProcess(value: unknown): value is ProcessSpec {
  return (
    isRecord(value) &&
    isText(value["id"]) &&
    isList(value["command"], (word) => typeof word === "string") &&
    isText(value["cwd"]) &&
    isText(value["outputFile"]) &&
    isRecord(value["env"]) &&
    Object.values(value["env"]).every((one) => typeof one === "string")
  );
}
