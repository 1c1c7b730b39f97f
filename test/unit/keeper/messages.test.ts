/** Nothing that comes over a channel is believed before it is looked at. */
import { expect, test } from "vitest";
import * as fc from "fast-check";
import { readFromCore, readFromWorker } from "../../../agent/keeper/messages.ts";

const process = { id: "a", command: ["x"], cwd: "/", env: { A: "b" }, outputFile: "/o" };

test.each([
  { type: "bind", listeners: [{ name: "a", address: "127.0.0.1", port: 0 }] },
  { type: "unbind", names: ["a"] },
  { type: "generation", workers: 2 },
  { type: "table", table: {} },
  { type: "launch", process },
  { type: "kill", id: "a", signal: "SIGTERM" },
  { type: "forget", id: "a" },
  { type: "taken", worker: 1 },
  { type: "relay", worker: 1, body: null },
  { type: "stopping" },
  { type: "shutdown", code: 0 },
])("a core may say %j", (message) => {
  expect(readFromCore(message)).toBe(message);
});

test.each([
  { type: "bind", listeners: [{ name: "a", address: "127.0.0.1", port: 65_536 }] },
  { type: "bind", listeners: [{ name: "", address: "127.0.0.1", port: 1 }] },
  { type: "unbind", names: "a" },
  { type: "generation", workers: 0.5 },
  { type: "table", table: null },
  { type: "launch", process: { ...process, env: { A: 1 } } },
  { type: "launch", process: { ...process, command: "rm" } },
  { type: "kill", id: "a", signal: "SIGSEGV" },
  { type: "relay", worker: 1 },
  { type: "shutdown", code: 300 },
  { type: "toString" },
])("a core may not say %j", (message) => {
  expect(readFromCore(message)).toBeNull();
});

test("a worker may say three things", () => {
  for (const message of [{ type: "serving" }, { type: "tabled", number: 1, ok: false }, { type: "relay", body: 1 }])
    expect(readFromWorker(message)).toBe(message);
  for (const message of [
    { type: "drain", hurry: true },
    { type: "tabled", number: "1", ok: false },
    { type: "tabled", number: 1 },
  ])
    expect(readFromWorker(message)).toBeNull();
});

test("whatever comes is read or refused, and nothing is thrown", () => {
  fc.assert(
    fc.property(fc.anything(), (value) => {
      readFromCore(value);
      readFromWorker(value);
    }),
  );
});
