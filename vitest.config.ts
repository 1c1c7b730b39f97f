import { env } from "node:process";
import { defineConfig } from "vitest/config";

// One project a kind of test, so that each can be run alone: `npx vitest run --project unit`.
const project = (name: string, timeoutMs: number) => ({
  test: { name, include: [`test/${name}/**/*.test.ts`], testTimeout: timeoutMs, hookTimeout: timeoutMs },
});

const KILLS = "test/e2e/kill*.test.ts";

// CI reads the counts from a file, so that the command it runs is the one that README names.
const countsFile = env["BATON_TEST_JSON"];

export default defineConfig({
  test: {
    pool: "forks",
    maxWorkers: 2,
    ...(countsFile === undefined ? {} : { reporters: ["default", "json"], outputFile: { json: countsFile } }),
    projects: [
      project("unit", 10_000),
      project("integration", 30_000),
      project("fuzz", 120_000),
      project("sim", 120_000),
      { test: { ...project("e2e", 180_000).test, exclude: [KILLS] } },
      // A load on a whole cluster of which parts are killed leaves no core for anything else: after the rest, one by one.
      {
        test: {
          ...project("e2e", 180_000).test,
          name: "kill",
          include: [KILLS],
          sequence: { groupOrder: 1 },
          maxWorkers: 1,
        },
      },
    ],
  },
});
