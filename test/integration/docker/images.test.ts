import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { DockerLab, PATIENCE_MS, serving, SLOW } from "../../support/docker.ts";
import { FakeRegistry } from "../../support/fake-registry.ts";
import { until } from "../../support/processes.ts";

test(
  "an image that can't be had is a failed start in the engine's words, and the version before it stays",
  SLOW,
  async () => {
    await using lab = await DockerLab.start();
    await using registry = await FakeRegistry.start();
    const image = await lab.image("v1");
    const agent = await lab.agent(lab.document("v1", { image, port: 3_000 }));
    await serving(agent);
    const failed = async (run: object, version: string): Promise<string> => {
      agent.write(lab.document(version, { port: 3_000, ...run }));
      let reason: string | undefined;
      await agent.until(`${version} fails`, (all) => {
        reason = all.find((one) => one.version === version && one.state === "failed")?.reason;
        return reason !== undefined;
      });
      return reason!;
    };
    const secret = join(agent.folder, "registry");
    writeFileSync(secret, "robot:let me in");
    const there = registry.add("shop", "v2");
    const missing = there.replace(":v2", ":v9");
    expect(await failed({ image: missing, credentialsFile: "registry" }, "v2")).toMatch(
      /^image .*shop:v9 can't be pulled: .*(manifest unknown|not found)/,
    );
    expect((await agent.instances()).find(({ version }) => version === "v2")).toMatchObject({
      restarts: 0,
      exit: null,
    });
    expect(await failed({ image: there }, "v3")).toMatch(/can't be pulled: .*(no basic auth|authentication required)/);
    expect(await failed({ image: "127.0.0.1:9/shop" }, "v4")).toMatch(/can't be pulled: .*(refused|no route)/);
    expect(await failed({ image: `baton-${lab.id}:none`, pullPolicy: "Never" }, "v5")).toMatch(
      /is not on this host, and pullPolicy is Never$/,
    );
    rmSync(secret);
    expect(await failed({ image: there, credentialsFile: "registry" }, "v6")).toMatch(/credentialsFile .*: ENOENT$/);
    expect(await failed({ image, command: ["/no/such/program"] }, "v7")).toContain("/no/such/program");
    // All the while:
    expect((await agent.ask()).text).toMatch(/^v1 /);
  },
);

test(
  "a pull shows its credentials, is made once for all that wait for it, and brings what was asked for",
  SLOW,
  async () => {
    await using lab = await DockerLab.start();
    await using registry = await FakeRegistry.start();
    const image = registry.add("team/shop", "v1");
    lab.takesAway(image);
    const document = lab.document("v1", { image, port: 3_000, count: 3, credentialsFile: "config.json" });
    const agent = await lab.agent(document);
    const auth = Buffer.from(`${registry.user}:${registry.password}`).toString("base64");
    writeFileSync(join(agent.folder, "config.json"), JSON.stringify({ auths: { [registry.host]: { auth } } }));
    // The image has no program: that it is started and fails shows that it was pulled.
    const words = (reason: string): boolean => reason.includes("/hello");
    await agent.until("all three have it", (all) => all.length === 3 && all.every(({ reason }) => words(reason)));
    // A digest is looked up by its tag, then fetched: two requests for one pull.
    expect(registry.pulls).toBeLessThanOrEqual(2);
  },
);

test("images that Baton has brought go when later ones run, but for those that are retained", SLOW, async () => {
  await using lab = await DockerLab.start();
  await using registry = await FakeRegistry.start();
  const base = await lab.image("base");
  const [v1, v2, v3] = ["v1", "v2", "v3"].map((tag) => registry.add("shop", tag));
  for (const image of [v1, v2, v3]) lab.takesAway(image!);
  const here = async (image: string): Promise<boolean> =>
    lab.docker
      .getImage(image)
      .inspect()
      .then(
        () => true,
        () => false,
      );
  const run = (image: string): Record<string, unknown> => ({
    image,
    port: 3_000,
    retain: 1,
    credentialsFile: "registry",
  });
  const agent = await lab.agent(lab.document("base", run(base)));
  writeFileSync(join(agent.folder, "registry"), "robot:let me in");
  await serving(agent);
  // Each is brought, fails to start (it has no program), and is given up for the next.
  for (const [version, image] of [v1, v2, v3].entries()) {
    agent.write(lab.document(`v${String(version + 1)}`, run(image!)));
    await until(`${image!} is here`, () => here(image!), PATIENCE_MS);
    await agent.until("it was tried", (all) => all.some(({ reason }) => reason.includes("/hello")));
  }
  agent.write(lab.document("again", run(base)));
  await serving(agent, "again");
  await until("the two oldest are gone", async () => !(await here(v1!)) && !(await here(v2!)), PATIENCE_MS);
  expect([await here(v3!), await here(base)]).toEqual([true, true]);
});
