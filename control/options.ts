/** The controller's options, read once into a complete record. */
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import type { ParseArgsConfig } from "node:util";
import { parseHostPort } from "../proto/contract/address.ts";
import { didYouMean } from "../proto/contract/nearest.ts";
import { PORTS } from "../proto/contract/limits.ts";
import { NATS_FLAGS, NATS_HELP, readNats } from "../proto/contract/nats.ts";
import { stateDir } from "../proto/contract/state-dir.ts";
import type { Whose } from "../proto/contract/state-dir.ts";
import { parseTokenOption } from "./analysis/tokens.ts";
import type { ControllerOptions } from "./controller.ts";

const GRPC = `127.0.0.1:${PORTS.controllerGrpc}`;
const HTTP = `127.0.0.1:${PORTS.controllerHttp}`;

export const HELP = `Usage: baton control [options]

Runs a controller: keeps services and rollouts, tells agents what to do, answers operators.

  --grpc HOST:PORT             operators and agents (default ${GRPC}; port 0 asks the kernel)
  --http HOST:PORT             /healthz /readyz /metrics (default ${HTTP})
  --state DIR                  where it keeps its store (default $XDG_STATE_HOME/baton/control if that is set, else
                               /var/lib/baton/control as root, else ~/.local/state/baton/control)
  --name NAME                  this controller's name among several (default: the machine's name)
${NATS_HELP}  --trust-network              the network between here and NATS is encrypted otherwise
                               With --nats the store is JetStream's: any number of controllers may share it, one of them
                               leads, the others answer reads and take over within five seconds.
  --token-file FILE            the token that agents and operators must bring; needed beyond loopback
  --agent-token-file FILE      another one for agents
  --operator-token-file FILE   another one for operators
  --analysis-commands          let service documents name programs that the controller runs to measure a version
                               (metrics with a command); whoever may apply a service can then run them here
  --analysis-token ORIGIN=FILE the bearer token for a Prometheus or webhook there; may be given again for another
  --log-level LEVEL            debug, info, warn, error or silent (default info)
  --help                       this text
`;

const NAME = /^[\w.-]{1,63}$/;
const LEVELS = ["debug", "info", "warn", "error", "silent"];

export type Options =
  | { readonly kind: "help" }
  | { readonly kind: "wrong"; readonly why: string }
  | {
      readonly kind: "run";
      readonly logLevel: string;
      readonly controller: Pick<
        ControllerOptions,
        | "grpc"
        | "http"
        | "stateDir"
        | "nats"
        | "id"
        | "agentTokenFile"
        | "operatorTokenFile"
        | "analysisCommands"
        | "analysisTokens"
      >;
    };

const NAMES = {
  grpc: { type: "string", default: GRPC },
  http: { type: "string", default: HTTP },
  state: { type: "string" },
  name: { type: "string" },
  ...NATS_FLAGS,
  "trust-network": { type: "boolean", default: false },
  "token-file": { type: "string" },
  "agent-token-file": { type: "string" },
  "operator-token-file": { type: "string" },
  "analysis-commands": { type: "boolean", default: false },
  "analysis-token": { type: "string", multiple: true, default: [] as string[] },
  "log-level": { type: "string", default: "info" },
  help: { type: "boolean", short: "h", default: false },
} as const satisfies ParseArgsConfig["options"];

export function readOptions(args: readonly string[], whose: Whose & { readonly hostname: string }): Options {
  const wrong = (why: string): Options => ({ kind: "wrong", why });
  const unknown = args.find((arg) => arg.startsWith("--") && !(nameOf(arg) in NAMES));
  if (unknown !== undefined) {
    return wrong(
      `unknown option --${nameOf(unknown)}${didYouMean(
        `--${nameOf(unknown)}`,
        Object.keys(NAMES).map((name) => `--${name}`),
      )}`,
    );
  }
  let values;
  try {
    ({ values } = parseArgs({ args: [...args], options: NAMES, allowPositionals: false }));
  } catch (error) {
    return wrong((error as Error).message.split(/\.\s/)[0] ?? "wrong options");
  }
  if (values.help) return { kind: "help" };
  const grpc = parseHostPort(values.grpc);
  if (grpc === undefined) return wrong(`--grpc ${values.grpc} is no HOST:PORT`);
  const http = parseHostPort(values.http);
  if (http === undefined) return wrong(`--http ${values.http} is no HOST:PORT`);
  const logLevel = values["log-level"];
  if (!LEVELS.includes(logLevel)) return wrong(`--log-level ${logLevel} is none of ${LEVELS.join(", ")}`);
  const analysisTokens = values["analysis-token"];
  const noToken = analysisTokens.find((token) => parseTokenOption(token) === undefined);
  if (noToken !== undefined) {
    return wrong(`--analysis-token ${noToken} is no ORIGIN=FILE, such as https://prometheus:9090=/etc/baton/token`);
  }
  const nats = readNats(values, values["trust-network"], (file) => resolve(file));
  if (nats.kind === "wrong") return wrong(nats.why);
  if (nats.kind === "ok" && values.state !== undefined) {
    return wrong("--state is the embedded store's folder; with --nats the store is JetStream's");
  }
  const id = values.name ?? whose.hostname;
  if (!NAME.test(id)) return wrong(`--name ${id} is no name of letters, digits, . _ and -, at most 63`);
  const agentTokenFile = values["agent-token-file"] ?? values["token-file"];
  const operatorTokenFile = values["operator-token-file"] ?? values["token-file"];
  return {
    kind: "run",
    logLevel,
    controller: {
      grpc,
      http,
      stateDir: resolve(values.state ?? stateDir("control", whose)),
      ...(nats.kind === "ok" ? { nats: nats.nats, id } : {}),
      ...(values["analysis-commands"] ? { analysisCommands: true } : {}),
      ...(analysisTokens.length === 0 ? {} : { analysisTokens }),
      ...(agentTokenFile === undefined ? {} : { agentTokenFile }),
      ...(operatorTokenFile === undefined ? {} : { operatorTokenFile }),
    },
  };
}

const nameOf = (arg: string): string => arg.slice(2).split("=", 1)[0] ?? "";
