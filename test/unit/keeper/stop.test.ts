/** The agent's end, with time standing still. */
import { expect, test } from "vitest";
import { Stop } from "../../../agent/keeper/stop.ts";
import { TIMES } from "../../../agent/keeper/times.ts";
import { silentLog } from "../../../proto/kernel/log.ts";
import { FakeClock } from "../../support/fake-clock.ts";

function start(timeoutMs = 60_000) {
  const clock = new FakeClock();
  const calls: string[] = [];
  const fleet = { alive: 1, corePid: 7 };
  const stop: Stop = new Stop(
    {
      core: {
        get pid() {
          return fleet.corePid;
        },
        send: ({ type }) => calls.push(`core ${type}`),
        end: () => {
          calls.push("core ends");
          return Promise.resolve();
        },
      },
      generations: {
        get alive() {
          return fleet.alive;
        },
        drainAll: () => calls.push("drain"),
        killAll: () => {
          calls.push("kill");
          fleet.alive = 0;
        },
      },
      apps: {
        endAll: (graceMs) => {
          calls.push(`apps end in ${String(graceMs)}`);
          return Promise.resolve();
        },
      },
      close: () => calls.push("close"),
    },
    timeoutMs,
    clock,
    silentLog,
  );
  const leave = (): void => {
    fleet.alive = 0;
    stop.workerExited();
  };
  let code: number | undefined;
  void stop.done.then((given) => (code = given));
  return { clock, calls, fleet, stop, leave, code: () => code };
}

test("core, workers, apps, core: in this order, and each only when the one before it is done", async () => {
  const { clock, calls, stop, leave, code } = start();
  stop.signal("SIGTERM");
  expect(calls).toEqual(["core stopping"]);
  stop.coreSpoke();
  await clock.advance(20_000);
  expect(calls).toEqual(["core stopping"]);
  stop.coreFinished(0);
  expect(calls.at(-1)).toBe("drain");
  await clock.advance(10_000);
  expect(calls.at(-1)).toBe("drain");
  leave();
  await clock.advance(0);
  expect(calls.slice(2)).toEqual(["apps end in 30000", "core ends", "close"]);
  expect(code()).toBe(0);
  expect(clock.pending).toBe(0);
});

test("a core that says nothing is waited for as long as an answer takes; one that works, until the reserve", async () => {
  const mute = start();
  mute.stop.signal("SIGTERM");
  await mute.clock.advance(TIMES.coreAnswerMs);
  expect(mute.calls).toContain("drain");

  const busy = start();
  busy.stop.signal("SIGTERM");
  busy.stop.coreSpoke();
  await busy.clock.advance(60_000 - TIMES.stopReserveMs - 1);
  expect(busy.calls).not.toContain("drain");
  await busy.clock.advance(1);
  expect(busy.calls).toContain("drain");
});

test("workers that do not finish in the time are killed, and the agent still ends with 0", async () => {
  const { clock, calls, stop, code } = start(10_000);
  stop.signal("SIGTERM");
  stop.coreFinished(0);
  await clock.advance(9_999);
  expect(calls).not.toContain("kill");
  await clock.advance(1);
  expect(calls).toContain("kill");
  expect(code()).toBe(0);
});

test("a core started anew in the middle of it is told anew, and has its own time to answer", async () => {
  const { clock, calls, stop } = start();
  stop.signal("SIGTERM");
  stop.coreSpoke();
  await clock.advance(1_000);
  stop.coreStarted();
  expect(calls).toEqual(["core stopping", "core stopping"]);
  await clock.advance(TIMES.coreAnswerMs);
  expect(calls).toContain("drain");
  stop.coreStarted();
  expect(calls.filter((call) => call === "core stopping")).toHaveLength(2);
});

test("with no core there is nothing to wait for", () => {
  const { calls, fleet, stop } = start();
  fleet.corePid = 0;
  stop.signal("SIGTERM");
  expect(calls).toEqual(["drain"]);
});

test("a second signal kills, once; one in the same moment does not", async () => {
  const { clock, calls, stop, code } = start();
  stop.signal("SIGINT");
  stop.signal("SIGINT");
  await clock.advance(TIMES.sameSignalMs);
  expect(calls).toEqual(["core stopping"]);
  stop.signal("SIGINT");
  stop.signal("SIGINT");
  await clock.advance(0);
  expect(calls.filter((call) => call === "kill")).toHaveLength(1);
  expect(calls.filter((call) => call === "close")).toHaveLength(1);
  expect(code()).toBe(130);
});

test("a core may ask for the end by itself, with an exit code of its own", async () => {
  const { clock, stop, leave, code } = start();
  stop.coreFinished(2);
  leave();
  await clock.advance(0);
  expect(code()).toBe(2);
});
