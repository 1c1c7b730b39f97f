/** See suite.ts: a representative part in every run, all of the matrix by SCENARIOS=all or `main.ts`. */
import { expect } from "vitest";
import { suite } from "./suite.ts";

suite("rolling surge", (row) => {
  expect(row.requests).toBeGreaterThan(0);
  expect(row.lostBaton).toBe(row.explained);
});
suite("rolling in place", (row) => {
  expect(row.requests).toBeGreaterThan(0);
  expect(row.lostBaton).toBe(row.explained);
});
