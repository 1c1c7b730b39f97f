/** The demo service on a cluster: its documents, and one rollout of it followed to its end. */
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseDocument } from "yaml";
import { EXIT } from "../../../proto/contract/limits.ts";
import type { RolloutView } from "../../../proto/gen/baton/v1/operator.ts";
import { Api } from "../client.ts";
import { CliError } from "../errors.ts";
import type { Followed } from "../follow.ts";
import { follow } from "../follow.ts";
import type { Cluster } from "./cluster.ts";
import { ROOT } from "./cluster.ts";

export const DEMO_VERSIONS = ["v1", "v2", "v3", "v3b", "v3c"] as const;
export const DEMO = "demo";

/** One of the demo's documents with this cluster's port, in the state folder: `baton deploy -f` takes it as it stands. */
export function writeDocument(folder: string, name: string, port: number): string {
  const source = join(ROOT, "test", "apps", "demo");
  const document = parseDocument(readFileSync(join(source, `${name}.yaml`), "utf8"));
  document.setIn(["spec", "listen", 0, "port"], port);
  document.setIn(["spec", "run", "process", "cwd"], ROOT);
  const file = join(folder, `demo-${name}.yaml`);
  writeFileSync(file, document.toString());
  return file;
}

/** Stores the document of `version`, and starts its rollout. Answers the rollout's id. */
export async function deploy(cluster: Cluster, port: number, version: string): Promise<string> {
  const file = writeDocument(cluster.folder, version, port);
  const documents = [{ file, text: readFileSync(file, "utf8"), baseDir: dirname(file) }];
  const applied = await cluster.controller.call(Api.apply, { documents, deploy: false, dryRun: false });
  const started = applied.results[0]?.rollout ?? "";
  if (started !== "") return started;
  const request = { service: DEMO, version, revision: 0, actor: "baton up" };
  return (await cluster.controller.call(Api.deploy, request)).id;
}

/** Deploys and follows to the end. */
export async function roll(
  cluster: Cluster,
  port: number,
  version: string,
  signal: AbortSignal,
): Promise<Followed & { readonly view: RolloutView }> {
  const rollout = await deploy(cluster, port, version);
  const request = { service: DEMO, rollout, timeoutMs: null, signal };
  const { exitCode, view } = await follow(cluster.controller, request);
  if (view === null) throw new CliError("the rollout was never seen", EXIT.failed);
  return { exitCode, view };
}
