/** Commands as real processes: those that answer, hang, crash, flood, fork, and those that may not run at all. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { Leave } from "../../../control/analysis/command.ts";
import { measureWith } from "../../../control/analysis/measure.ts";
import type { Outcome } from "../../../control/analysis/source.ts";
import { killGroup } from "../../../proto/runtime/process-group.ts";
import { systemClock } from "../../../proto/runtime/system-clock.ts";
import { until } from "../../support/processes.ts";

class Folder implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), "baton-command-"));
  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

const SUBJECT = { service: "shop", rollout: "shop-r2-5f0c91", canary: "v2", stable: "v1", metric: "smoke" };
const LEAVE: Leave = { env: process.env, killGroup };

interface Changes {
  readonly timeoutMs?: number;
  readonly leave?: Leave | null;
  readonly signal?: AbortSignal;
}

function run(command: readonly string[], changes: Changes = {}): Promise<Outcome> {
  const { timeoutMs = 10_000, leave = LEAVE, signal = new AbortController().signal } = changes;
  const measure = measureWith({ clock: systemClock, commands: leave, tokens: new Map() });
  return measure({ kind: "command", command, timeoutMs }, SUBJECT, signal);
}

const sh = (script: string, changes?: Changes): Promise<Outcome> => run(["/bin/sh", "-c", script], changes);

const errorOf = async (answer: Promise<Outcome>): Promise<string> => {
  const outcome = await answer;
  return outcome.kind === "error" ? outcome.message : `no error but ${JSON.stringify(outcome)}`;
};

const alive = (pid: number): boolean => {
  try {
    // A zombie answers signals: what counts is whether it still runs.
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${String(pid)}/status`, "utf8"));
  } catch {
    return false;
  }
};

test("the last line is the number; names come in as arguments and in the environment, past no shell", async () => {
  expect(await sh("echo checking; echo 0.25; echo")).toEqual({ kind: "value", value: 0.25 });
  expect(await run(["printf", "%s", "-1.5e3"])).toEqual({ kind: "value", value: -1500 });
  const script =
    '[ "$1 $2" = "shop/v2 \\$(id)" ] && [ "$BATON_STABLE$BATON_METRIC$BATON_ROLLOUT" = "v1smokeshop-r2-5f0c91" ]';
  const args = ["/bin/sh", "-c", `${script} && echo "$BATON_SERVICE$BATON_CANARY" >&2 && echo 1`, "sh"];
  expect(await run([...args, "{{service}}/{{canary}}", "$(id)"])).toEqual({ kind: "value", value: 1 });
});

test("without leave nothing is run, and the error names the option that gives it", async () => {
  using folder = new Folder();
  const file = join(folder.path, "ran");
  expect(await errorOf(sh(`touch ${file}; echo 1`, { leave: null }))).toContain("--analysis-commands");
  expect(existsSync(file)).toBe(false);
});

test("nan is no data; silence and words are errors", async () => {
  expect(await sh("echo NaN")).toMatchObject({ kind: "nodata" });
  expect(await sh("echo -inf")).toMatchObject({ kind: "nodata" });
  expect(await errorOf(sh("true"))).toContain("printed nothing");
  expect(await errorOf(sh("echo 1; echo done"))).toBe("the last line of /bin/sh is no number: done");
  for (const text of ["0x10", "1,5", "1 2", "1_000", "--1", "."]) {
    expect(await errorOf(run(["printf", "%s", text]))).toContain("is no number");
  }
});

test("a command that crashes is told with its exit and its last words, whatever it printed", async () => {
  expect(await errorOf(sh("echo 1; echo one >&2; echo 'no route to db' >&2; exit 3"))).toBe(
    "/bin/sh ended with exit code 3: one | no route to db",
  );
  expect(await errorOf(sh("echo 1; kill -SEGV $$"))).toContain("ended with signal SIGSEGV");
  expect(await errorOf(run(["/no/such/program"]))).toBe("/no/such/program can't be run: there is no such program");
  expect(await errorOf(run(["/etc/passwd"]))).toContain("can't be run");
  expect(await errorOf(run(["a\0b"]))).toContain("can't be run");
  expect(await errorOf(run([]))).toContain("can't be run");
});

test("a command that hangs, deaf to SIGTERM, is killed at its timeout with all that it started", async () => {
  using folder = new Folder();
  const pids = join(folder.path, "pids");
  const hang = `trap '' TERM; sleep 1000 & echo $! $$ > ${pids}.new; mv ${pids}.new ${pids}; wait; sleep 1000`;
  expect(await errorOf(sh(hang, { timeoutMs: 500 }))).toBe("/bin/sh took longer than 500ms");
  const started = readFileSync(pids, "utf8").trim().split(" ").map(Number);
  expect(started).toHaveLength(2);
  await until("all of them are gone", () => !started.some(alive));
});

test("what is not wanted any more is killed at once", async () => {
  using folder = new Folder();
  const pid = join(folder.path, "pid");
  const gone = new AbortController();
  const answer = errorOf(sh(`echo $$ > ${pid}.new; mv ${pid}.new ${pid}; sleep 1000`, { signal: gone.signal }));
  await until("it runs", () => existsSync(pid));
  gone.abort();
  expect(await answer).toContain("not wanted any more");
  await until("it is gone", () => !alive(Number(readFileSync(pid, "utf8"))));
});

test("a child that is left behind, holding the output open, delays nothing and is ended", async () => {
  using folder = new Folder();
  const pid = join(folder.path, "pid");
  const began = performance.now();
  expect(await sh(`sleep 1000 & echo $! > ${pid}; echo 5`)).toEqual({ kind: "value", value: 5 });
  expect(performance.now() - began).toBeLessThan(8_000);
  await until("it is gone", () => !alive(Number(readFileSync(pid, "utf8"))));
});

test("a child that has left the group is not waited for", async () => {
  using folder = new Folder();
  const pid = join(folder.path, "pid");
  const outcome = await sh(`setsid sh -c 'echo $$ > ${pid}.new; mv ${pid}.new ${pid}; exec sleep 1000' & 
    while [ ! -e ${pid} ]; do sleep 0.01; done; echo 6`);
  const escaped = Number(readFileSync(pid, "utf8"));
  try {
    expect(outcome).toEqual({ kind: "value", value: 6 });
  } finally {
    process.kill(escaped, "SIGKILL");
  }
});

test("a flood is ended at its bound", async () => {
  expect(await errorOf(run(["yes"]))).toContain("printed more than 1 MiB");
  expect(await errorOf(sh("yes >&2"))).toContain("printed more than 1 MiB");
});

test("a number behind much output is found, and output without an end of line too", async () => {
  using folder = new Folder();
  const script = join(folder.path, "long.sh");
  writeFileSync(script, "#!/bin/sh\nhead -c 500000 /dev/zero | tr '\\0' x\nprintf '\\n42'\n", { mode: 0o700 });
  expect(await run([script])).toEqual({ kind: "value", value: 42 });
});
