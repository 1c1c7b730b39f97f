/**
 * An app of a few lines for tests of the agent's core. GET / answers its version and pid, POST the length of the body,
 * /slow/MS after that time, /crash ends it with 3. On SIGTERM it finishes and leaves. Version v3 is never ready and says
 * why; v4 ends at once with 7; v5 takes the health question and never answers it.
 */
import { createServer } from "node:http";

const version = process.env["BATON_VERSION"] ?? "?";
process.stdout.write(`${version} begins on ${process.env["PORT"] ?? "no port"}\n`);
if (version === "v4") {
  process.stderr.write("fatal: no configuration\n");
  process.exit(7);
}
const server = createServer((request, response) => {
  let bytes = 0;
  request.on("data", (chunk: Buffer) => (bytes += chunk.length));
  request.on("end", () => {
    if (request.url === "/crash") {
      process.stderr.write("Error: out of luck\n");
      process.exit(3);
    }
    if (request.url === "/healthz" && version === "v5") return; // taken, never answered
    if (request.url === "/healthz" && version === "v3") {
      response.writeHead(503).end("no database\n");
      return;
    }
    const wait = Number(/^\/slow\/(\d+)$/.exec(request.url ?? "")?.[1] ?? 0);
    setTimeout(() => {
      response.setHeader("x-version", version);
      response.end(request.method === "POST" ? String(bytes) : `${version} ${process.pid}`);
    }, wait);
  });
});
server.listen(Number(process.env["PORT"]), process.env["HOST"]);
process.on("SIGTERM", () => {
  server.close(() => process.exit(0));
  server.closeIdleConnections();
});
