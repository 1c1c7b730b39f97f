/** The command line of `baton agent`. */
import { expect, test } from "vitest";
import { nearest, parseOptions } from "../../../agent/keeper/options.ts";
import type { AgentOptions } from "../../../agent/keeper/protocol.ts";

const around = { hostname: "Web_01.example.com", cwd: "/srv", env: { HOME: "/home/op" }, uid: 1000 };

function parsed(...args: string[]): AgentOptions {
  const result = parseOptions(args, around);
  if (result.kind !== "options") throw new Error(JSON.stringify(result));
  return result.options.agent;
}
function refused(...args: string[]): string {
  const result = parseOptions(args, around);
  return result.kind === "error" ? result.message : JSON.stringify(result);
}

test("what is not given has a default", () => {
  expect(parsed("--static", "shop.yaml")).toEqual({
    name: "web-01",
    stateDir: "/home/op/.local/state/baton/web-01",
    source: { kind: "static", files: ["/srv/shop.yaml"] },
    role: "host",
    labels: {},
    address: "127.0.0.1",
    inboundPorts: "declared",
    admin: { host: "127.0.0.1", port: 15_000 },
    workers: 1,
    logLevel: "info",
    accessLog: null,
    tokenFile: null,
    trustNetwork: false,
    stopTimeoutMs: 60_000,
  });
});

test("everything can be given, with = or without", () => {
  expect(
    parsed(
      ...[
        "--controller=[::1]:7400",
        "--name",
        "a",
        "--state=/s",
        "--role",
        "gateway",
        "--labels",
        "zone=eu-1,tier=web",
      ],
      ...["--address", "::1", "--inbound-ports", "assigned", "--admin", "0.0.0.0:0", "--workers", "4"],
      ...["--log-level=debug", "--access-log", "a.log", "--token-file", "t", "--stop-timeout", "1m30s"],
    ),
  ).toEqual({
    name: "a",
    stateDir: "/s",
    source: { kind: "controller", controllers: [{ host: "::1", port: 7400 }] },
    role: "gateway",
    labels: { zone: "eu-1", tier: "web" },
    address: "::1",
    inboundPorts: "assigned",
    admin: { host: "0.0.0.0", port: 0 },
    workers: 4,
    logLevel: "debug",
    accessLog: "/srv/a.log",
    tokenFile: "/srv/t",
    trustNetwork: false,
    stopTimeoutMs: 90_000,
  });
  expect(parsed("--static", "a", "--static", "b").source).toEqual({ kind: "static", files: ["/srv/a", "/srv/b"] });
});

test("a container's address is found when it starts, and a machine that has none is told so", () => {
  const at = (...addresses: string[]) => parseOptions(["--static", "s", "--address", "auto"], { ...around, addresses });
  expect(at("172.18.0.2", "fd00::2")).toMatchObject({ options: { agent: { address: "172.18.0.2" } } });
  expect(at()).toEqual({ kind: "error", message: "--address: auto: this machine has no address beyond loopback" });
  expect(parsed("--static", "s", "--pod", "pod.sock").pod).toBe("/srv/pod.sock");
});

test.each([
  [["--statc", "x"], "unknown option --statc; did you mean --static?"],
  [["--frobnicate"], "unknown option --frobnicate"],
  [["-s"], "unknown option -s"],
  [["x.yaml"], 'unexpected argument "x.yaml"'],
  [["--static"], "--static needs a value"],
  [["--static", "--name"], "--static needs a value"],
  [["--static="], "--static needs a value"],
  [["--help=yes"], "--help takes no value"],
  [["--name", "a", "--name", "b"], "--name is given twice"],
  [[], "give --static FILE, --controller HOST:PORT or --nats URL"],
  [["--static", "x", "--controller", "h:1"], "give one of --static, --controller and --nats"],
  [["--nats", "nats://127.0.0.1", "--controller", "h:1"], "give one of --static, --controller and --nats"],
  [["--controller", "h:1", "--cluster", "x"], "--cluster is for --nats, which is not given"],
  [["--controller", "h:1,h"], '--controller: "h" is not HOST:PORT'],
  [["--controller", "h:1,"], '--controller: "" is not HOST:PORT'],
  [["--controller", Array.from({ length: 17 }, (_, i) => `h:${i + 1}`).join()], "--controller: at most 16 addresses"],
  [["--controller", "h"], '--controller: "h" is not HOST:PORT'],
  [["--controller", "h:70000"], '--controller: "h:70000" is not HOST:PORT'],
  [["--static", "x", "--role", "gatway"], '--role: "gatway" is none of host, gateway; did you mean gateway?'],
  [["--static", "x", "--workers", "0"], '--workers: "0" is no number from 1 to 64'],
  [["--static", "x", "--workers", "1e1"], '--workers: "1e1" is no number from 1 to 64'],
  [["--static", "x", "--address", "localhost"], '--address: "localhost" is no IP address'],
  [["--static", "x", "--labels", "a"], '--labels: "a" is not key=value'],
  [["--static", "x", "--stop-timeout", "soon"], '--stop-timeout: "soon" is no duration such as 30s or 2m'],
  [["--static", "x", "--name", "Web"], '--name: "Web" is no DNS label (a-z, 0-9 and -, at most 63 characters)'],
])("%j is refused in one line", (args, message) => {
  expect(refused(...args)).toBe(message);
});

test("several controllers are kept in their order, each once", () => {
  expect(parsed("--controller", "b:1, a:2,[::1]:3,b:1").source).toEqual({
    kind: "controller",
    controllers: [
      { host: "b", port: 1 },
      { host: "a", port: 2 },
      { host: "::1", port: 3 },
    ],
  });
});

test("NATS servers, with the names of files made absolute; beyond loopback only over TLS or a network that is trusted", () => {
  expect(parsed("--nats", "127.0.0.1,nats://[::1]:4333", "--cluster=eu", "--nats-creds", "a.creds").source).toEqual({
    kind: "nats",
    nats: {
      servers: ["nats://127.0.0.1:4222", "nats://[::1]:4333"],
      ...{ cluster: "eu", credsFile: "/srv/a.creds", caFile: null, certFile: null, keyFile: null },
      trustNetwork: false,
    },
  });
  expect(refused("--nats", "nats://10.0.0.1:4222")).toContain("--trust-network");
  expect(parsed("--nats", "nats://10.0.0.1:4222", "--trust-network").source.kind).toBe("nats");
});

test("an option named like a property of every object is unknown too", () => {
  expect(refused("--toString", "x")).toMatch(/^unknown option --toString/);
  expect(refused("--constructor", "x")).toMatch(/^unknown option --constructor/);
});

test("the state's folder is XDG_STATE_HOME's for root too, else /var/lib for root and the home's for others", () => {
  const state = (uid: number, env: Readonly<Record<string, string>>): string => {
    const result = parseOptions(["--static=a.yaml", "--name=a"], { ...around, uid, env });
    return result.kind === "options" ? result.options.agent.stateDir : JSON.stringify(result);
  };
  for (const uid of [0, 1000]) expect(state(uid, { HOME: "/h", XDG_STATE_HOME: "/state" })).toBe("/state/baton/a");
  // The specification: empty is unset, relative is ignored.
  for (const XDG_STATE_HOME of ["", "state"]) {
    expect(state(0, { HOME: "/root", XDG_STATE_HOME })).toBe("/var/lib/baton/a");
    expect(state(1000, { HOME: "/h", XDG_STATE_HOME })).toBe("/h/.local/state/baton/a");
  }
});

test("--help is answered though the rest is missing", () => {
  expect(parseOptions(["--help"], around).kind).toBe("help");
});

test("the nearest word is one that a slip of the fingers explains", () => {
  expect(nearest("stat", ["state", "static"])).toBe("state");
  expect(nearest("zzz", ["state", "static"])).toBeUndefined();
});
