/** `baton up` takes its cluster with it, however it is left: its terminal closed, or the reader of its output gone. */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { randomUUID } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ROOT, until } from "../support/processes.ts";

const MAIN = join(ROOT, "control", "cli", "main.ts");
/** The controller, and the keeper, core and worker of a gateway and a host. */
const PARTS = 7;
const PATIENCE_MS = 120_000;

/** Each process that it starts inherits this name, and whoever those start. */
class Up implements AsyncDisposable {
  readonly #mark = `BATON_TEST_MARK=${randomUUID()}`;
  readonly child: ChildProcess;
  readonly ended: Promise<void>;
  said = "";

  constructor(...args: readonly string[]) {
    const [name = "", value] = this.#mark.split("=");
    this.child = spawn(process.execPath, [MAIN, "up", "--hosts", "1", "--rate", "20", ...args], {
      cwd: ROOT,
      env: { ...process.env, [name]: value },
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.ended = new Promise((resolve) => this.child.once("exit", () => resolve()));
    for (const from of ["stdout", "stderr"] as const) {
      this.child[from]?.setEncoding("utf8").on("data", (text: string) => (this.said += text));
    }
  }

  get hasEnded(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null;
  }

  async says(pattern: RegExp): Promise<void> {
    const over = (): boolean => pattern.test(this.said) || this.hasEnded;
    await until(`it says ${String(pattern)}`, over, PATIENCE_MS);
    expect(this.said).toMatch(pattern);
  }

  /** pids of what lives, itself included. */
  living(): readonly number[] {
    return readdirSync("/proc")
      .filter((entry) => /^\d+$/.test(entry))
      .filter((pid) => environment(pid).includes(this.#mark))
      .map(Number);
  }

  async leavesNothing(): Promise<void> {
    await until("baton up has ended", () => this.hasEnded, PATIENCE_MS);
    expect({ left: this.living(), by: this.child.signalCode, said: this.said }).toMatchObject({ left: [], by: null });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const pid of this.living()) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // ended meanwhile
      }
    }
    await this.ended;
  }
}

/** "" of a process that has ended, and of another user's. */
function environment(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/environ`, "utf8");
  } catch {
    return "";
  }
}

test("a terminal that is closed (SIGHUP) in mid-traffic: the cluster is stopped in order, and no process is left", async () => {
  await using up = new Up();
  await up.says(/mixed traffic/);
  expect(up.living().length).toBeGreaterThan(PARTS);
  up.child.kill("SIGHUP");
  await up.leavesNothing();
  expect(up.said).toContain("the client finishes what it has begun");
});

test("a terminal that is closed while the cluster comes up, and says so twice: no process is left", async () => {
  await using up = new Up();
  await until("some parts are started", () => up.living().length > 2, PATIENCE_MS);
  up.child.kill("SIGHUP");
  await up.says(/stopping: /);
  up.child.kill("SIGHUP");
  await up.leavesNothing();
});

test("a reader of its results that goes away (baton up | head -1): no process is left", async () => {
  await using up = new Up();
  await up.says(/mixed traffic/);
  up.child.stdout?.destroy();
  await up.leavesNothing();
  expect(up.said).toContain("stopping: what runs is finished first");
});

test("a reader of all that it says that goes away (baton up 2>&1 | head -1): no process is left", async () => {
  await using up = new Up();
  await up.says(/^baton up: /);
  await until("parts are started", () => up.living().length > 2, PATIENCE_MS);
  up.child.stdout?.destroy();
  up.child.stderr?.destroy();
  await up.leavesNothing();
});
