/**
 * What listens while desks come and go: every call is handed to the desk of the moment. In between, a call waits for
 * the next one, as long as a take-over lasts.
 */
import { Metadata, status } from "@grpc/grpc-js";
import type { ServerUnaryCall, ServerWritableStream, sendUnaryData, UntypedHandleCall } from "@grpc/grpc-js";
import { LEAD, NOT_DONE } from "../../proto/contract/nats.ts";
import { PROTOCOL_VERSION } from "../../proto/contract/limits.ts";
import { OperatorService } from "../../proto/gen/baton/v1/operator.ts";
import type { Info, OperatorServer } from "../../proto/gen/baton/v1/operator.ts";
import { allows, authorizationOf } from "./auth.ts";
import type { Metrics } from "./metrics.ts";
import { UNAUTHENTICATED } from "./operator.ts";
import type { Ground } from "../desk.ts";
import type { Cluster } from "../lead/cluster.ts";

const PATIENCE_MS = LEAD.takeOverMs + 1_000;

type Unary = (call: ServerUnaryCall<unknown, unknown>, callback: sendUnaryData<unknown>) => void;
type Streaming = (call: ServerWritableStream<unknown, unknown>) => void;

export function operatorsOf(cluster: Cluster, ground: Omit<Ground, "leader" | "troubles">): OperatorServer {
  const all: Record<string, UntypedHandleCall> = {};
  const nobody = (): { readonly code: status; readonly details: string; readonly metadata: Metadata } => {
    const metadata = new Metadata();
    metadata.set(NOT_DONE, "1");
    const details = cluster.troubles()[0] ?? "this controller is just starting; ask again";
    return { code: status.UNAVAILABLE, details, metadata };
  };
  for (const [name, method] of Object.entries(OperatorService)) {
    const of = (operators: OperatorServer): unknown => operators[name as keyof OperatorServer];
    const streaming: Streaming = (call) => {
      void cluster.present(PATIENCE_MS).then((desk) => {
        if (desk === null) call.emit("error", nobody());
        else (of(desk.operators) as Streaming)(call);
      });
    };
    const unary: Unary = (call, callback) => {
      void cluster.present(PATIENCE_MS).then((desk) => {
        if (desk === null) callback(nobody());
        else (of(desk.operators) as Unary)(call, callback);
      });
    };
    all[name] = (method.responseStream ? streaming : unary) as UntypedHandleCall;
  }
  // Who asks what is wrong is told at once.
  const asked = all["getInfo"] as Unary;
  const getInfo: Unary = (call, callback) => {
    if (cluster.desk !== null) asked(call, callback);
    else if (!allows(ground.operatorToken, authorizationOf(call.metadata))) callback(UNAUTHENTICATED);
    else callback(null, candidate(cluster, ground));
  };
  all["getInfo"] = getInfo as UntypedHandleCall;
  return all as OperatorServer;
}

function candidate(cluster: Cluster, { software, startedAtMs, id }: Omit<Ground, "leader" | "troubles">): Info {
  return {
    ...{ software, id, epoch: 0n, protocolVersion: PROTOCOL_VERSION, startedAtMs: BigInt(Math.round(startedAtMs)) },
    ...{ store: "", role: "candidate", leader: "", troubles: [...cluster.troubles()] },
  };
}

/** The desk's own; without one, that there is none. */
export function metricsOf(cluster: Cluster): Pick<Metrics, "contentType" | "text"> {
  return {
    get contentType() {
      return cluster.desk?.metrics.contentType ?? "text/plain; version=0.0.4; charset=utf-8";
    },
    text: () => cluster.desk?.metrics.text() ?? Promise.resolve(NO_DESK),
  };
}

const NO_DESK = `# HELP baton_control_leads 1 while this controller leads.
# TYPE baton_control_leads gauge
baton_control_leads 0
`;
