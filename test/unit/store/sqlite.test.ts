import { copyFileSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterEach, describe, expect, test } from "vitest";
import { APPLICATION_ID, migrate, MIGRATIONS } from "../../../control/store/sqlite/migrate.ts";
import { openSqliteStore } from "../../../control/store/sqlite/open.ts";
import { StoreUnusable } from "../../../control/store/store.ts";
import { host, revision } from "../../support/samples.ts";
import { storeContract } from "../../support/store-contract.ts";

const folders: string[] = [];
const folder = (): string => {
  const made = mkdtempSync(join(tmpdir(), "baton-store-"));
  folders.push(made);
  return made;
};
afterEach(() => {
  for (const made of folders.splice(0)) rmSync(made, { recursive: true, force: true });
});
const open = (at: string): ReturnType<typeof openSqliteStore> =>
  openSqliteStore({ folder: at, pid: 4711, nowMs: Date.UTC(2026, 0, 2, 3, 4, 5) });

storeContract("sqlite", {
  fresh: () => {
    const at = folder();
    return Promise.resolve({ store: open(at).store, reopen: () => Promise.resolve(open(at).store) });
  },
});

describe("opening", () => {
  const full = async (at: string): Promise<void> => {
    const { store } = open(at);
    for (let n = 0; n < 200; n++) {
      const service = { name: `s${n}`, stable: 0, previous: 0, newest: 0 };
      await store.commit(1, [{ kind: "service", service }]);
    }
    await store.close();
  };

  test("a second controller on one folder is refused, and told who holds it", async () => {
    const at = folder();
    const { store } = open(at);
    expect(() => open(at)).toThrow(/another controller \(pid 4711\) uses the state folder/);
    await store.close();
    await open(at).store.close();
  });

  test("a file that is no database is set aside untouched, and an empty store takes its place", async () => {
    const at = folder();
    writeFileSync(join(at, "controller.db"), "not a database, but all that was left");
    writeFileSync(join(at, "controller.db-wal"), "log");
    const { store, damaged } = open(at);
    expect(damaged?.setAside).toBe(join(at, "controller.db.damaged-20260102T030405Z"));
    expect(damaged?.why).toMatch(/not a database/);
    expect(readFileSync(damaged!.setAside, "utf8")).toBe("not a database, but all that was left");
    expect(readFileSync(`${damaged!.setAside}-wal`, "utf8")).toBe("log");
    expect((await store.load()).services).toEqual([]);
    await store.close();
  });

  test("a malformed page is found before anything is written, and set aside byte for byte", async () => {
    const at = folder();
    await full(at);
    const path = join(at, "controller.db");
    const bytes = readFileSync(path);
    bytes.fill(0xff, 4096 + 100, 4096 * 8);
    writeFileSync(path, bytes);
    const { store, damaged } = open(at);
    expect(damaged).not.toBeNull();
    expect(readFileSync(damaged!.setAside).equals(bytes)).toBe(true);
    await store.close();
    expect(open(at).damaged).toBeNull();
  });

  test("a store that was emptied is told of, not taken for a new one", async () => {
    const at = folder();
    writeFileSync(join(at, "controller.db"), "");
    const { store, damaged } = open(at);
    expect(damaged?.why).toBe("it is empty");
    await store.close();
  });

  test("a revision that is whole as a page and another than was stored is found by its hash", async () => {
    const at = folder();
    const { store } = open(at);
    const service = { name: "shop", stable: 0, previous: 0, newest: 1 };
    await store.commit(1, [
      { kind: "service", service },
      { kind: "revision", revision: revision(1) },
    ]);
    await store.close();
    const again = open(at);
    expect(again.damaged).toBeNull();
    await again.store.close();
    const db = new DatabaseSync(join(at, "controller.db"));
    db.exec("UPDATE revisions SET spec = replace(spec, 'server.js', 'serfer.js')");
    db.close();
    expect(open(at).damaged?.why).toBe("revision 1 of shop is not what was stored: its hash differs");
  });

  test("a record that can't be read is damage, not the end of every start", async () => {
    const at = folder();
    const { store } = open(at);
    await store.commit(1, [{ kind: "host", host: host("host-1") }]);
    await store.close();
    const path = join(at, "controller.db");
    const bytes = readFileSync(path);
    bytes[bytes.indexOf('"name":"host-1"') + 6] = 0x01; // the colon
    writeFileSync(path, bytes);
    expect(open(at).damaged?.why).toMatch(/hosts/);
  });

  test("two damaged stores in one second do not take each other's name", async () => {
    const at = folder();
    for (const content of ["first wreck, long enough", "second wreck, long enough"]) {
      writeFileSync(join(at, "controller.db"), content);
      await open(at).store.close();
    }
    const wrecks = readdirSync(at).filter((name) => /damaged-[^-]*(-2)?$/.test(name));
    expect(wrecks.map((name) => readFileSync(join(at, name), "utf8")).sort()).toEqual([
      "first wreck, long enough",
      "second wreck, long enough",
    ]);
  });

  test("a log left without its database is set aside, not swallowed", async () => {
    const at = folder();
    writeFileSync(join(at, "controller.db-wal"), "left alone");
    const { store, damaged } = open(at);
    expect(readFileSync(`${damaged!.setAside}-wal`, "utf8")).toBe("left alone");
    await store.close();
  });

  test("what a killed writer had committed is read from its log", async () => {
    const at = folder();
    const { store } = open(at);
    await store.commit(1, [{ kind: "service", service: { name: "shop", stable: 0, previous: 0, newest: 0 } }]);
    // A copy taken while the writer lives is what SIGKILL leaves: a database and its log, not folded in.
    const copy = folder();
    for (const name of ["controller.db", "controller.db-wal"]) copyFileSync(join(at, name), join(copy, name));
    await store.close();
    const again = open(copy);
    expect(again.damaged).toBeNull();
    expect((await again.store.load()).services.map((s) => s.name)).toEqual(["shop"]);
    await again.store.close();
  });

  test("a schema newer than known is refused, and left as it is", async () => {
    const at = folder();
    await open(at).store.close();
    const db = new DatabaseSync(join(at, "controller.db"));
    db.exec("PRAGMA user_version = 99");
    db.close();
    expect(() => open(at)).toThrow(StoreUnusable);
    expect(() => open(at)).toThrow(`has schema 99, and this program knows schemas up to ${MIGRATIONS.length}`);
    expect(readdirSync(at).some((name) => name.includes("damaged"))).toBe(false);
  });

  test("another program's database is refused, not taken over", () => {
    const at = folder();
    const db = new DatabaseSync(join(at, "controller.db"));
    db.exec("CREATE TABLE recipes (name TEXT)");
    db.close();
    const before = readFileSync(join(at, "controller.db"));
    expect(() => open(at)).toThrow(/a database of another program/);
    expect(readFileSync(join(at, "controller.db")).equals(before)).toBe(true);
  });

  test("a state folder that can't be made says so in one line", () => {
    const at = folder();
    writeFileSync(join(at, "file"), "");
    expect(() => open(join(at, "file"))).toThrow(/the state folder .*file can't be used: /);
  });
});

describe("migrations", () => {
  test("each runs once, in order; a failing one leaves the schema as it was", () => {
    const at = join(folder(), "m.db");
    const db = new DatabaseSync(at);
    const two = { version: MIGRATIONS.length + 1, sql: "CREATE TABLE two (a TEXT) STRICT" };
    const bad = { version: two.version + 1, sql: "CREATE TABLE three (a TEXT) STRICT; CREATE TABLE two (a TEXT)" };
    migrate(db, at);
    migrate(db, at, [...MIGRATIONS, two]);
    migrate(db, at, [...MIGRATIONS, two]);
    expect(() => migrate(db, at, [...MIGRATIONS, two, bad])).toThrow(/already exists/);
    expect(db.prepare("PRAGMA user_version").get()).toEqual({ user_version: two.version });
    expect(db.prepare("SELECT name FROM sqlite_schema WHERE name = 'three'").get()).toBeUndefined();
    expect(db.prepare("PRAGMA application_id").get()).toEqual({ application_id: APPLICATION_ID });
    db.close();
  });

  test("numbers are in order, without gaps", () => {
    expect(MIGRATIONS.map((m) => m.version)).toEqual(MIGRATIONS.map((_, i) => i + 1));
  });
});

test("events are bounded: the oldest go", async () => {
  const at = folder();
  const { store } = open(at);
  const event = { atMs: 1, kind: "k", service: "", rollout: "", host: "", actor: "", message: "" };
  for (let n = 0; n < 11; n++) {
    await store.commit(
      1,
      Array.from({ length: 1_000 }, () => ({ kind: "event", event }) as const),
    );
  }
  const kept = await store.events({ afterSeq: 0, service: "", limit: 20_000 });
  expect(kept).toHaveLength(10_000);
  expect(kept.at(-1)?.seq).toBe(11_000);
  await store.close();
  expect(existsSync(join(at, "controller.db"))).toBe(true);
});
