/** `baton drain`: the last host that serves something is not drained by mistake. Real controller, real command. */
import { expect, test } from "vitest";
import { EXIT } from "../../../proto/contract/limits.ts";
import { Folder, inProcess, shopDocument } from "../../support/control.ts";
import { FakeAgent } from "../../support/fake-agent.ts";
import { startNode, until } from "../../support/processes.ts";

test("the only host that serves a service is drained by --force alone", { timeout: 60_000 }, async () => {
  using state = new Folder();
  await using control = await inProcess(state.path, { leaseMs: 10_000 });
  const { client } = control;
  const controller = control.controller.grpc;
  await using _one = new FakeAgent({ controller, host: "host-1" });
  await using _two = new FakeAgent({ controller, host: "host-2" });
  for (const host of ["host-1", "host-2"]) {
    await until(`${host} is there`, async () => (await client.host(host))?.live === true);
  }
  await client.apply(shopDocument("v1"));
  await client.rolloutWhen("v1 is out", (view) => view.ended);
  const drain = async (...args: readonly string[]): Promise<{ code: number | null; err: string }> => {
    const env = { BATON_CONTROLLER: controller, NO_COLOR: "1" };
    const process = startNode("control/cli/main.ts", { args: ["drain", ...args], env });
    const { code } = await process.exited;
    return { code, err: process.stderr };
  };
  const adminState = async (host: string): Promise<string | undefined> => (await client.host(host))?.adminState;

  expect(await drain("host-1")).toMatchObject({ code: EXIT.done, err: "" });
  const refused = await drain("host-2");
  expect(refused).toMatchObject({ code: EXIT.failed });
  expect(refused.err).toContain("host-2 is the only host that serves shop now");
  expect(refused.err).toContain("--force");
  expect(await adminState("host-2")).toBe("ready");
  expect(await drain("host-2", "--force")).toMatchObject({ code: EXIT.done });
  expect(await adminState("host-2")).toBe("drain");
  // What is drained already is asked for again without a word.
  expect(await drain("host-2")).toMatchObject({ code: EXIT.done });
});
