/** What the command line answers to a slip: the real command; where a fleet is asked, a real controller. */
import { expect, test, vi } from "vitest";
import { EXIT } from "../../../proto/contract/limits.ts";
import { Folder, inProcess } from "../../support/control.ts";
import { FakeAgent } from "../../support/fake-agent.ts";
import { startNode, until } from "../../support/processes.ts";

// Many processes, one after the other, on a machine that may be busy.
vi.setConfig({ testTimeout: 90_000 });

async function refused(args: readonly string[], controller = "127.0.0.1:1"): Promise<string> {
  const env = { BATON_CONTROLLER: controller, NO_COLOR: "1" };
  const process = startNode("control/cli/main.ts", { args, env });
  const { code } = await process.exited;
  expect({ code, stdout: process.stdout }).toEqual({ code: EXIT.usage, stdout: "" });
  return process.stderr;
}

test("who leaves out what to list is told what there is to list", async () => {
  expect(await refused(["get"])).toBe(
    "baton: missing required argument 'kind': one of services, hosts, instances, rollouts, revisions, controllers\n",
  );
  expect(await refused(["describe"])).toBe("baton: missing required argument 'kind': one of service, host, rollout\n");
});

test("a version where a revision is wanted: the refusal says where revisions are shown", async () => {
  const where = "Expected a revision's number, as in `baton get revisions SERVICE`.\n";
  expect(await refused(["rollout", "undo", "shop", "--to", "v99"])).toBe(
    `baton: option '--to <revision>' argument 'v99' is invalid. ${where}`,
  );
  for (const verb of ["deploy", "plan"]) {
    expect(await refused([verb, "shop", "--revision", "v99"])).toMatch(/'v99' is invalid\. /);
    expect(await refused([verb, "shop", "--revision", "v99"])).toContain(where);
  }
});

test("a host that there is not: every command names those that there are, or the nearest", async () => {
  using state = new Folder();
  await using control = await inProcess(state.path);
  const controller = control.controller.grpc;
  await using first = new FakeAgent({ controller, host: "host-1" });
  await using second = new FakeAgent({ controller, host: "host-2" });
  await until("both are there", () => [first, second].every(({ welcomes }) => welcomes.length === 1));
  for (const verb of [["host", "status"], ["get", "hosts"], ["describe", "host"], ["drain"]]) {
    expect(await refused([...verb, "nosuch"], controller)).toBe(
      "baton: no host nosuch; the hosts are host-1, host-2\n",
    );
  }
  expect(await refused(["host", "status", "hots-1"], controller)).toBe("baton: no host hots-1; did you mean host-1?\n");
});
