/** A rollout of containers as its operator sees it: a real controller, a real agent, a real engine. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Folder, inProcess } from "../../support/control.ts";
import { DockerLab, PATIENCE_MS, SLOW } from "../../support/docker.ts";
import { startNode, until } from "../../support/processes.ts";

test(
  "a version that crashes, or whose image is not there, is a failed step that says why; the one before serves on",
  SLOW,
  async () => {
    await using lab = await DockerLab.start();
    const image = await lab.image("v1");
    using state = new Folder();
    await using control = await inProcess(state.path, { leaseMs: 10_000 });
    const { client } = control;
    const folder = mkdtempSync(join(tmpdir(), "baton-docker-agent-"));
    const args = ["--name", "host-1", "--state", folder, "--controller", control.controller.grpc];
    const agent = startNode("agent/main.ts", {
      args: [...args, "--admin", "127.0.0.1:0", "--inbound-ports", "assigned", "--workers", "1"],
      graceMs: 30_000,
    });
    lab.atEnd(async () => {
      await agent.stop();
      rmSync(folder, { recursive: true, force: true });
    });
    await until("the agent is live", async () => (await client.host("host-1"))?.live === true, PATIENCE_MS);
    const roll = async (version: string, run: Record<string, unknown>, deadline: string) => {
      const text = lab
        .document(version, { port: 3_000, ...run })
        .replace("healthyDeadline: 60s", `healthyDeadline: ${deadline}`);
      await client.apply(text);
      return client.rolloutWhen(`${version} is over`, (view) => view.ended && view.toVersion === version, PATIENCE_MS);
    };
    expect(await roll("v1", { image }, "60s")).toMatchObject({ stage: "Succeeded" });
    const before = await lab.running();

    const missing = await roll("v2", { image: `baton-${lab.id}:none`, pullPolicy: "Never" }, "2s");
    expect(missing.stage).toBe("RolledBack");
    expect(missing.message).toMatch(
      /v2 on host-1 was not ready within 2s.*is not on this host, and pullPolicy is Never/,
    );

    const crashing = await roll("v3", { image, env: { CRASH: "no database" } }, "60s");
    expect(crashing.stage).toBe("RolledBack");
    expect(crashing.message).toMatch(/v3 on host-1 exited 2 times before it was ready.*code 3/);
    const kept = crashing.hosts.flatMap(({ instances }) => instances).find(({ version }) => version === "v3");
    expect(kept?.output).toContain("it can't go on: no database");
    expect((await lab.running()).Id).toBe(before.Id);
  },
);
