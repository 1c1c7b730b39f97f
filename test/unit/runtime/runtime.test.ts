import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { readChecked, writeAtomic } from "../../../proto/runtime/atomic-file.ts";
import { systemClock } from "../../../proto/runtime/system-clock.ts";

let folder = "";
let path = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "baton-atomic-"));
  path = join(folder, "assignment");
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

test("a file is read back as it was written, and is for its owner alone", () => {
  expect(readChecked(path)).toEqual({ kind: "absent" });
  for (const content of ["", "{}", "line\nline\n", "é\u0000\u{1f600}"]) {
    writeAtomic(path, content);
    expect(readChecked(path)).toEqual({ kind: "ok", content });
  }
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(readdirSync(folder)).toEqual(["assignment"]);
});

const DAMAGE: readonly (readonly [string, () => void])[] = [
  ["torn at its end", () => truncateSync(path, statSync(path).size - 1)],
  ["torn within its checksum", () => truncateSync(path, 20)],
  ["empty", () => truncateSync(path, 0)],
  ["of zeros, as a crash leaves it on some file systems", () => writeFileSync(path, Buffer.alloc(100))],
  ["edited by hand", () => writeFileSync(path, readFileSync(path, "utf8").replace("good", "evil"))],
  ["in no encoding", () => writeFileSync(path, Buffer.concat([readFileSync(path), Buffer.from([0xff, 0xfe])]))],
];
test.each(DAMAGE)("a file %s is set aside whole, and named; it is never half used", (_, damage) => {
  writeAtomic(path, "good state");
  damage();
  const damaged = readFileSync(path);
  const read = readChecked(path);
  if (read.kind !== "damaged") throw new Error(`read as ${read.kind}`);
  expect(readFileSync(read.setAside).equals(damaged)).toBe(true);
  expect(readChecked(path)).toEqual({ kind: "absent" });
});

test("a second damaged file does not take the first one's place", () => {
  for (const text of ["first", "second"]) {
    writeFileSync(path, text);
    readChecked(path);
  }
  expect(
    readdirSync(folder)
      .map((name) => readFileSync(join(folder, name), "utf8"))
      .sort(),
  ).toEqual(["first", "second"]);
});

test("a write that the system breaks off in the middle leaves the old file and nothing beside it", () => {
  writeAtomic(path, "the old state");
  // A real short write: the kernel takes bytes up to the process's file size limit, then refuses (EFBIG), just as a
  // disk that fills up takes some and then says ENOSPC.
  const script = `
    import { writeAtomic } from ${JSON.stringify(join(import.meta.dirname, "../../../proto/runtime/atomic-file.ts"))};
    try { writeAtomic(${JSON.stringify(path)}, "x".repeat(1 << 20)); console.log("written"); }
    catch (error) { console.log(error.code); }`;
  const limited = 'ulimit -f 64; exec "$0" --input-type=module --eval "$1"';
  const said = execFileSync("/bin/sh", ["-c", limited, process.execPath, script], { encoding: "utf8" });
  expect(said.trim()).toBe("EFBIG");
  expect(readChecked(path)).toEqual({ kind: "ok", content: "the old state" });
  expect(readdirSync(folder)).toEqual(["assignment"]);
});

test("a folder that is not there is the caller's error, not a silent loss", () => {
  expect(() => writeAtomic(join(folder, "none", "x"), "y")).toThrow(/ENOENT/);
});

test("a delay longer than Node's timers hold does not fire at once", async () => {
  let fired = false;
  const long = systemClock.after(2 ** 31 + 5, () => (fired = true));
  // Node would fire it after 1 ms; this one is set later and for longer.
  await new Promise((resolve) => setTimeout(resolve, 25));
  long.cancel();
  expect(fired).toBe(false);
});
