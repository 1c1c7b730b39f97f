/** I4 by the logs: fences only grow, and an epoch has one owner. */
import { appendFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Epochs } from "../../chaos/epochs.ts";

let folder = "";
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), "baton-epochs-"))));
afterEach(() => rmSync(folder, { recursive: true }));

const log = (name: string): { name: string; logFile: string } => ({ name, logFile: join(folder, name) });
const write = (name: string, ...lines: readonly (object | string)[]): void =>
  appendFileSync(
    join(folder, name),
    lines.map((line) => `${typeof line === "string" ? line : JSON.stringify(line)}\n`).join(""),
  );
const applied = (epoch: number, generation: number): object => ({ msg: "assignment applied", epoch, generation });

test("an agent that applies an older pair, over however many looks, is found out", () => {
  const epochs = new Epochs([log("a")], []);
  write("a", applied(1, 5), applied(1, 5), applied(2, 1));
  expect(epochs.look()).toEqual([]);
  write("a", applied(2, 3), applied(2, 2));
  expect(epochs.look()).toEqual(["I4: a applied (2, 2) after (2, 3)"]);
  write("a", { msg: "session open", epoch: 3 }, { msg: "session open", epoch: 2 });
  expect(epochs.look().join()).toMatch(/session of epoch 2 after 3/);
});

test("an epoch that two controllers took, or one took twice, is found out", () => {
  const epochs = new Epochs([], [log("c1"), log("c2")]);
  write("c1", "baton control: gRPC on 127.0.0.1:1, HTTP on 127.0.0.1:2, epoch 1");
  write("c2", { msg: "leads", role: "leader", epoch: 2 });
  expect(epochs.look()).toEqual([]);
  write("c1", { msg: "leads", role: "leader", epoch: 2 });
  expect(epochs.look()).toEqual(["double leader: epoch 2 was taken by c2 and by c1"]);
});

test("a line that is cut in two by the moment of the look is read whole", () => {
  const epochs = new Epochs([log("a")], []);
  const line = JSON.stringify(applied(2, 2));
  appendFileSync(join(folder, "a"), line.slice(0, 20));
  expect(epochs.look()).toEqual([]);
  appendFileSync(join(folder, "a"), `${line.slice(20)}\n${JSON.stringify(applied(1, 1))}\n`);
  expect(epochs.look()).toEqual(["I4: a applied (1, 1) after (2, 2)"]);
});

test("an agent that is started again after a full disk begins from what it could keep, and from no other", () => {
  const epochs = new Epochs([log("a")], []);
  const full = { level: 50, err: { type: "Error", message: "ENOSPC: no space left on device, write" } };
  write("a", applied(2, 3), full, applied(2, 9), { msg: "agent started" }, applied(2, 3));
  expect(epochs.look()).toEqual([]);
  // It was written again before the start; or nothing was started.
  write("a", full, { msg: "state is written again" }, applied(2, 9), { msg: "agent started" }, applied(2, 4));
  expect(epochs.look()).toEqual(["I4: a applied (2, 4) after (2, 9)"]);
  write("a", full, applied(2, 1));
  expect(epochs.look()).toEqual(["I4: a applied (2, 1) after (2, 4)"]);
});
