/** Two agents under one name, over the wire. */
import { expect, test } from "vitest";
import { Api, Folder, inProcess, shopDocument } from "../../support/control.ts";
import { FakeAgent } from "../../support/fake-agent.ts";
import { until } from "../../support/processes.ts";

test("the second of two agents with one name is told so, and the first goes on as if nobody had come", async () => {
  using state = new Folder();
  await using control = await inProcess(state.path);
  const { client } = control;
  const at = { controller: control.controller.grpc, host: "host-1" };
  await using first = new FakeAgent(at);
  await until("the first is welcomed", () => first.welcomes.length === 1);
  await client.apply(shopDocument("v1"));
  await client.rolloutWhen("v1 is out", (view) => view.ended);
  const asked = first.assignments.length;

  await using second = new FakeAgent(at);
  await until("the second has tried again and again", () => second.ends.length > 3);
  const from = String.raw`another agent named host-1 is connected from 127\.0\.0\.1:\d+; names must be unique`;
  for (const why of second.ends) expect(why).toMatch(new RegExp(`^${from}$`));
  expect(second.welcomes).toEqual([]);
  expect(first.ends).toEqual([]);
  expect(first.assignments).toHaveLength(asked);
  const kinds: string[] = [];
  const stream = client.stream(Api.events, { afterSeq: 0n, follow: false, service: "", limit: 100 });
  stream.on("data", ({ kind }: { readonly kind: string }) => kinds.push(kind));
  await new Promise((ended) => stream.on("end", ended));
  expect(kinds.filter((kind) => kind === "host_refused")).toHaveLength(1);

  // Whoever is restarted ends its old stream with it, and is let in at once under its new boot.
  await second[Symbol.asyncDispose]();
  const cuts = first.ends.length;
  first.restart();
  await until("the first is back", () => first.welcomes.length === 2);
  expect(first.ends.slice(cuts)).not.toContainEqual(expect.stringMatching(/names must be unique/));
});
