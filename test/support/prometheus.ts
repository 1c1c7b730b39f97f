/**
 * A real Prometheus that scrapes one exporter, which the test itself serves: `values` is what the next scrape sees.
 * Its data lives in a folder that goes with it; its port is the kernel's, read from its own log line.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import type { Server } from "node:http";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { RunningProcess } from "./processes.ts";
import { startProgram, until } from "./processes.ts";

export interface PrometheusServer extends AsyncDisposable {
  /** http://127.0.0.1:PORT */
  readonly address: string;
  readonly process: RunningProcess;
  /** `name{label="x"}` → value, in the exposition format's own words. */
  readonly values: Map<string, string>;
  /** Resolves once Prometheus itself answers the query with this sample's value. */
  scraped(query: string, value: string): Promise<void>;
}

const SCRAPE_EVERY = "100ms";

export async function startPrometheus(values: Readonly<Record<string, string>>): Promise<PrometheusServer> {
  const folder = mkdtempSync(join(tmpdir(), "baton-prometheus-"));
  const shown = new Map(Object.entries(values));
  const exporter = createServer((_, response) => {
    response.setHeader("content-type", "text/plain; version=0.0.4");
    response.end([...shown].map(([name, value]) => `${name} ${value}\n`).join(""));
  });
  const target = await listen(exporter);
  const config = {
    global: { scrape_interval: SCRAPE_EVERY, scrape_timeout: SCRAPE_EVERY },
    scrape_configs: [{ job_name: "app", honor_labels: true, static_configs: [{ targets: [target] }] }],
  };
  // YAML takes JSON as it is.
  writeFileSync(join(folder, "prometheus.yml"), JSON.stringify(config));
  const process = startProgram("prometheus", {
    args: [
      `--config.file=${join(folder, "prometheus.yml")}`,
      `--storage.tsdb.path=${join(folder, "tsdb")}`,
      "--web.listen-address=127.0.0.1:0",
    ],
    // It waits for idle connections to end; nothing that it could still write is wanted.
    graceMs: 100,
  });
  const stop = async (): Promise<void> => {
    await process.stop();
    exporter.closeAllConnections();
    await new Promise((closed) => exporter.close(closed));
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    const [, at = ""] = await process.line(/msg="Listening on" address=(127\.0\.0\.1:\d+)/);
    const address = `http://${at}`;
    await until("Prometheus is ready", async () => (await fetch(`${address}/-/ready`).catch(() => null))?.ok === true);
    const scraped = (query: string, value: string): Promise<void> =>
      until(`${query} is ${value}`, async () => {
        const answer = await fetch(`${address}/api/v1/query?query=${encodeURIComponent(query)}`);
        const { data } = (await answer.json()) as { readonly data?: { readonly result?: readonly Sample[] } };
        return data?.result?.[0]?.value[1] === value;
      });
    return { address, process, values: shown, scraped, [Symbol.asyncDispose]: stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

interface Sample {
  readonly value: readonly [number, string];
}

/** HOST:PORT, the port being the kernel's. */
export async function listen(server: Server): Promise<string> {
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  return `127.0.0.1:${String((server.address() as AddressInfo).port)}`;
}
