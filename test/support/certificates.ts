/** Certificates for tests: an authority, a server's for 127.0.0.1 and a client's, as PEM files in a folder. */
import type { webcrypto } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
// x509 is put together by injection, which needs it.
import "reflect-metadata";
import * as x509 from "@peculiar/x509";

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const DAY_MS = 86_400_000;

export interface Issued {
  readonly certFile: string;
  readonly keyFile: string;
}

export class Authority {
  readonly caFile: string;
  readonly #folder: string;
  readonly #keys: webcrypto.CryptoKeyPair;
  readonly #name: string;

  private constructor(folder: string, name: string, keys: webcrypto.CryptoKeyPair, certificate: x509.X509Certificate) {
    this.#folder = folder;
    this.#name = name;
    this.#keys = keys;
    this.caFile = join(folder, `${name}.pem`);
    writeFileSync(this.caFile, certificate.toString("pem"));
  }

  static async found(folder: string, name: string): Promise<Authority> {
    const keys = await crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
    const certificate = await x509.X509CertificateGenerator.createSelfSigned({
      ...{ name: `CN=${name}`, keys, signingAlgorithm: ALGORITHM, serialNumber: "01" },
      notBefore: new Date(Date.now() - DAY_MS),
      notAfter: new Date(Date.now() + DAY_MS),
      extensions: [new x509.BasicConstraintsExtension(true, undefined, true)],
    });
    return new Authority(folder, name, keys, certificate);
  }

  async issue(name: string, expired = false): Promise<Issued> {
    const keys = await crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
    const certificate = await x509.X509CertificateGenerator.create({
      ...{ subject: `CN=${name}`, issuer: `CN=${this.#name}`, publicKey: keys.publicKey },
      ...{ signingKey: this.#keys.privateKey, signingAlgorithm: ALGORITHM },
      serialNumber: "02",
      notBefore: new Date(Date.now() - 2 * DAY_MS),
      notAfter: new Date(Date.now() + (expired ? -DAY_MS : DAY_MS)),
      extensions: [new x509.SubjectAlternativeNameExtension([{ type: "ip", value: "127.0.0.1" }])],
    });
    const key = Buffer.from(await crypto.subtle.exportKey("pkcs8", keys.privateKey)).toString("base64");
    const certFile = join(this.#folder, `${name}.pem`);
    const keyFile = join(this.#folder, `${name}.key`);
    writeFileSync(certFile, certificate.toString("pem"));
    const lines = key.match(/.{1,64}/g)?.join("\n") ?? "";
    writeFileSync(keyFile, `-----BEGIN PRIVATE KEY-----\n${lines}\n-----END PRIVATE KEY-----\n`, { mode: 0o600 });
    return { certFile, keyFile };
  }
}
