/** What was done and seen, when: a line of JSON each, in a file that is kept when the run fails. */
import { appendFileSync } from "node:fs";

export class Journal {
  readonly file: string;

  constructor(file: string) {
    this.file = file;
  }

  say(event: string, fields: Readonly<Record<string, unknown>>): void {
    appendFileSync(this.file, `${JSON.stringify({ at: new Date().toISOString(), event, ...fields }, plain)}\n`);
  }
}

export const plain = (_key: string, value: unknown): unknown => (typeof value === "bigint" ? Number(value) : value);
