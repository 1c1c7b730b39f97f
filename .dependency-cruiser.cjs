// The architecture, as rules that fail the build. See agent/DESIGN.md and control/DESIGN.md for the reasons.
const rule = (name, comment, from, to) => ({ name, comment, severity: "error", from, to });
const npm = { dependencyTypes: ["npm", "npm-dev", "npm-optional", "npm-peer"] };

module.exports = {
  forbidden: [
    rule("no-cycles", "A cycle hides which part owns which.", {}, { circular: true }),
    rule(
      "proto-stands-alone",
      "Both sides stand on proto; it knows neither.",
      { path: "^proto/" },
      { path: "^(agent|control|test)/" },
    ),
    rule(
      "agent-not-control",
      "The two sides meet on the wire only.",
      { path: "^agent/" },
      { path: "^(control|test)/" },
    ),
    rule(
      "control-not-agent",
      "The two sides meet on the wire only.",
      { path: "^control/" },
      { path: "^(agent|test)/" },
    ),
    rule(
      "proxy-not-core",
      "The data path goes on without the core.",
      { path: "^agent/proxy/" },
      { path: "^agent/(core|keeper|worker)/" },
    ),
    rule(
      "keeper-is-small",
      "The keeper must never need a change: Node's own modules only.",
      { path: "^agent/keeper/" },
      { ...npm },
    ),
    rule(
      "keeper-imports",
      "The keeper stands alone.",
      { path: "^agent/keeper/" },
      { path: "^agent/(core|worker|proxy)/" },
    ),
    rule(
      "core-never-touches-a-request",
      "The core decides; workers carry.",
      { path: "^agent/core/" },
      { path: "^agent/worker/" },
    ),
    rule("kernel-is-pure", "No npm in the kernel.", { path: "^proto/kernel/" }, { ...npm }),
    rule(
      "engine-is-pure-node",
      "The engine does no I/O.",
      { path: "^control/(rollout|desired|model)/" },
      { dependencyTypes: ["core"] },
    ),
    rule(
      "engine-is-pure-npm",
      "The engine needs no package.",
      { path: "^control/(rollout|desired|model)/" },
      { ...npm },
    ),
    rule(
      "engine-knows-no-edge",
      "rollout and desired are pure.",
      { path: "^control/(rollout|desired|model)/" },
      { path: "^control/(fleet|store|api|cli)/|^proto/(gen|runtime)/" },
    ),
    rule(
      "wire-stops-at-the-edge",
      "Wire types end at the session and API edges.",
      {
        pathNot:
          "^(proto/gen/|proto/contract/wire[./]|agent/core/session|control/(fleet/(session|nats/)|api/|cli/)|test/)",
      },
      { path: "^proto/gen/" },
    ),
    rule(
      "runtime-in-roots-only",
      "Adapters are injected by composition roots.",
      {
        path: "^(agent|control)/",
        pathNot: "(/main\\.ts|agent/agent\\.ts|agent/keeper/.*|control/controller\\.ts|control/cli/.*)$",
      },
      { path: "^proto/runtime/" },
    ),
    rule("no-unresolved", "Everything imported exists.", {}, { couldNotResolve: true }),
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    tsConfig: { fileName: "tsconfig.base.json" },
    tsPreCompilationDeps: true,
    exclude: { path: "^build/" },
    enhancedResolveOptions: {
      extensions: [".ts", ".js"],
      exportsFields: ["exports"],
      conditionNames: ["import", "node", "default", "types"],
    },
  },
};
