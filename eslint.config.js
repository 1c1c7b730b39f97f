// Lint is where "time and chance are injected" and "small files" are made to hold, not only asked for.
import tseslint from "typescript-eslint";

const ambient = [
  { object: "Date", property: "now", message: "Take the time from an injected Clock." },
  { object: "Math", property: "random", message: "Take chance from an injected Random." },
  { object: "AbortSignal", property: "timeout", message: "Fake clocks do not reach it; use Clock." },
];
const timers = ["setTimeout", "setInterval"].map((name) => ({
  name,
  message: "Use the injected Clock, so that time stands still in tests.",
}));

export default tseslint.config(
  { ignores: ["build/**", "node_modules/**", "proto/gen/**"] },
  {
    files: ["**/*.ts"],
    extends: [tseslint.configs.strictTypeChecked],
    languageOptions: {
      parserOptions: {
        projectService: { allowDefaultProject: ["vitest.config.ts"] },
        tsconfigRootDir: import.meta.dirname,
      },
    },
    rules: {
      "no-restricted-properties": ["error", ...ambient],
      "no-restricted-globals": ["error", ...timers, { name: "process", message: "Only roots touch process." }],
      "max-lines": ["error", { max: 400, skipBlankLines: false, skipComments: false }],
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true, allowBoolean: true }],
      "@typescript-eslint/switch-exhaustiveness-check": ["error", { considerDefaultExhaustiveForUnions: true }],
      "@typescript-eslint/no-confusing-void-expression": ["error", { ignoreArrowShorthand: true }],
      "@typescript-eslint/no-unused-vars": ["error", { argsIgnorePattern: "^_", varsIgnorePattern: "^_" }],
    },
  },
  {
    // Composition roots and Node adapters are where the real world is let in.
    files: [
      "**/main.ts",
      "agent/agent.ts",
      "agent/keeper/**",
      "control/controller.ts",
      "control/cli/**",
      "proto/runtime/**",
      "test/**",
    ],
    rules: { "no-restricted-globals": "off", "no-restricted-properties": "off" },
  },
  { files: ["test/**"], rules: { "@typescript-eslint/no-non-null-assertion": "off", "max-lines": "off" } },
);
