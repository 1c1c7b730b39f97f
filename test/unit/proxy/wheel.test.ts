import { expect, test } from "vitest";
import { Deadline, Wheel } from "../../../agent/proxy/wheel.ts";
import { FakeClock } from "../../support/fake-clock.ts";

function start() {
  const clock = new FakeClock();
  const wheel = new Wheel(clock, (then) => then(), 10);
  const fired: string[] = [];
  const named = (name: string, then: () => void = () => undefined): Deadline =>
    new Deadline({
      onDeadline: () => {
        fired.push(name);
        then();
      },
    });
  return { clock, wheel, fired, named };
}

test("a deadline fires once, not before its time and at most a tick after it", async () => {
  const { clock, wheel, fired, named } = start();
  wheel.arm(named("a"), 35);
  await clock.advance(34);
  expect(fired).toEqual([]);
  await clock.advance(11);
  expect(fired).toEqual(["a"]);
  await clock.advance(10_000);
  expect(fired).toEqual(["a"]);
});

test("one that is pushed out fires at its last time, one that comes nearer at its new one, one that is taken back never", async () => {
  const { clock, wheel, fired, named } = start();
  const [out, near, back] = [named("out"), named("near"), named("back")];
  wheel.arm(out, 50);
  wheel.arm(near, 9_000);
  wheel.arm(back, 50);
  wheel.arm(out, 300);
  wheel.arm(near, 20);
  wheel.disarm(back);
  await clock.advance(40);
  expect(fired).toEqual(["near"]);
  await clock.advance(250);
  expect(fired).toEqual(["near"]);
  await clock.advance(30);
  expect(fired).toEqual(["near", "out"]);
});

test("far beyond the wheel's round, and through a long stall of the process, none is early or forgotten", async () => {
  const { clock, wheel, fired, named } = start();
  wheel.arm(named("far"), 3_600_000);
  await clock.advance(3_599_990);
  expect(fired).toEqual([]);
  await clock.advance(30);
  expect(fired).toEqual(["far"]);
});

test("an owner may arm itself, arm another that is due now, or remove it, while it is called", async () => {
  const { clock, wheel, fired, named } = start();
  const second = named("second");
  const third = named("third");
  const again = named("first", () => {
    if (fired.filter((name) => name === "first").length < 3) wheel.arm(again, 0);
    wheel.arm(second, 100);
    wheel.remove(third);
  });
  wheel.arm(third, 20);
  wheel.arm(second, 20);
  wheel.arm(again, 20);
  await clock.advance(30);
  expect(fired.slice(0, 2)).toEqual(["first", "first"]);
  await clock.advance(300);
  expect(fired.filter((name) => name === "second").length).toBe(1);
  expect(fired).not.toContain("third");
});
