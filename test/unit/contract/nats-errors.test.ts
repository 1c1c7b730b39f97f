import type { ApiError, NatsConnection } from "nats";
import { NatsError } from "nats";
import { describe, expect, test } from "vitest";
import { faultOf, isPassing } from "../../../control/store/nats/errors.ts";
import { forbids, sentence } from "../../../proto/contract/nats-errors.ts";

const connectionTo = (jetstream: boolean): NatsConnection =>
  ({ getServer: () => "n1:4222", info: { jetstream } }) as unknown as NatsConnection;
const connection = connectionTo(true);

function answered(err_code: number, description: string): NatsError {
  const error = new NatsError(description, "400");
  error.api_error = { code: 400, err_code, description } satisfies ApiError;
  return error;
}
const noResponders = new NatsError("503", "503");
const timeout = new NatsError("TIMEOUT", "TIMEOUT");
const said = (error: unknown, on = connection): string => sentence(on, "baton_prod_lead", "the lease", error);

describe("what JetStream answers is told with the remedy, and never as a number alone", () => {
  const told: readonly (readonly [string, unknown, RegExp])[] = [
    ["a bucket that was deleted", answered(10059, "stream not found"), /^the bucket baton_prod_lead is gone from NATS/],
    ["a full disk", answered(10077, "no space left"), /has no room for the lease \(no space left\): free disk space/],
    ["an account without JetStream", answered(10039, "not enabled"), /not enabled for this account on NATS at n1:4222/],
    ["two servers of three", answered(10005, "no suitable peers"), /can't keep baton_prod_lead on three servers yet/],
    ["an election", answered(10008, "no leader"), /is not ready \(no leader\): most of the cluster's servers must run/],
    ["another's bucket", answered(10058, "name in use"), /with other settings \(name in use\)/],
    ["no majority", noResponders, /has no server that leads baton_prod_lead: most of its servers must run/],
    ["no answer", timeout, /has no server that leads baton_prod_lead.*; the lease waits for them in vain$/],
    ["a connection that ended", new NatsError("closed", "CONNECTION_CLOSED"), /was lost during the lease$/],
    [
      "what nobody knew of",
      answered(12345, "a new reason"),
      /could not be used for the lease: a new reason \(12345\)$/,
    ],
    ["a defect", new TypeError("oops"), /could not be used for the lease: oops$/],
  ];
  test.each(told)("%s", (_of, error, like) => {
    expect(said(error)).toMatch(like);
  });

  test("JetStream that is off is not taken for one without a majority", () => {
    expect(said(noResponders, connectionTo(false))).toMatch(/^JetStream is not enabled on NATS.*nats-server with -js/);
  });

  test("what is forbidden is told with the subject", () => {
    const error = new NatsError("permissions violation", "PERMISSIONS_VIOLATION");
    expect(said(error)).toBe("NATS at n1:4222 forbids this user the lease: permissions violation");
    error.permissionContext = { operation: "subscription", subject: "$KV.x", queue: undefined } as never;
    expect(said(error)).toBe(
      "NATS at n1:4222 forbids this user to subscribe to $KV.x (--cluster prod): grant it (control/NATS.md), " +
        "or give the --cluster that this user's permissions are for",
    );
  });

  const random = "Z0MAA22HLYP900R7V9RZO1";
  test.each([
    [`_INBOX.baton.prod.control.${random}.*`, "_INBOX.baton.prod.control.>"],
    [`_INBOX.baton.prod.agent.host-1.${random}.${random}`, "_INBOX.baton.prod.agent.host-1.>"],
    [`_INBOX.${random}.*`, "_INBOX.>"],
    [`$JS.API.CONSUMER.CREATE.KV_x.${random}.$KV.x.>`, "$JS.API.CONSUMER.CREATE.KV_x.*.$KV.x.>"],
    ["_INBOX.baton.prod.control.>", "_INBOX.baton.prod.control.>"],
  ])("the sentence for %s is the same with each try: it says %s", (subject, shown) => {
    const at = { operation: "publish", subject };
    expect(forbids("NATS", "prod", at)).toMatch(`forbids this user to publish to ${shown} (--cluster prod): `);
  });
});

describe("a write that did not succeed", () => {
  test("what may be stored all the same is not taken for refused", () => {
    expect(faultOf(timeout, 3)).toBe("unknown");
    // One server of three could not write what the others may have.
    expect(faultOf(answered(10077, "no space left"), 3)).toBe("unknown");
    expect(faultOf(answered(10077, "no space left"), 1)).toBe("refused");
    expect(faultOf(answered(10047, "no room"), 3)).toBe("refused");
    expect(faultOf(answered(10071, "wrong last sequence"), 3)).toBe("mismatch");
    expect(faultOf(answered(10164, "wrong last sequence"), 1)).toBe("mismatch");
    expect(faultOf(noResponders, 3)).toBe("untaken");
  });

  test("an election is waited for, JetStream that is off is not", () => {
    expect(isPassing(connection, noResponders)).toBe(true);
    expect(isPassing(connectionTo(false), noResponders)).toBe(false);
    expect(isPassing(connection, answered(10008, "no leader"))).toBe(true);
    expect(isPassing(connection, answered(10047, "no room"))).toBe(false);
  });
});
