/** The demo app's faults decide what the end-to-end runs prove: each must do what its word says, and nothing more. */
import { expect, test } from "vitest";
import { behaviourOf, GOOD, UnknownBehaviour } from "../../apps/demo/behaviour.ts";
import { Faults } from "../../apps/demo/faults.ts";

const none = { kind: "none", delayMs: 0 };
const plain = (): boolean => false;
const faults = (said: string): Faults => new Faults(behaviourOf("v2", said));
const kinds = (said: string, n: number): readonly string[] => {
  const of = faults(said);
  return Array.from({ length: n }, (_, at) => of.of(at * 10, 1, plain).kind);
};

test("a version that nobody knows is a good one, and BEHAVIOUR overrides the version's name", () => {
  expect(behaviourOf("v1")).toEqual(GOOD);
  expect(behaviourOf("0f3c2a1")).toEqual(GOOD);
  expect(behaviourOf("v3").ready).toBe(false);
  expect(behaviourOf("v3", "")).toEqual(GOOD);
  expect(behaviourOf("v1", "never-ready").ready).toBe(false);
});

test("every word is read, and several together", () => {
  const said =
    "crash-after=5s crash-after-requests=20 errors=12.5% delay=1m slow=5%:400ms max-rate=10 errors-for=X-Preview";
  expect(behaviourOf("v2", said)).toEqual({
    ...GOOD,
    ...{ crashAfterMs: 5_000, crashAfterRequests: 20, errorShare: 0.125, delayMs: 60_000 },
    ...{ slowShare: 0.05, slowMs: 400, maxPerSecond: 10, errorsFor: "x-preview" },
  });
  expect(behaviourOf("v2", "crash-at-start max-in-flight=4")).toEqual({ ...GOOD, crashAtStart: true, maxInFlight: 4 });
});

test.each(["errors", "errors=120%", "errors=0.2", "delay=soon", "slow=5%", "max-rate=0", "errors-for=a b", "never"])(
  "%s is refused, not guessed at",
  (word) => {
    expect(() => behaviourOf("v2", word)).toThrow(UnknownBehaviour);
  },
);

test("a share of errors is spread evenly: one in five is every fifth", () => {
  const five = ["none", "none", "none", "none", "error"];
  expect(kinds("errors=20%", 10)).toEqual([...five, ...five]);
  expect(kinds("errors=100%", 3)).toEqual(["error", "error", "error"]);
});

test("it crashes at the request that it was told to, and not before", () => {
  expect(kinds("crash-after-requests=3", 4)).toEqual(["none", "none", "crash", "crash"]);
});

test("slow requests are a share, on top of what every answer is delayed by", () => {
  const slow = faults("delay=10ms slow=50%:400ms");
  expect([slow.of(0, 1, plain), slow.of(0, 1, plain)]).toEqual([
    { kind: "none", delayMs: 10 },
    { kind: "none", delayMs: 410 },
  ]);
});

test("a rate is of the last second: a burst is refused, and forgotten a second later", () => {
  const of = faults("max-rate=2");
  const at = (ms: number): string => of.of(ms, 1, plain).kind;
  expect([at(0), at(10), at(20), at(999)]).toEqual(["none", "none", "error", "error"]);
  // At 1,001 the one of 10 is left alone: refused ones took up no room.
  expect([at(1_001), at(1_002), at(1_011)]).toEqual(["none", "error", "none"]);
});

test("too many at once are refused, as many as may be are not", () => {
  const of = faults("max-in-flight=2");
  expect(of.of(0, 2, plain)).toEqual(none);
  expect(of.of(0, 3, plain)).toMatchObject({ kind: "error", status: 503 });
});

test("errors for a header touch nobody else", () => {
  const of = faults("errors-for=x-preview");
  expect(of.of(0, 1, plain)).toEqual(none);
  expect(of.of(0, 1, (name) => name === "x-preview")).toMatchObject({ kind: "error", status: 500 });
});
