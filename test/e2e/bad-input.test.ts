/**
 * Bad input, by real processes and the real command line: one clear line a problem, the exit code that scripts rely on,
 * and nothing changed; a client asks all the while and sees nothing of it.
 */
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Api } from "../../control/cli/client.ts";
import { freePort } from "../../control/cli/up/cluster.ts";
import { openSqliteStore } from "../../control/store/sqlite/open.ts";
import { EXIT } from "../../proto/contract/limits.ts";
import { BadInput, baton, blockedPort, expectRefusal, get, shop } from "../support/bad-input.ts";
import type { Said } from "../support/bad-input.ts";
import { startClients } from "../support/keeper/steady-client.ts";
import { startNode, until } from "../support/processes.ts";

const { failed, usage, paused, unreachable } = EXIT;
type Command = readonly [args: readonly string[], code: number, ...lines: RegExp[]];

/** A few at a time: each is a process of its own. */
async function inTurn<T>(list: readonly T[], act: (one: T) => Promise<void>): Promise<void> {
  const left = [...list];
  const worker = async (): Promise<void> => {
    for (let next = left.shift(); next !== undefined; next = left.shift()) await act(next);
  };
  await Promise.all([worker(), worker(), worker()]);
}

const jsonLog = (text: string): { msg: string; level: number }[] =>
  text
    .split("\n")
    .flatMap((line) => (line.startsWith("{") ? [JSON.parse(line) as { msg: string; level: number }] : []));
/** Wherever SQLite may have put what matters, a part of it is hit. */
const flip = (path: string): void => {
  const bytes = readFileSync(path);
  for (let at = Math.floor(bytes.length / 4); at < (bytes.length * 3) / 4; at++) bytes[at] = (bytes[at] ?? 0) ^ 0xff;
  writeFileSync(path, bytes);
};

describe("a fleet that serves", () => {
  let fleet: BadInput;
  let clients: ReturnType<typeof startClients>;
  beforeAll(async () => {
    fleet = await BadInput.start();
    clients = startClients(`127.0.0.1:${String(fleet.port)}`, { clients: 2, keepAlive: true, pauseMs: 20 });
  });
  afterAll(async () => {
    await fleet[Symbol.asyncDispose]();
  });

  async function refused(commands: readonly Command[]): Promise<void> {
    const before = await fleet.snapshot();
    await inTurn(commands, async ([args, code, ...lines]) => {
      const said = await fleet.baton(...args);
      expectRefusal(said, code, lines.length === 0 ? [/./] : lines);
    });
    expect(await fleet.snapshot()).toEqual(before);
    expect(await fleet.serves()).toBe("v1");
  }

  test("documents: what, where and what instead, a line each; of two documents neither is taken", async () => {
    const { port } = fleet;
    const v2 = shop({ port, version: "v2" });
    const good = fleet.file("good.yaml", shop({ port: freePort(0), name: "books" }));
    mkdirSync(join(fleet.folder, "none"));
    const apply = (name: string, text: string, ...lines: RegExp[]): Command => [
      ["apply", "-f", good, "-f", fleet.file(name, text)],
      usage,
      ...lines,
    ];
    await refused([
      apply(
        "key.yaml",
        v2.replace("minHealthyTime", "minHealthTime"),
        /^baton: key\.yaml:10:26: spec\.strategy\.rolling\.minHealthTime: unknown key; did you mean minHealthyTime\?$/,
      ),
      apply(
        "type.yaml",
        v2.replace("interval: 300ms", "interval: often").replace(/port: \d+/, "port: eighty"),
        /^baton: type\.yaml:6:\d+: spec\.listen\[0\]\.port: expected a port from 0 to 65535, got text "eighty"$/,
        /^baton: type\.yaml:8:\d+: spec\.health\.interval: expected a duration such as 2s, got text "often"$/,
      ),
      apply(
        "twice.yaml",
        `${v2}---\n${v2}`,
        /^baton: twice\.yaml:14:\d+: metadata\.name: a second service named shop \(the other is at twice\.yaml:3:\d+\)$/,
      ),
      apply(
        "again.yaml",
        shop({ port: freePort(0), name: "books" }),
        /^baton: again\.yaml:3:\d+: metadata\.name: a second service named books \(the other is at good\.yaml:3:\d+\)$/,
      ),
      apply(
        "clash.yaml",
        shop({ port, name: "cafe" }),
        /^baton: clash\.yaml:1:1: spec\.listen\[0\]: service shop already takes any host .* on 127\.0\.0\.1:\d+; tell them apart/,
      ),
      apply("half.yaml", "apiVersion: [baton/v1\n", /^baton: half\.yaml:\d+:\d+: /),
      apply("empty.yaml", "", /^baton: empty\.yaml:1:1: no document in this file$/),
      apply(
        "kind.yaml",
        v2.replace("kind: Service", "kind: Servce"),
        /^baton: kind\.yaml:2:7: kind: expected Service, got text "Servce"/,
      ),
      [["apply", "-f", "absent.yaml"], usage, /^baton: absent\.yaml: can't be read: ENOENT/],
      [["apply", "-f", "none"], usage, /^baton: none: this folder holds no \.yaml file$/],
    ]);
    expectRefusal(await fleet.baton("check", "key.yaml"), usage, [/^key\.yaml:10:26: /]);
  });

  test("words: an unknown verb, option, service, host or version is named with the nearest", async () => {
    await refused([
      [["aply", "-f", "good.yaml"], usage, /^baton: unknown command 'aply'; did you mean apply\?$/],
      [["deploy", "shop", "--too", "v2"], usage, /^baton: unknown option '--too'; did you mean --to\?$/],
      [["rollout", "stats", "shop"], usage, /^baton: unknown command 'stats'; did you mean status\?$/],
      [["get", "servces"], usage, /^baton: .*'servces' is invalid.* did you mean services\?$/],
      [["deploy", "shp"], usage, /^baton: no service shp; did you mean shop\?$/],
      [["deploy", "shop", "--to", "v9"], usage, /^baton: shop has no version v9; it has v1 \(revision 1\)$/],
      [
        ["deploy", "shop", "--wait", "--timeout", "soon"],
        usage,
        /^baton: .*'soon' is invalid\. Expected a duration such as/,
      ],
      [["rollout", "status", "shp"], usage, /^baton: no service shp; did you mean shop\?$/],
      [
        ["rollout", "pause", "shop"],
        failed,
        /^baton: shop-r1-\w+ has ended \(Succeeded\); `baton deploy shop --to VERSION`/,
      ],
      [["get", "instances", "shp"], usage, /^baton: no service shp; did you mean shop\?$/],
      [["drain", "hots-1"], usage, /^baton: no host hots-1; did you mean host-1\?$/],
      [["delete", "shp"], usage, /^baton: no service shp; did you mean shop\?$/],
    ]);
  });

  test("a controller that can't be reached is exit 7, a wrong address or token is wrong usage", async () => {
    const nobody = `127.0.0.1:${String(freePort(0))}`;
    fleet.file("two-lines.token", "one\ntwo\n");
    const to = (address: string, code: number, line: RegExp): Command => [
      ["get", "hosts", "--controller", address],
      code,
      line,
    ];
    await refused([
      to(
        nobody,
        unreachable,
        new RegExp(
          `^baton: the controller at ${nobody} can't be reached: nothing listens there \\(ECONNREFUSED\\)\\. Is it running`,
        ),
      ),
      to(fleet.cluster.httpAddress, unreachable, /can't be reached: what answers there does not speak gRPC\. /),
      to("nowhere.invalid:7400", unreachable, /can't be reached: no such host name\. /),
      to("127.0.0.1", usage, /^baton: .*'127\.0\.0\.1' is invalid\. Expected HOST:PORT\.$/),
      to("127.0.0.1:99999", usage, /'127\.0\.0\.1:99999' is invalid\. Expected HOST:PORT\.$/),
      [["get", "hosts", "--token-file", "absent"], usage, /^baton: --token-file absent: ENOENT/],
      [
        ["get", "hosts", "--token-file", "two-lines.token"],
        usage,
        /^baton: --token-file two-lines\.token: it must hold one line/,
      ],
    ]);
  });

  test("processes that can't begin say why in one line: ports, folders and tokens", async () => {
    const { controllerAddress: grpc, httpAddress: http, folder } = fleet.cluster;
    fleet.file("short.token", "short\n");
    fleet.file("two.token", "one-of-two-lines\ntwo-of-two-lines\n");
    // Several start at once: each has a folder of its own, or they would find each other there.
    let others = 0;
    const control = (...args: string[]): string[] => [
      "control",
      "--grpc",
      "127.0.0.1:0",
      "--http",
      "127.0.0.1:0",
      "--log-level",
      "silent",
      "--state",
      join(folder, `other-${String((others += 1))}`),
      ...args,
    ];
    const agent = (name: string, ...args: string[]): string[] => [
      "agent",
      "--log-level",
      "silent",
      "--name",
      name,
      "--state",
      join(folder, name),
      ...args,
    ];
    const from = ["--controller", grpc];
    await refused([
      [control("--grpc", grpc), failed, new RegExp(`^baton control: --grpc ${grpc} is in use by another program; `)],
      [control("--http", http), failed, new RegExp(`^baton control: --http ${http} is in use by another program; `)],
      [
        control("--state", fleet.state("controller")),
        failed,
        /^baton control: another controller \(pid \d+\) uses the state folder /,
      ],
      [
        control("--grpc", "0.0.0.0:0"),
        failed,
        /^baton control: 0\.0\.0\.0:0 is beyond loopback, where anyone may connect: give --token-file/,
      ],
      [control("--token-file", "absent"), failed, /^baton control: the token file can't be read: ENOENT/],
      [
        control("--token-file", "short.token"),
        failed,
        /^baton control: the token in short\.token is shorter than 16 characters$/,
      ],
      [control("--token-file", "two.token"), failed, /^baton control: the token file two\.token must hold one line/],
      [control("--grcp", grpc), usage, /^baton control: unknown option --grcp; did you mean --grpc\?/],
      [
        agent("host-1", ...from),
        usage,
        /^baton agent: the state folder .* is in use by another agent \(pid \d+\); give each agent a folder of its own$/,
      ],
      [
        agent("host-7", ...from, "--admin", http),
        failed,
        new RegExp(`^baton agent: --admin ${http}: the port is in use by another process$`),
      ],
      [
        agent("host-8", ...from, "--admin", "0.0.0.0:0"),
        failed,
        /^baton agent: --admin 0\.0\.0\.0:0: beyond loopback the admin server wants a --token-file$/,
      ],
      [
        agent("host-9", "--controler", grpc),
        usage,
        /^baton agent: unknown option --controler; did you mean --controller\?; see baton agent --help$/,
      ],
    ]);
  });

  test("a command that can't be executed is rolled back by itself, and named with ENOENT", async () => {
    const file = fleet.file(
      "absent-command.yaml",
      shop({ port: fleet.port, version: "v2", command: ["/no/such/server", "--fast"] }),
    );
    const said = await fleet.baton("deploy", "-f", file, "--wait");
    expect(said.code).toBe(failed);
    const why =
      /v2 on host-1 exited \d times before it was ready \(can't execute \/no\/such\/server: no such file \(ENOENT\)\)/;
    expect(said.stdout).toMatch(why);
    const status = await fleet.baton("rollout", "status", "shop");
    expect(status.code).toBe(failed);
    expect(status.stdout).toMatch(why);
    expect(await fleet.serves()).toBe("v1");
  });

  test("a health path that never answers is rolled back at healthyDeadline, and told so", async () => {
    const view = await fleet.rollOut(shop({ port: fleet.port, version: "v5" }), "RolledBack");
    expect(view.exitCode).toBe(failed);
    expect(view.message).toMatch(/^Back on v1: v5 on host-1 was not ready within 2s \(readiness: no answer in 200ms\)/);
    expect(await fleet.serves()).toBe("v1");
  });

  test("a listener in use halts its own service alone; others roll on, and so does it once the port is free", async () => {
    const blocked = await blockedPort();
    const file = fleet.file("books.yaml", shop({ port: blocked.port, name: "books" }));
    const said = await fleet.baton("apply", "-f", file, "--wait");
    expect(said.code).toBe(paused);
    const why = `gateway-1 refused what it was asked: 127.0.0.1:${String(blocked.port)}: the port is in use by another process`;
    expect(said.stdout).toContain(`Paused (Rejected): ${why}`);

    const there = await fleet.rollOut(shop({ port: fleet.port, version: "v2" }), "Succeeded");
    expect(there.exitCode).toBe(EXIT.done);
    expect(there.transitions.map(({ reason }) => reason)).not.toContain("Rejected");
    expect(await fleet.serves()).toBe("v2");
    expect((await fleet.cluster.controller.call(Api.getRollout, { service: "books", rollout: "" })).message).toContain(
      why,
    );
    const { id } = await fleet.cluster.controller.call(Api.undo, { service: "shop", toRevision: 0, actor: "test" });
    await fleet.rollout(id, (view) => view.stage === "Succeeded");

    await blocked[Symbol.asyncDispose]();
    const books = await fleet.cluster.controller.call(Api.getRollout, { service: "books", rollout: "" });
    const ended = await fleet.rollout(books.id, (view) => view.stage === "Succeeded");
    // What the others did meanwhile was no news of it.
    expect(ended.transitions.filter(({ reason }) => reason === "Rejected")).toHaveLength(1);
    expect(await get(blocked.port)).toMatch(/^v1 /);
    await fleet.cluster.controller.call(Api.deleteService, { name: "books" });
    await until(
      "books is gone",
      async () => (await fleet.cluster.controller.call(Api.listServices, {})).services.length === 1,
    );
  });

  test("a service whose listener never comes is aborted and deleted while the port is still in use", async () => {
    await using blocked = await blockedPort();
    const file = fleet.file("books.yaml", shop({ port: blocked.port, name: "books" }));
    expect((await fleet.baton("apply", "-f", file, "--wait")).code).toBe(paused);
    const { controller } = fleet.cluster;
    const { id } = await controller.call(Api.abort, { service: "books", reason: "", actor: "test" });
    await fleet.rollout(id, (view) => view.stage === "RolledBack");
    await controller.call(Api.deleteService, { name: "books" });
    await until("books is gone", async () => (await controller.call(Api.listServices, {})).services.length === 1);
  });

  test("a damaged store is set aside byte for byte, and an empty controller stops nothing", async () => {
    const path = fleet.state("controller", "controller.db");
    const running = async () =>
      ((await fleet.snapshot()) as { hosts: { instances: { state: string; id: string }[] }[] }).hosts.flatMap(
        ({ instances }) => instances.filter(({ state }) => state === "serving").map(({ id }) => id),
      );
    const before = await running();
    expect(before).toHaveLength(1);
    const damages: Readonly<Record<string, () => void>> = {
      "flipped bytes": () => flip(path),
      truncated: () => truncateSync(path, 10_000),
      empty: () => truncateSync(path, 0),
      foreign: () => writeFileSync(path, "dear diary\n".repeat(1_000)),
    };
    for (const [what, damage] of Object.entries(damages)) {
      let wreck = Buffer.alloc(0);
      const act = (): void => {
        damage();
        wreck = readFileSync(path);
      };
      const log = await fleet.restart("controller", "SIGTERM", act, () => fleet.together());
      const told = jsonLog(log()).filter(({ level }) => level >= 40);
      expect(
        told.map(({ msg }) => msg),
        what,
      ).toEqual([expect.stringMatching(/^the store was damaged \(.+\) and is set aside as /)]);
      const aside = /set aside as (\S+);/.exec(told[0]?.msg ?? "")?.[1] ?? "";
      expect(readFileSync(aside).equals(wreck), what).toBe(true);
      // It knows nothing, asks nothing of anybody, and is taught again what runs by the same document.
      expect(await running(), what).toEqual(before);
      expect(await fleet.serves()).toBe("v1");
      expect((await fleet.cluster.controller.call(Api.listServices, {})).services).toEqual([]);
      const documents = [{ file: "shop.yaml", text: shop({ port: fleet.port }), baseDir: fleet.folder }];
      const { results } = await fleet.cluster.controller.call(Api.apply, { documents, deploy: true, dryRun: false });
      expect(results, what).toMatchObject([{ service: "shop", outcome: "created", rollout: "" }]);
      expect(await running(), what).toEqual(before);
    }
  });

  test("through all of this the client lost nothing", async () => {
    const { failures, answered } = await clients.stop();
    expect(failures).toEqual([]);
    expect(answered).toBeGreaterThan(500);
  });

  test("damaged files of an agent are set aside by name, and it comes up", async () => {
    const parts = ["gateway-1", "host-1"] as const;
    const kinds: readonly ((path: string) => void)[] = [
      flip,
      (path) => truncateSync(path, 20),
      (path) => truncateSync(path, 0),
      (path) => writeFileSync(path, '{"services":[]}\n'),
    ];
    const names = ["assignment.json", "fence.json", "ports.json", "memory.json"];
    await fleet.stop(parts);
    const wrecks = new Map<string, Buffer>();
    parts.forEach((part, turn) => {
      names.forEach((name, at) => {
        const path = fleet.state(part, name);
        kinds[(at + turn) % kinds.length]?.(path);
        wrecks.set(path, readFileSync(path));
      });
      fleet.cluster.restart(part);
    });
    await until("the fleet serves again", async () => (await get(fleet.port).catch(() => "")).startsWith("v1"), 30_000);
    for (const part of parts) {
      const told = jsonLog(readFileSync(join(fleet.folder, "logs", `${part}.log`), "utf8")).map(({ msg }) => msg);
      for (const name of names) {
        const path = fleet.state(part, name);
        const lines = told.filter((line) => line.startsWith(`${path} can't be used`));
        expect(lines, path).toEqual([expect.stringContaining("; it is kept as ")]);
        const aside = /kept as (\S+), /.exec(lines[0] ?? "")?.[1] ?? "";
        expect(readFileSync(aside).equals(wrecks.get(path) ?? Buffer.alloc(0)), path).toBe(true);
      }
    }
  });
});

describe("without a fleet", () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "baton-bad-"));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const run = (...args: string[]): Promise<Said> => baton(folder, {}, args);

  test("a store of a newer schema, or of another program, is refused and left byte for byte", async () => {
    const control = (state: string): Promise<Said> =>
      run("control", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--log-level", "silent", "--state", state);
    const newer = join(folder, "newer");
    await openSqliteStore({ folder: newer, pid: 1, nowMs: 0 }).store.close();
    const foreign = join(folder, "foreign");
    mkdirSync(foreign);
    for (const [state, sql] of [
      [newer, "PRAGMA user_version = 99"],
      [foreign, "CREATE TABLE recipes (name TEXT)"],
    ] as const) {
      const db = new DatabaseSync(join(state, "controller.db"));
      db.exec(sql);
      db.close();
    }
    for (const [state, line] of [
      [
        newer,
        /^baton control: .*controller\.db has schema 99, and this program knows schemas up to \d+: start the newer Baton/,
      ],
      [foreign, /^baton control: .*controller\.db is a database of another program; name another folder with --state$/],
    ] as const) {
      const before = readFileSync(join(state, "controller.db"));
      expectRefusal(await control(state), failed, [line]);
      expect(readFileSync(join(state, "controller.db")).equals(before)).toBe(true);
      expect(readdirSync(state).filter((name) => name.includes("damaged"))).toEqual([]);
    }
  });

  test("a static agent that can't begin says so in one line a problem", async () => {
    await using blocked = await blockedPort();
    const agent = (file: string): Promise<Said> =>
      run(
        "agent",
        "--static",
        file,
        "--name",
        "host-1",
        "--state",
        join(folder, "begin"),
        "--admin",
        "127.0.0.1:0",
        "--log-level",
        "silent",
      );
    writeFileSync(join(folder, "typo.yaml"), shop({ port: 0 }).replace("drain:", "drian:"));
    writeFileSync(join(folder, "blocked.yaml"), shop({ port: blocked.port }));
    expectRefusal(await agent("typo.yaml"), failed, [
      /^baton agent: typo\.yaml:9:3: spec\.drian: unknown key; did you mean drain\?$/,
    ]);
    expectRefusal(await agent("absent.yaml"), failed, [/^baton agent: .*absent\.yaml: there is no such file$/]);
    expectRefusal(await agent("blocked.yaml"), failed, [
      new RegExp(`^baton agent: 127\\.0\\.0\\.1:${String(blocked.port)}: the port is in use by another process`),
    ]);
  });

  test("a static agent refuses a bad new file by file and line, and a port in use by address; the old one stays", async () => {
    const [port, file] = [freePort(0), join(folder, "shop.yaml")];
    const write = (text: string): void => {
      writeFileSync(`${file}~`, text);
      renameSync(`${file}~`, file);
    };
    write(shop({ port }));
    const args = [
      "agent",
      "--static",
      file,
      "--name",
      "host-1",
      "--state",
      join(folder, "static"),
      "--admin",
      "127.0.0.1:0",
    ];
    await using agent = startNode("control/cli/main.ts", { args, cwd: folder, graceMs: 20_000 });
    await until("v1 serves", async () => (await get(port).catch(() => "")).startsWith("v1"), 30_000);
    const [, pid] = (await get(port)).split(" ");

    write(shop({ port, version: "v2" }).replace("timeout: 200ms", "timeout: quick"));
    await agent.line(
      /refused: shop\.yaml:8:\d+: spec\.health\.timeout: expected a duration such as .*; what was before stays/,
    );
    await using blocked = await blockedPort();
    write(shop({ port: blocked.port, version: "v2" }));
    await agent.line(
      new RegExp(`refused: 127\\.0\\.0\\.1:${String(blocked.port)}: the port is in use .*; what was before stays`),
    );
    expect(await get(port)).toBe(`v1 ${pid ?? ""}`);

    write(shop({ port, version: "v2" }));
    await until("v2 serves", async () => (await get(port)).startsWith("v2"), 30_000);
  });

  test("an agent whose token can't be shown says so once, and goes on without a controller", async () => {
    writeFileSync(join(folder, "two.token"), "one\ntwo\n");
    const args = [
      "agent",
      "--controller",
      "127.0.0.1:1",
      "--name",
      "host-1",
      "--state",
      join(folder, "token"),
      "--admin",
      "127.0.0.1:0",
      "--token-file",
      "two.token",
    ];
    await using agent = startNode("control/cli/main.ts", { args, cwd: folder, graceMs: 20_000 });
    await agent.line(/the token file .*two\.token must hold one line of visible characters/);
    expect(agent.stderr).not.toMatch(/defect/);
    expect(agent.exit).toBeNull();
  });
});
