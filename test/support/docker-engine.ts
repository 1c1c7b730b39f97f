/**
 * A Docker engine for the tests that run containers: used where one answers; on Debian, as root, installed and started where
 * there is none. It is then a service of the machine, in a session of its own, and outlives the tests.
 *
 * Errors  one Error whose message is meant for the person at the terminal.
 */
import { spawn } from "node:child_process";
import { openSync } from "node:fs";
import { request } from "node:http";
import { ensurePrograms, find } from "./debian.ts";

const SOCKET = "/var/run/docker.sock";
const LOG = "/tmp/baton-dockerd.log";
const START_MS = 60_000;
const WHY = "instances as containers are tested against a real engine";

export async function ensureDocker(): Promise<void> {
  const elsewhere = process.env["DOCKER_HOST"] ?? "";
  if (elsewhere !== "" && elsewhere !== `unix://${SOCKET}`) return; // whoever names one sees to it
  if (await answers()) return;
  if (find("dockerd") === undefined) {
    ensurePrograms([{ command: "dockerd", debian: "docker.io", why: WHY }]);
  }
  if (process.getuid?.() !== 0) {
    throw new Error(`no Docker engine answers at ${SOCKET} (${WHY}). Start it first: sudo systemctl start docker`);
  }
  process.stderr.write(`starting dockerd, for ${WHY}; its log is ${LOG}\n`);
  const log = openSync(LOG, "a");
  spawn(find("dockerd") ?? "dockerd", [], { detached: true, stdio: ["ignore", log, log] }).unref();
  for (const deadline = performance.now() + START_MS; performance.now() < deadline;) {
    if (await answers()) return;
    await new Promise((wait) => setTimeout(wait, 100));
  }
  throw new Error(`dockerd was started and does not answer at ${SOCKET} within ${START_MS / 1_000} s; see ${LOG}`);
}

function answers(): Promise<boolean> {
  return new Promise((done) => {
    const sent = request({ socketPath: SOCKET, path: "/_ping", timeout: 5_000 }, (response) => {
      response.resume();
      done(response.statusCode === 200);
    });
    sent.on("timeout", () => sent.destroy());
    sent.on("error", () => done(false));
    sent.end();
  });
}
