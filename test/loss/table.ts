/** The ledger for people: one table, the versions over time, and the first losses. */
import { KINDS } from "./ledger.ts";
import type { ClientLedger, KindLedger } from "./ledger.ts";

const COLUMNS = ["", "started", "ok", "drained", "app errors", "lost", "retried", "p50 ms", "p99 ms", "max ms"];
const BARS = 48;
const LOSSES_SHOWN = 10;

export function table(ledger: ClientLedger): string {
  const rows = KINDS.filter((kind) => ledger.kinds[kind].started > 0).map((kind) => row(kind, ledger.kinds[kind]));
  return [
    grid([COLUMNS, ...rows, row("all", ledger.total)]),
    "",
    summary(ledger),
    ...timeline(ledger),
    ...losses(ledger),
    verdict(ledger),
  ].join("\n");
}

/** One line, each second. */
export function progressLine(ledger: ClientLedger, before: ClientLedger | undefined): string {
  const seconds = ledger.seconds - (before?.seconds ?? 0);
  const rate = (ledger.total.started - (before?.total.started ?? 0)) / Math.max(seconds, 0.001);
  const fresh = Object.entries(ledger.versions)
    .map(([version, count]) => [version, count - (before?.versions[version] ?? 0)] as const)
    .filter(([, count]) => count > 0);
  const sum = fresh.reduce((total, [, count]) => total + count, 0);
  const shares = fresh.map(([version, count]) => `${version} ${Math.round((100 * count) / sum)}%`).join(" ");
  const { started, lost } = ledger.total;
  return `${Math.round(ledger.seconds)} s  ${Math.round(rate)}/s  started ${started}  in flight ${ledger.inFlight}  lost ${lost}  ${shares}`;
}

function row(name: string, of: KindLedger): string[] {
  const counts = [of.started, of.ok, of.drained, of.appErrors, of.lost, of.retried];
  return [name, ...counts.map(String), ...[of.p50Ms, of.p99Ms, of.maxMs].map((ms) => ms.toFixed(1))];
}

function grid(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, at) => Math.max(...rows.map((cells) => cells[at]?.length ?? 0)));
  const pad = (cell: string, at: number): string =>
    at === 0 ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0);
  return rows.map((cells) => cells.map(pad).join("  ").trimEnd()).join("\n");
}

function summary(ledger: ClientLedger): string {
  const { counters } = ledger;
  const skipped = counters.skipped > 0 ? ` (asked ${ledger.askedRate}/s, ${counters.skipped} not begun)` : "";
  return [
    `${ledger.seconds.toFixed(1)} s at ${ledger.achievedRate.toFixed(0)}/s${skipped};`,
    `${counters.connections} connections, ${counters.reused} reuses, ${counters.idleClosed} closed while idle,`,
    `${counters.farewells} told to close; ${counters.messages} messages, ${counters.events} events`,
  ].join(" ");
}

/** Which version answered most, slice by slice; a digit is that version's tenths when it did not answer all. */
function timeline(ledger: ClientLedger): string[] {
  const versions = Object.keys(ledger.versions);
  const per = Math.max(1, Math.ceil(ledger.timeline.length / BARS));
  const lines = versions.map((version) => {
    let bar = "";
    for (let at = 0; at < ledger.timeline.length; at += per) {
      const slices = ledger.timeline.slice(at, at + per);
      const own = slices.reduce((sum, slice) => sum + (slice[version] ?? 0), 0);
      const all = slices.reduce((sum, slice) => sum + Object.values(slice).reduce((a, b) => a + b, 0), 0);
      bar += all === 0 || own === 0 ? "·" : own === all ? "█" : String(Math.min(9, Math.floor((10 * own) / all)));
    }
    return [version, bar, `${ledger.versions[version] ?? 0} answers`];
  });
  return versions.length === 0 ? [] : ["", grid(lines)];
}

function losses(ledger: ClientLedger): string[] {
  const causes = Object.entries(ledger.causes).map(([cause, count]) => `${cause} ${count}`);
  const statuses = Object.entries(ledger.appErrorStatuses).map(([status, count]) => `${status} ${count}`);
  const lines = ledger.losses.slice(0, LOSSES_SHOWN).map((loss) => {
    const at = new Date(loss.atMs).toISOString().slice(11, 23);
    const connection = `connection ${Math.round(loss.connectionAgeMs)} ms old, ${loss.reuses} reuses, idle ${Math.round(loss.idleMs)} ms`;
    const moved = `${loss.bytesSent} B out, ${loss.bytesReceived} B in, after ${Math.round(loss.afterMs)} ms, ${loss.version}`;
    return `  ${at} ${loss.kind} ${loss.cause}: ${loss.detail}\n    ${loss.id}; ${connection}; ${moved}`;
  });
  const more = ledger.total.lost - lines.length;
  return [
    "",
    ...(statuses.length > 0 ? [`app errors: ${statuses.join(", ")}`] : []),
    ...(causes.length > 0 ? [`lost: ${causes.join(", ")}`, ...lines] : []),
    ...(causes.length > 0 && more > 0 ? [`  … and ${more} more`] : []),
  ];
}

function verdict(ledger: ClientLedger): string {
  const { total, counters } = ledger;
  if (total.started === 0) return "nothing was started, so nothing is proven";
  if (!ledger.balanced) return `${ledger.inFlight} of ${total.started} are not accounted for`;
  const stray = counters.violations > 0 ? `, ${counters.violations} connections with bytes nobody asked for` : "";
  return `${total.lost} lost of ${total.started} started${stray}`;
}
