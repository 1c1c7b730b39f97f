/** What to try next, with the commands as they can be typed. */
import type { Cluster } from "./cluster.ts";

export function hints(cluster: Cluster, port: number, broken: string): string {
  const baton = "npx baton";
  const at = cluster.controllerAddress.endsWith(":7400") ? "" : ` --controller ${cluster.controllerAddress}`;
  return `
The cluster stays up, and so does the traffic. Try in another terminal:
  open http://127.0.0.1:${String(port)}/                    the application
  ${baton} get hosts${at}                       who is there, and what each serves
  ${baton} rollout status demo${at}             the last rollout, with its ledger
  ${baton} rollout undo demo --watch${at}       back to the version before
  ${baton} deploy -f ${broken} --watch${at}   a version that never gets ready: see it roll back
  ${baton} drain host-2 --wait${at}             take a host out; undrain gives it back
  ${baton} events --watch${at}                  what happens, as it happens
Ctrl-C ends it, with the final ledgers.`;
}
