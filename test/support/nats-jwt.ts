/**
 * NATS's decentralised credentials for tests: an operator, an account with JetStream and a user, as `nsc` would make
 * them; what a server's configuration needs, and the user's .creds file.
 *
 * Source  github.com/nats-io/jwt, version 2: header, claims and an Ed25519 signature by the issuer's nkey.
 */
import { nkeys } from "nats";

/** The client passes them on without their types. */
interface KeyPair {
  getPublicKey(): string;
  getSeed(): Uint8Array;
  sign(bytes: Uint8Array): Uint8Array;
}
const keys = nkeys as Readonly<Record<"createOperator" | "createAccount" | "createUser", () => KeyPair>>;

const encoded = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");

function signed(issuer: KeyPair, subject: KeyPair, name: string, nats: Readonly<Record<string, unknown>>): string {
  const claims = {
    ...{
      jti: name,
      iat: Math.floor(Date.now() / 1_000),
      iss: issuer.getPublicKey(),
      sub: subject.getPublicKey(),
      name,
    },
    nats: { version: 2, ...nats },
  };
  const text = `${encoded({ typ: "JWT", alg: "ed25519-nkey" })}.${encoded(claims)}`;
  return `${text}.${Buffer.from(issuer.sign(Buffer.from(text))).toString("base64url")}`;
}

export interface Credentials {
  /** To be merged into the server's configuration. */
  readonly config: Readonly<Record<string, unknown>>;
  /** What a .creds file holds. */
  readonly creds: string;
}

export function decentralised(): Credentials {
  const [operator, account, system, user] = [
    keys.createOperator(),
    keys.createAccount(),
    keys.createAccount(),
    keys.createUser(),
  ];
  const limits = {
    ...{ subs: -1, data: -1, payload: -1, imports: -1, exports: -1, wildcards: true, conn: -1, leaf: -1 },
    ...{ mem_storage: -1, disk_storage: -1, streams: -1, consumer: -1 },
  };
  const accountJwt = signed(operator, account, "fleet", { type: "account", limits });
  const { subs, data, payload } = limits;
  const userJwt = signed(account, user, "baton", { type: "user", subs, data, payload });
  const seed = new TextDecoder().decode(user.getSeed());
  return {
    config: {
      operator: signed(operator, operator, "operator", { type: "operator", system_account: system.getPublicKey() }),
      resolver: "MEMORY",
      resolver_preload: {
        [account.getPublicKey()]: accountJwt,
        [system.getPublicKey()]: signed(operator, system, "system", { type: "account" }),
      },
    },
    creds:
      `-----BEGIN NATS USER JWT-----\n${userJwt}\n------END NATS USER JWT------\n\n` +
      `-----BEGIN USER NKEY SEED-----\n${seed}\n------END USER NKEY SEED------\n`,
  };
}
