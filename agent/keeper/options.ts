/**
 * The command line of `baton agent`, read once into a complete record.
 *
 * Errors  an answer with one line: what is wrong, where, and the nearest known option.
 */
import { isIP } from "node:net";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { LIMITS, PORTS } from "../../proto/contract/limits.ts";
import { NATS_FLAGS, NATS_HELP, readNats } from "../../proto/contract/nats.ts";
import { parseDuration } from "../../proto/contract/units.ts";
import { stateDir } from "../../proto/contract/state-dir.ts";
import { entry } from "./child.ts";
import type { AgentOptions, ControllerAddress } from "./protocol.ts";

export interface KeeperOptions {
  readonly agent: AgentOptions;
  readonly coreFile: string;
  readonly workerFile: string;
}

export type Parsed =
  | { readonly kind: "options"; readonly options: KeeperOptions }
  | { readonly kind: "help" }
  | { readonly kind: "error"; readonly message: string };

/** What the defaults are made of. */
export interface Surroundings {
  readonly hostname: string;
  readonly cwd: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly uid: number;
  /** This machine's IP addresses beyond loopback, the one to be preferred first. */
  readonly addresses?: readonly string[];
}

export const HELP = `Runs a Baton agent: proxies the traffic of a host's service instances, and runs them.

Usage: baton agent (--static FILE... | --controller HOST:PORT[,HOST:PORT...] | --nats URL[,URL...]) [options]

  --static FILE          take the services from this file; repeatable; read again on change and on SIGHUP
  --controller HOST:PORT[,HOST:PORT...]
                         take them from the controller, or from any of several
${NATS_HELP}  --name NAME            this agent's name in the fleet, a DNS label (default: the host's name)
  --role host|gateway    host runs and serves instances; gateway balances over the hosts (default host)
  --labels K=V,...       labels that specs select hosts by
  --state DIR            what must outlive a restart; one folder an agent (default $XDG_STATE_HOME/baton/NAME if that
                         is set, else /var/lib/baton/NAME as root, else ~/.local/state/baton/NAME)
  --address ADDR         IP address of this agent's inbound listeners (default 127.0.0.1); auto: the first that this
                         machine has beyond loopback, for containers
  --inbound-ports HOW    declared: as the spec says; assigned: free ports, reported to the controller (default declared)
  --admin HOST:PORT      health, metrics and config of this agent (default 127.0.0.1:${String(PORTS.agentAdmin)})
  --workers N            worker processes (default 1)
  --log-level LEVEL      debug, info, warn, error or silent (default info)
  --access-log FILE      one JSON line a request, appended (default: none)
  --token-file FILE      the token shown to the controller
  --trust-network        show the token, or speak to NATS, beyond loopback in plain text: only where the network itself
                         is encrypted
  --pod PATH             where this host's pod (baton pod) listens, which holds connections while this agent's container is
                         replaced; containers that the agent runs stay then when it ends (default: none)
  --stop-timeout TIME    from SIGTERM to the end, at most (default 60s)
  --help                 this text

For tests and trials of another build: --core FILE and --worker FILE run these in place of the agent's own.
SIGTERM stops gently, a second one at once; SIGHUP reads the files again.
`;

const OPTIONS = {
  static: { type: "string", multiple: true },
  controller: { type: "string" },
  ...NATS_FLAGS,
  name: { type: "string" },
  role: { type: "string" },
  labels: { type: "string" },
  state: { type: "string" },
  address: { type: "string" },
  "inbound-ports": { type: "string" },
  admin: { type: "string" },
  workers: { type: "string" },
  "log-level": { type: "string" },
  "access-log": { type: "string" },
  "token-file": { type: "string" },
  "trust-network": { type: "boolean" },
  pod: { type: "string" },
  "stop-timeout": { type: "string" },
  core: { type: "string" },
  worker: { type: "string" },
  help: { type: "boolean" },
} as const;
type Name = keyof typeof OPTIONS;

class Wrong extends Error {}

export function parseOptions(args: readonly string[], around: Surroundings): Parsed {
  try {
    const given = readArgs(args);
    if (given.has("help")) return { kind: "help" };
    return { kind: "options", options: complete(given, around) };
  } catch (error) {
    if (error instanceof Wrong) return { kind: "error", message: error.message };
    throw error;
  }
}

function readArgs(args: readonly string[]): ReadonlyMap<string, readonly string[]> {
  const given = new Map<string, string[]>();
  // Not `strict`: its messages name neither the nearest option nor the argument in question.
  const { tokens } = parseArgs({ args: [...args], options: OPTIONS, strict: false, tokens: true });
  for (const token of tokens) {
    if (token.kind === "positional") throw new Wrong(`unexpected argument "${token.value}"`);
    if (token.kind === "option-terminator") continue;
    const option = Object.hasOwn(OPTIONS, token.name) ? OPTIONS[token.name as Name] : undefined;
    if (option === undefined) throw new Wrong(unknown(token.rawName, token.name));
    const values = given.get(token.name) ?? [];
    if (option.type === "boolean") {
      if (token.value !== undefined) throw new Wrong(`${token.rawName} takes no value`);
    } else if (
      token.value === undefined ||
      token.value === "" ||
      (!token.inlineValue && token.value.startsWith("--"))
    ) {
      throw new Wrong(`${token.rawName} needs a value`);
    } else if (values.length > 0 && !("multiple" in option)) {
      throw new Wrong(`${token.rawName} is given twice`);
    }
    given.set(token.name, [...values, token.value ?? ""]);
  }
  return given;
}

function complete(given: ReadonlyMap<string, readonly string[]>, around: Surroundings): KeeperOptions {
  const one = (name: Name): string | undefined => given.get(name)?.[0];
  const path = (name: Name): string | undefined => {
    const value = one(name);
    return value === undefined ? undefined : resolve(around.cwd, value);
  };
  const name = label("--name", one("name") ?? hostLabel(around.hostname));
  const role = oneOf("--role", one("role") ?? "host", ["host", "gateway"]);
  const timeout = one("stop-timeout") ?? "60s";
  const stopTimeoutMs = parseDuration(timeout);
  if (stopTimeoutMs === undefined) throw new Wrong(`--stop-timeout: "${timeout}" is no duration such as 30s or 2m`);
  return {
    agent: {
      name,
      stateDir: path("state") ?? stateDir(name, { ...around, home: around.env["HOME"] ?? around.cwd }),
      source: source(given, around.cwd),
      role,
      labels: labels(one("labels") ?? ""),
      address: ownAddress(one("address") ?? "127.0.0.1", around.addresses ?? []),
      inboundPorts: oneOf("--inbound-ports", one("inbound-ports") ?? "declared", ["declared", "assigned"]),
      admin: hostPort("--admin", one("admin") ?? `127.0.0.1:${String(PORTS.agentAdmin)}`),
      workers: count("--workers", one("workers") ?? "1"),
      logLevel: oneOf("--log-level", one("log-level") ?? "info", ["debug", "info", "warn", "error", "silent"]),
      accessLog: path("access-log") ?? null,
      tokenFile: path("token-file") ?? null,
      trustNetwork: given.has("trust-network"),
      stopTimeoutMs,
      ...(path("pod") === undefined ? {} : { pod: path("pod") ?? "" }),
    },
    coreFile: path("core") ?? entry("../core/main"),
    workerFile: path("worker") ?? entry("../worker/main"),
  };
}

function source(given: ReadonlyMap<string, readonly string[]>, cwd: string): AgentOptions["source"] {
  const files = given.get("static");
  const controller = given.get("controller")?.[0];
  const flags = Object.keys(NATS_FLAGS).map((name) => [name, given.get(name)?.[0]] as const);
  const named = Object.fromEntries(flags);
  const nats = readNats(named, given.has("trust-network"), (file) => resolve(cwd, file));
  if (nats.kind === "wrong") throw new Wrong(nats.why);
  if ([files !== undefined, controller !== undefined, nats.kind === "ok"].filter(Boolean).length > 1)
    throw new Wrong("give one of --static, --controller and --nats");
  if (nats.kind === "ok") return { kind: "nats", nats: nats.nats };
  if (files !== undefined) return { kind: "static", files: files.map((file) => resolve(cwd, file)) };
  if (controller === undefined) throw new Wrong("give --static FILE, --controller HOST:PORT or --nats URL");
  return { kind: "controller", controllers: controllers(controller) };
}

/** More than these are a slip of whoever wrote a script. */
const CONTROLLERS_MAX = 16;

function controllers(text: string): ControllerAddress[] {
  const named = text.split(",").map((one) => hostPort("--controller", one.trim()));
  if (named.length > CONTROLLERS_MAX) throw new Wrong(`--controller: at most ${String(CONTROLLERS_MAX)} addresses`);
  return named.filter((one, i) => named.findIndex(({ host, port }) => host === one.host && port === one.port) === i);
}

const LABEL = /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/;

function label(option: string, value: string): string {
  if (LABEL.test(value) && value.length <= LIMITS.nameLength) return value;
  throw new Wrong(
    `${option}: "${value}" is no DNS label (a-z, 0-9 and -, at most ${String(LIMITS.nameLength)} characters)`,
  );
}

function hostLabel(hostname: string): string {
  const first = (hostname.split(".")[0] ?? "").toLowerCase().replaceAll(/[^a-z0-9-]/g, "-");
  return first.replaceAll(/^-+|-+$/g, "").slice(0, LIMITS.nameLength) || "agent";
}

function labels(text: string): Readonly<Record<string, string>> {
  const pairs = text === "" ? [] : text.split(",");
  return Object.fromEntries(
    pairs.map((pair) => {
      const match = /^([A-Za-z0-9][\w./-]*)=([\w.-]*)$/.exec(pair.trim());
      if (match === null) throw new Wrong(`--labels: "${pair}" is not key=value`);
      return [match[1] ?? "", match[2] ?? ""];
    }),
  );
}

function oneOf<const T extends string>(option: string, value: string, known: readonly T[]): T {
  const found = known.find((word) => word === value);
  if (found !== undefined) return found;
  throw new Wrong(`${option}: "${value}" is none of ${known.join(", ")}${didYouMean(nearest(value, known))}`);
}

function count(option: string, value: string): number {
  const number = /^\d{1,3}$/.test(value) ? Number(value) : 0;
  if (number < 1 || number > 64) throw new Wrong(`${option}: "${value}" is no number from 1 to 64`);
  return number;
}

function ownAddress(asked: string, addresses: readonly string[]): string {
  if (asked !== "auto") return ip("--address", asked);
  const [first] = addresses;
  if (first === undefined) throw new Wrong("--address: auto: this machine has no address beyond loopback");
  return first;
}

function ip(option: string, value: string): string {
  if (isIP(value) === 0) throw new Wrong(`${option}: "${value}" is no IP address`);
  return value;
}

function hostPort(option: string, value: string): { readonly host: string; readonly port: number } {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:[\]]+)):(\d{1,5})$/.exec(value);
  const port = Number(match?.[3] ?? 65_536);
  if (match === null || port > 65_535) throw new Wrong(`${option}: "${value}" is not HOST:PORT`);
  return { host: match[1] ?? match[2] ?? "", port };
}

function unknown(raw: string, name: string): string {
  const near = nearest(name, Object.keys(OPTIONS));
  return `unknown option ${raw}${didYouMean(near === undefined ? undefined : `--${near}`)}`;
}

const didYouMean = (near: string | undefined): string => (near === undefined ? "" : `; did you mean ${near}?`);

/** The word that fewest edits away, if a slip of the fingers can explain it. */
export function nearest(word: string, known: readonly string[]): string | undefined {
  const ranked = known.map((other) => ({ other, edits: distance(word, other) })).sort((a, b) => a.edits - b.edits);
  const best = ranked[0];
  return best !== undefined && best.edits <= Math.max(2, Math.floor(word.length / 3)) ? best.other : undefined;
}

function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replace = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, replace));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
