/** The external driver: instances that somebody else runs, at the addresses that the spec gives. */
import type { ExternalRun } from "../../../proto/contract/spec/types.ts";

/** Those of one version that belong to this host. */
export function externalInstances(
  run: ExternalRun,
  version: string,
  host: string,
): readonly { readonly address: string; readonly port: number }[] {
  return run.instances.filter(
    (instance) => instance.version === version && (instance.host === null || instance.host === host),
  );
}
