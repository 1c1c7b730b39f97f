/**
 * The operators' gRPC service: each call checked for its token, handed to the operation it names, and answered with a
 * view or with one status of errors.ts.
 */
import { status } from "@grpc/grpc-js";
import type { handleServerStreamingCall, handleUnaryCall, Metadata } from "@grpc/grpc-js";
import { LIMITS, PROTOCOL_VERSION } from "../../proto/contract/limits.ts";
import { WHOLE } from "../../proto/contract/units.ts";
import { RolloutView as WireRolloutView } from "../../proto/gen/baton/v1/operator.ts";
import type { OperatorServer, RolloutCommand, RolloutView } from "../../proto/gen/baton/v1/operator.ts";
import type { Command, Rollout } from "../model/rollout.ts";
import { Refusal } from "../refusal.ts";
import { allows, authorizationOf } from "./auth.ts";
import type { Token } from "./auth.ts";
import type { OperatorContext } from "./context.ts";
import { statusOf } from "./errors.ts";
import type { Status } from "./errors.ts";
import { streamEvents } from "./events.ts";
import { watchRollout } from "./watch.ts";
import { plans } from "./plan-view.ts";
import { rolloutView } from "./rollout-view.ts";
import { hostView, serviceView } from "./wire-views.ts";

/** Well within one message; of more rollouts than that, the newest are told. */
const ANSWER_BYTES = LIMITS.answerBytes / 4;

/** Not the end of what was watched. */
const OVER: Status = { code: status.UNAVAILABLE, details: "this controller stops, or leads no more: ask again" };

export const UNAUTHENTICATED: Status = {
  code: status.UNAUTHENTICATED,
  details: "this controller asks for a token: give it with --token-file",
};

/** `token`: what callers must bring; null where another has looked at it. */
export function operatorService(options: OperatorContext, token: Token): OperatorServer {
  const { operations, registry } = options;
  const view = (rollout: Rollout): Promise<RolloutView> => rolloutView(options, rollout);

  const unary = <Request, Response>(
    answer: (request: Request, metadata: Metadata) => Response | Promise<Response>,
  ): handleUnaryCall<Request, Response> => {
    return (call, callback) => {
      if (!allows(token, authorizationOf(call.metadata))) {
        callback(UNAUTHENTICATED);
        return;
      }
      Promise.resolve()
        .then(() => answer(call.request, call.metadata))
        .then(
          (response) => callback(null, response),
          (error: unknown) => callback(statusOf(error, options.log)),
        );
    };
  };

  const stream = <Request, Response>(
    serve: (call: Parameters<handleServerStreamingCall<Request, Response>>[0]) => Promise<void>,
  ): handleServerStreamingCall<Request, Response> => {
    return (call) => {
      if (!allows(token, authorizationOf(call.metadata))) {
        call.emit("error", UNAUTHENTICATED);
        return;
      }
      serve(call).then(
        () => {
          if (options.stopping.aborted && !call.cancelled) call.emit("error", OVER);
          else call.end();
        },
        (error: unknown) => call.emit("error", statusOf(error, options.log)),
      );
    };
  };

  const command = (kind: "pause" | "resume" | "abort") =>
    unary(async ({ service, reason, actor }: RolloutCommand) => {
      const by = actor || "operator";
      const said: Command = kind === "resume" ? { kind, actor: by } : { kind, actor: by, reason };
      return view(await operations.command(service, said));
    });

  return {
    apply: unary(async ({ documents, deploy, dryRun }, metadata) => {
      const sources = documents.map(({ file, text, baseDir }) => {
        return { file, text, ...(baseDir === "" ? {} : { baseDir }) };
      });
      const results = await operations.apply(sources, { deploy, dryRun, actor: actorOf(metadata) });
      return {
        results: results.map(({ service, outcome, revision, rollout }) => {
          return { service, outcome, revision: revision.revision, version: revision.version, rollout };
        }),
      };
    }),
    getService: unary(({ name }) => serviceView(options, operations.service(name))),
    listServices: unary(() => ({
      services: registry.services().map((service) => {
        // Of each only what it rests on and what is newest; GetService has more.
        const shown = (revision: number): boolean => revision === service.stable || revision === service.newest;
        const whole = serviceView(options, service);
        return { ...whole, revisions: whole.revisions.filter(({ revision }) => shown(revision)) };
      }),
    })),
    deleteService: unary(async ({ name }, metadata) => {
      await operations.delete(name, actorOf(metadata));
      return {};
    }),
    listHosts: unary(() => ({ hosts: registry.hosts().map((host) => hostView(options, host)) })),
    getRollout: unary(({ service, rollout }) => view(operations.rollout(service, rollout))),
    listRollouts: unary(async ({ service }) => {
      if (service !== "") operations.service(service);
      const rollouts: RolloutView[] = [];
      let room = ANSWER_BYTES;
      for (const rollout of registry.rollouts(service).toReversed()) {
        const next = await view(rollout);
        room -= WireRolloutView.encode(next).finish().length;
        if (room < 0) break;
        rollouts.push(next);
      }
      return { rollouts };
    }),
    watchRollout: stream((call) => watchRollout(call, options)),
    deploy: unary(async ({ service, version, revision, actor }) => {
      return view(await operations.deploy(service, { version, revision }, actor || "operator"));
    }),
    pause: command("pause"),
    resume: command("resume"),
    abort: command("abort"),
    promote: unary(async ({ service, full, actor }) => {
      return view(await operations.command(service, { kind: "promote", actor: actor || "operator", full }));
    }),
    retry: unary(async ({ service, actor }) => view(await operations.retry(service, actor || "operator"))),
    undo: unary(async ({ service, toRevision, actor }) => {
      return view(await operations.undo(service, toRevision, actor || "operator"));
    }),
    plan: unary((request) => plans(request, options)),
    setWeight: unary(async ({ service, weight, actor }) => {
      if (weight > WHOLE)
        throw new Refusal("invalid", `a weight of ${weight} is more than all (${WHOLE} basis points)`);
      return view(await operations.command(service, { kind: "weight", actor: actor || "operator", weight }));
    }),
    drain: unary(async ({ host, actor }) => {
      return hostView(options, await operations.setAdminState(host, "drain", actor || "operator"));
    }),
    undrain: unary(async ({ host, actor }) => {
      return hostView(options, await operations.setAdminState(host, "ready", actor || "operator"));
    }),
    events: stream((call) => streamEvents(call, options)),
    getInfo: unary(() => ({
      software: options.ground.software,
      epoch: BigInt(registry.epoch),
      protocolVersion: PROTOCOL_VERSION,
      startedAtMs: BigInt(Math.round(options.ground.startedAtMs)),
      store: registry.description,
      role: options.role,
      id: options.ground.id,
      leader: options.ground.leader(),
      troubles: [...new Set([...options.ground.troubles(), registry.trouble])].filter((why) => why !== ""),
    })),
  };
}

/** Calls whose request names no actor may name one beside it. */
export function actorOf(metadata: Metadata): string {
  const value = metadata.get("baton-actor")[0];
  if (typeof value !== "string" || value === "") return "operator";
  if (value.length > 128) throw new Refusal("invalid", "baton-actor is longer than 128 characters");
  return value;
}
