/** The ledger in words: what was carried, how, and what was not. */
import pc from "picocolors";
import type { LedgerView } from "../../../proto/gen/baton/v1/operator.ts";
import { count } from "./units.ts";

const total = (byCause: Readonly<Record<string, bigint>>): bigint => Object.values(byCause).reduce((a, b) => a + b, 0n);

/** What was begun is the sum of what follows the "="; what stands in brackets is a part of the carried. */
export function ledgerLine(ledger: LedgerView): string {
  const lost = ledger.lostTotal;
  const parts = [
    `${count(ledger.carried)} carried`,
    `${count(ledger.inFlight)} in flight`,
    `${count(ledger.clientGone)} left by the client`,
    `${count(total(ledger.cut))} cut`,
    lost === 0n ? pc.green("0 lost") : pc.red(`${count(lost)} lost`),
  ];
  const ways = `(${count(ledger.retried)} of them retried, ${count(ledger.drained)} drained by the hosts)`;
  return `${count(ledger.requests)} begun = ${parts.join(" + ")}   ${ways}`;
}

/** The line, then what was cut and lost with its cause, then what explains it. */
export function ledgerBlock(ledger: LedgerView | undefined): readonly string[] {
  if (ledger === undefined) return ["ledger   nothing counted yet"];
  const lines = [`ledger   ${ledgerLine(ledger)}; counted at the ${ledger.edge === "gateway" ? "gateways" : "hosts"}`];
  for (const [cause, n] of Object.entries(ledger.cut)) if (n > 0n) lines.push(`  cut    ${count(n)}  ${cause}`);
  for (const [cause, n] of Object.entries(ledger.lost)) if (n > 0n) lines.push(`  lost   ${count(n)}  ${cause}`);
  for (const note of ledger.notes) {
    lines.push(
      `  note   ${note.host}: ${count(note.count)} ${note.cause}: ${note.explanation === "" ? "unexplained" : note.explanation}`,
    );
  }
  return lines;
}
