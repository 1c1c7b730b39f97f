/**
 * An image registry of one image on loopback, which asks for a user and a password: enough of the distribution protocol
 * for a pull. Docker takes 127.0.0.0/8 without TLS.
 *
 * Source  OCI Distribution Specification 1.1, "Pull"; image manifest v2 schema 2.
 */
import { createHash } from "node:crypto";
import { createServer } from "node:http";
import type { Server, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tar } from "./tar.ts";

const MANIFEST = "application/vnd.docker.distribution.manifest.v2+json";

export class FakeRegistry implements AsyncDisposable {
  readonly user = "robot";
  readonly password = "let me in";
  /** Manifests given out. */
  pulls = 0;
  readonly #server: Server;
  readonly #blobs = new Map<string, Buffer>();
  readonly #manifests = new Map<string, Buffer>();

  private constructor() {
    this.#server = createServer((request, response) => this.#answer(request.url ?? "", request.headers, response));
  }

  static async start(): Promise<FakeRegistry> {
    const registry = new FakeRegistry();
    await new Promise<void>((done) => registry.#server.listen(0, "127.0.0.1", done));
    return registry;
  }

  get host(): string {
    return `127.0.0.1:${String((this.#server.address() as AddressInfo).port)}`;
  }

  /** An image of one layer with one file; its full name. */
  add(repository: string, tag: string): string {
    const layer = tar({ "hello.txt": `${repository}:${tag}` });
    const config = Buffer.from(
      JSON.stringify({
        ...{ architecture: process.arch === "arm64" ? "arm64" : "amd64", os: "linux", config: { Cmd: ["/hello"] } },
        rootfs: { type: "layers", diff_ids: [digestOf(layer)] },
      }),
    );
    const blob = (bytes: Buffer, mediaType: string): object => {
      this.#blobs.set(digestOf(bytes), bytes);
      return { mediaType, size: bytes.length, digest: digestOf(bytes) };
    };
    const manifest = {
      ...{ schemaVersion: 2, mediaType: MANIFEST },
      config: blob(config, "application/vnd.docker.container.image.v1+json"),
      layers: [blob(layer, "application/vnd.docker.image.rootfs.diff.tar")],
    };
    this.#manifests.set(`${repository}/manifests/${tag}`, Buffer.from(JSON.stringify(manifest)));
    return `${this.host}/${repository}:${tag}`;
  }

  #answer(url: string, headers: NodeJS.Dict<string | string[]>, response: ServerResponse): void {
    const wanted = `Basic ${Buffer.from(`${this.user}:${this.password}`).toString("base64")}`;
    if (headers["authorization"] !== wanted) {
      response.writeHead(401, { "www-authenticate": 'Basic realm="registry"', "content-type": "application/json" });
      response.end(JSON.stringify({ errors: [{ code: "UNAUTHORIZED", message: "authentication required" }] }));
      return;
    }
    const path = url.replace(/^\/v2\//, "");
    if (path === "" || path === "/v2/") return void response.writeHead(200).end("{}");
    const manifest = this.#manifests.get(path) ?? this.#byDigest(path);
    if (manifest !== undefined) {
      this.pulls += 1;
      response.writeHead(200, {
        ...{ "content-type": MANIFEST, "content-length": manifest.length },
        "docker-content-digest": digestOf(manifest),
      });
      return void response.end(manifest);
    }
    const blob = this.#blobs.get(/\/blobs\/(sha256:\w+)$/.exec(path)?.[1] ?? "");
    if (blob !== undefined) {
      response.writeHead(200, { "content-type": "application/octet-stream", "content-length": blob.length });
      return void response.end(blob);
    }
    response.writeHead(404, { "content-type": "application/json" });
    response.end(JSON.stringify({ errors: [{ code: "MANIFEST_UNKNOWN", message: "manifest unknown" }] }));
  }

  #byDigest(path: string): Buffer | undefined {
    const digest = /\/manifests\/(sha256:\w+)$/.exec(path)?.[1];
    return this.#manifests.values().find((manifest) => digestOf(manifest) === digest);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((done) => this.#server.close(done));
  }
}

const digestOf = (bytes: Buffer): string => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
