import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { allows, readToken, TokenUnusable } from "../../../control/api/auth.ts";
import { readOptions } from "../../../control/options.ts";
import { Folder } from "../../support/control.ts";

const read = (...args: string[]) => readOptions(args, { env: {}, uid: 1000, home: "/home/ann", hostname: "h" });

test("without options the controller is on loopback, and keeps its state at home", () => {
  expect(read()).toEqual({
    kind: "run",
    logLevel: "info",
    controller: {
      grpc: { address: "127.0.0.1", port: 7400 },
      http: { address: "127.0.0.1", port: 7480 },
      stateDir: "/home/ann/.local/state/baton/control",
    },
  });
  const env = { XDG_STATE_HOME: "/state" };
  for (const uid of [0, 1000]) {
    const elsewhere = readOptions([], { env, uid, home: "/home/ann", hostname: "h" });
    expect(elsewhere).toMatchObject({ controller: { stateDir: "/state/baton/control" } });
  }
  const root = readOptions([], { env: {}, uid: 0, home: "/root", hostname: "h" });
  expect(root).toMatchObject({ controller: { stateDir: "/var/lib/baton/control" } });
});

test("one token file stands for both, and a particular one for itself", () => {
  expect(read("--token-file", "t", "--agent-token-file=a")).toMatchObject({
    controller: { agentTokenFile: "a", operatorTokenFile: "t" },
  });
});

test("what can't be meant is said in one line", () => {
  const wrong = (...args: string[]): string => {
    const options = read(...args);
    return options.kind === "wrong" ? options.why : "";
  };
  expect(wrong("--grcp", "x")).toBe("unknown option --grcp; did you mean --grpc?");
  expect(wrong("--grpc", "here")).toBe("--grpc here is no HOST:PORT");
  expect(wrong("--http", "[::1]:99999")).toBe("--http [::1]:99999 is no HOST:PORT");
  expect(wrong("--log-level", "loud")).toContain("--log-level loud is none of debug,");
  expect(wrong("--grpc")).not.toBe("");
  expect(wrong("extra")).not.toBe("");
  expect(read("--help").kind).toBe("help");
});

test("a token is compared whole, whatever surrounds it in its file", () => {
  using folder = new Folder();
  const path = join(folder.path, "token");
  writeFileSync(path, "  sixteen-letters-or-more\n");
  const token = readToken(path);
  expect(allows(token, "Bearer sixteen-letters-or-more")).toBe(true);
  expect(allows(token, "bearer  sixteen-letters-or-more ")).toBe(true);
  for (const wrong of [
    "Bearer sixteen-letters-or-mor",
    "sixteen-letters-or-more",
    "Basic x",
    "Bearer",
    "",
    undefined,
  ]) {
    expect(allows(token, wrong)).toBe(false);
  }
  expect(allows(null, undefined)).toBe(true);
  writeFileSync(path, "\n");
  expect(() => readToken(path)).toThrow(TokenUnusable);
});
