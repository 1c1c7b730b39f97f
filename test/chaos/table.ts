/** The summary at the end of a run, and the figures for a note. */
import Table from "cli-table3";
import type { Outcome } from "./run.ts";

export function summary({ episodes, strikes, skipped, client, seconds, wrong, judgements }: Outcome): string {
  const sum = (of: (one: (typeof episodes)[number]) => number): number => episodes.reduce((n, one) => n + of(one), 0);
  const explained = episodes.reduce<Record<string, number>>((all, one) => {
    for (const [what, count] of Object.entries(one.explained)) {
      const key = what.replace(/ of (host|gateway|controller|c|n)-?\d*/, " of a $1");
      all[key] = (all[key] ?? 0) + count;
    }
    return all;
  }, {});
  const ends = tally(
    episodes.flatMap((one) => one.ends.map((end) => end.slice(end.indexOf(" ", end.indexOf("→")) + 1))),
  );
  const parts = [
    rows(["fault", "times"], tally(strikes.map(({ fault }) => fault.kind))),
    rows(["rollouts", "ended"], ends),
    rows(["explained loss", "count"], explained),
    rows(["judged", "times"], {
      "looks at the cluster": judgements["looks"] ?? 0,
      "I3: hosts taken out of a gateway's table": judgements["takenOut"] ?? 0,
      "I4: assignments applied, by the agents' logs": judgements["applied"] ?? 0,
      "epochs, each of one controller": judgements["epochs"] ?? 0,
      "I5, I6: hosts begun, weights raised": judgements["advances"] ?? 0,
      "I5: looks while an agent was silent beyond its lease": judgements["whileSilent"] ?? 0,
      "I6: looks while a rollout was paused": judgements["whilePaused"] ?? 0,
    }),
    rows(["figure", "value"], {
      seconds: Math.round(seconds),
      episodes: episodes.length,
      "faults carried out": strikes.length,
      "faults skipped": skipped,
      requests: client?.total.started ?? 0,
      "not begun by the client": client?.counters.skipped ?? 0,
      "5xx of bad versions": client?.total.appErrors ?? 0,
      "client lost": client?.total.lost ?? 0,
      "of these unexplained": sum((one) => one.unexplained),
      "Baton lost": sum((one) => one.batonLost),
      "of these unexplained by Baton": sum((one) => one.batonUnexplained),
      "slowest return to rest, s": Math.round(Math.max(0, ...episodes.map((one) => one.restMs)) / 1_000),
      "promises broken": wrong.length,
    }),
  ];
  return parts.filter((text) => text !== "").join("\n");
}

function tally(list: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const one of list) counts[one] = (counts[one] ?? 0) + 1;
  return counts;
}

function rows(head: readonly [string, string], counts: Readonly<Record<string, number>>): string {
  const entries = Object.entries(counts);
  if (entries.length === 0) return "";
  const table = new Table({
    head: [...head],
    style: { head: [], border: [], compact: true },
    colAligns: ["left", "right"],
  });
  table.push(...entries.map(([name, count]) => [name, count]));
  return table.toString();
}
