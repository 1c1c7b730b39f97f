/** What to try next, with the commands as they can be typed. */
import { formatHostPort } from "../../../proto/contract/address.ts";
import { PORTS } from "../../../proto/contract/limits.ts";
import type { Cluster } from "./cluster.ts";

/** Documents of the demo that can be deployed as they stand. */
export interface Documents {
  readonly broken: string;
  readonly canary: string;
  readonly badCanary: string;
}

export function hints(cluster: Cluster, port: number, documents: Documents): string {
  // Of several controllers all are named: any of them may be ended in the trial.
  const usual = cluster.controllerAddress === formatHostPort("127.0.0.1", PORTS.controllerGrpc);
  const at = usual ? "" : ` --controller ${cluster.controllerAddress}`;
  const rows: readonly (readonly [string, string])[] = [
    [`http://127.0.0.1:${String(port)}/`, "the application, in a browser"],
    [`npx baton get hosts${at}`, "who is there, and what each serves"],
    [`npx baton rollout status demo${at}`, "the last rollout, with its ledger"],
    [`npx baton rollout undo demo --watch${at}`, "back to the version before"],
    [`npx baton deploy -f ${documents.broken} --watch${at}`, "a version that never gets ready: see it roll back"],
    [`npx baton plan -f ${documents.canary}${at}`, "what a canary would do, without doing it"],
    [`npx baton deploy -f ${documents.canary} --watch${at}`, "a canary that is judged, and good: about three minutes"],
    [
      `npx baton deploy -f ${documents.badCanary} --watch${at}`,
      "one that is bad: the analysis sees it and takes it back",
    ],
    [`npx baton drain host-2 --wait${at}`, "take a host out; undrain gives it back"],
    [`npx baton events --watch${at}`, "what happens, as it happens"],
    [`npx baton host status${at}`, "what each agent has confirmed"],
    ...several(cluster, at),
  ];
  const lines = rows.map(([command, what]) => `  ${command}\n      ${what}`);
  return [
    "",
    "The cluster stays up, and so does the traffic. Try in another terminal:",
    ...lines,
    "Ctrl-C ends it, with the final ledgers.",
  ].join("\n");
}

function several(cluster: Cluster, at: string): readonly (readonly [string, string])[] {
  if (cluster.natsUrls.length === 0) return [];
  const [first = ""] = cluster.controllers.map(({ name }) => String(cluster.pid(name)));
  return [
    [`npx baton get controllers${at}`, "who leads, who follows"],
    [`kill -9 ${first}`, "end a controller: if it led, another one does within five seconds; the traffic flows"],
  ];
}
