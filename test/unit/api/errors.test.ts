import { expect, test } from "vitest";
import { statusOf } from "../../../control/api/errors.ts";
import { Refusal } from "../../../control/refusal.ts";
import { silentLog } from "../../../proto/kernel/log.ts";

const details = (message: string): string => statusOf(new Refusal("precondition", message), silentLog).details;

test("a refusal that a header can't carry is cut between two characters, and says so", () => {
  expect(details("ä".repeat(8_192))).toBe("ä".repeat(8_192));
  expect(details(`a${"ä".repeat(8_192)}`)).toBe(`a${"ä".repeat(8_191)} … (2 more bytes)`);
  expect(encodeURIComponent(details("ä".repeat(100_000))).length).toBeLessThan(64 << 10);
});
