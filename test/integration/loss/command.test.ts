/** The loss client as a program: what it prints where, and its exit codes. */
import { expect, test } from "vitest";
import type { ClientLedger } from "../../loss/ledger.ts";
import { startNode } from "../../support/processes.ts";
import type { RunningProcess } from "../../support/processes.ts";

const loss = (...args: readonly string[]): RunningProcess => startNode("test/loss/main.ts", { args });

async function startDemo(): Promise<{ app: RunningProcess; target: string }> {
  const app = startNode("test/apps/demo/server.ts", { env: { VERSION: "v1", PORT: "0", HOST: undefined } });
  const [, address = ""] = await app.line(/listening on (\S+)/);
  return { app, target: address };
}

test("nothing lost: a table on stdout and exit 0", async () => {
  const { app, target } = await startDemo();
  await using _ = app;
  await using client = loss(
    "--target",
    target,
    "--seconds",
    "1",
    "--rate",
    "50",
    "--mix",
    "get=3,post=1",
    "--seed",
    "1",
  );
  expect(await client.exited).toEqual({ code: 0, signal: null });
  expect(client.stdout).toMatch(/^get +\d+ /m);
  expect(client.stdout).toMatch(/^0 lost of \d+ started$/m);
  expect(client.stdout).not.toMatch(/upload/);
  expect(client.stderr).toBe("");
});

test("something lost: exit 1, and the ledger says what", async () => {
  await using client = loss("--target", "127.0.0.1:1", "--seconds", "1", "--rate", "20", "--json");
  expect((await client.exited).code).toBe(1);
  const ledger = JSON.parse(client.stdout) as ClientLedger;
  expect(ledger).toMatchObject({ clean: false, balanced: true, causes: { connect_refused: ledger.total.started } });
});

test("SIGTERM: begins nothing more, finishes, prints the ledger", async () => {
  const { app, target } = await startDemo();
  await using _ = app;
  await using client = loss("--target", target, "--rate", "50", "--progress", "json");
  await client.line(/"type":"progress".*"v1"/);
  client.signal("SIGTERM");
  expect(await client.exited).toEqual({ code: 0, signal: null });
  const last = JSON.parse(client.stdout.trim().split("\n").at(-1) ?? "") as ClientLedger & { readonly type: string };
  expect(last).toMatchObject({ type: "ledger", clean: true, inFlight: 0 });
  expect(last).toHaveProperty("text", expect.stringMatching(/^0 lost of \d+ started$/m));
});

test.each([
  [["--target", "nowhere"], /--target must be HOST:PORT/],
  [["--target", "h:99999"], /--target must be HOST:PORT/],
  [["--rate", "fast"], /--rate must be a number/],
  [["--mix", "get=1,pots=2"], /no kind "pots"; there are get,/],
  [["--mix", "get=0"], /no weight/],
  [["--progress", "bars"], /knows only json/],
  [["--sekunden", "3"], /sekunden/],
])("wrong usage %j: one line and exit 2", async (args, why) => {
  await using client = loss(...args);
  expect((await client.exited).code).toBe(2);
  expect(client.stderr).toMatch(why);
  expect(client.stdout).toBe("");
});

test("--help is on stdout, exit 0", async () => {
  await using client = loss("--help");
  expect((await client.exited).code).toBe(0);
  expect(client.stdout).toMatch(/--target HOST:PORT/);
});
