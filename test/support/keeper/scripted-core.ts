/**
 * A core that decides nothing: what the keeper says goes to the test, what the test says goes to the keeper, one JSON
 * line a message, over the Unix socket named in BATON_TEST_CORE. Run by the keeper with `--core`.
 */
import { connect } from "node:net";
import { createInterface } from "node:readline";

const socket = connect(process.env["BATON_TEST_CORE"] ?? "");
socket.write(`${JSON.stringify({ type: "hello", pid: process.pid })}\n`);
process.on("message", (message) => socket.write(`${JSON.stringify(message)}\n`));
createInterface({ input: socket }).on("line", (line) => process.send?.(JSON.parse(line)));
process.on("disconnect", () => process.exit(0));
socket.on("error", () => process.exit(1));
for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) process.on(signal, () => undefined);
