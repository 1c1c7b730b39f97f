import { closeSync, openSync } from "node:fs";
import { expect, test } from "vitest";
import { pinoLog } from "../../../proto/runtime/pino-log.ts";

test("a log that can't be written, as of a terminal that was closed or on a full disk, ends nobody", () => {
  const fd = openSync("/dev/full", "w");
  try {
    const log = pinoLog({ name: "controller", level: "info", fd });
    const filler = "x".repeat(10_000);
    for (let i = 0; i < 1_000; i++) expect(() => log.info({ filler }, "said to nobody")).not.toThrow();
  } finally {
    closeSync(fd);
  }
});
