/** What every command that talks to a controller shares: its options, and how they are read. */
import type { Command } from "commander";
import { InvalidArgumentError, Option } from "commander";
import { parseHostPort } from "../../proto/contract/address.ts";
import { PORTS } from "../../proto/contract/limits.ts";
import { didYouMean } from "../../proto/contract/nearest.ts";
import { parseDuration } from "../../proto/contract/units.ts";
import { Controller } from "./client.ts";
import type { Format } from "./output.ts";
import { FORMATS, remark } from "./output.ts";

export interface CommonOptions {
  /** host:port, tried in turn. */
  readonly controller: readonly string[];
  readonly tokenFile?: string;
  readonly trustNetwork?: boolean;
  readonly output: Format;
}

export interface WaitOptions {
  readonly wait?: boolean;
  readonly watch?: boolean;
  readonly timeout?: number;
}

const CONTROLLER = `127.0.0.1:${String(PORTS.controllerGrpc)}`;
const MOST_CONTROLLERS = 16;

export function withController(command: Command): Command {
  return command
    .addOption(
      new Option("--controller <host:port,...>", "the controller's address; of several controllers, all, tried in turn")
        .env("BATON_CONTROLLER")
        .default([CONTROLLER], CONTROLLER)
        .argParser(addresses),
    )
    .addOption(new Option("--token-file <file>", "a file with the operator's token").env("BATON_TOKEN_FILE"))
    .option("--trust-network", "send the token beyond loopback in plain text: only where the network is encrypted")
    .addOption(new Option("-o, --output <format>", "how to print").choices([...FORMATS]).default("table"));
}

export function withWait(command: Command): Command {
  return command
    .option("--wait", "return when the rollout has ended; the exit code says how")
    .option("--watch", "show it while waiting")
    .option("--timeout <duration>", "give up waiting after this long, for example 5m (exit 4)", duration);
}

function addresses(text: string): readonly string[] {
  const all = [...new Set(text.split(",").map((one) => one.trim()))];
  if (all.some((one) => parseHostPort(one) === undefined)) throw new InvalidArgumentError("Expected HOST:PORT.");
  if (all.length > MOST_CONTROLLERS) {
    throw new InvalidArgumentError(`Expected ${String(MOST_CONTROLLERS)} addresses at most.`);
  }
  return all;
}

/** One of these words; another is refused with the nearest. */
export function oneOf(known: readonly string[]): (text: string) => string {
  return (text) => {
    if (known.includes(text)) return text;
    throw new InvalidArgumentError(`Expected one of ${known.join(", ")}${didYouMean(text, known)}`);
  };
}

/** Commander names an argument that is missing, and not what it may be. */
export function saysKinds(command: Command, kinds: readonly string[]): Command {
  const before = command.configureOutput();
  return command.configureOutput({
    outputError: (text, write) =>
      before.outputError?.(
        text.replace(/^error: missing required argument 'kind'/, `$&: one of ${kinds.join(", ")}`),
        write,
      ),
  });
}

export function duration(text: string): number {
  const ms = parseDuration(text);
  if (ms === undefined) throw new InvalidArgumentError("Expected a duration such as 500ms, 30s or 2m.");
  return ms;
}

export function wholeNumber(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError("Expected a whole number.");
  return Number(text);
}

/** Versions are named otherwise: `baton deploy SERVICE --to VERSION`. */
export function revision(text: string): number {
  if (!/^\d{1,9}$/.test(text)) {
    throw new InvalidArgumentError("Expected a revision's number, as in `baton get revisions SERVICE`.");
  }
  return Number(text);
}

export function positiveNumber(text: string): number {
  const number = wholeNumber(text);
  if (number === 0) throw new InvalidArgumentError("Expected a whole number from 1 on.");
  return number;
}

/** @param timeoutMs for one answer */
export function connect(options: CommonOptions, timeoutMs?: number): Controller {
  const controller = new Controller({
    controllers: options.controller,
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
    ...(options.tokenFile === undefined ? {} : { tokenFile: options.tokenFile }),
    trustNetwork: options.trustNetwork ?? false,
  });
  controller.told = remark;
  return controller;
}
