/**
 * Which version a request is for, where the next hop is an app, and who is sent a copy of it: `routes` first, then the
 * caller's own point of a sticky split, else chance. It is decided once a request, from its head; attempts that follow
 * an attempt that failed, and tables that change meanwhile, keep what was decided (picker.ts carries it out).
 *
 * Sticky  a caller without the cookie is given an id, and this very request goes by it already. A caller without the
 *         header is one of a moment, and goes by chance.
 * Cost    nothing for a service that has none of it (`compileSplit` answers null); else what its matches cost.
 */
import type { StickySpec } from "../../proto/contract/spec/types.ts";
import { stickyPoint } from "../../proto/contract/split.ts";
import { WHOLE } from "../../proto/contract/units.ts";
import type { Random } from "../../proto/kernel/random.ts";
import type { ServiceConfig } from "./config.ts";
import { cookieOf, newId, setCookieLine } from "./cookie.ts";
import { compileMatch, takesAny } from "./match.ts";
import type { Match } from "./match.ts";
import type { Subject } from "./subject.ts";

export interface Split {
  readonly sticky: StickySpec | null;
  readonly routes: readonly { readonly revision: number; readonly matches: readonly Match[] }[];
  readonly mirrors: readonly {
    readonly revision: number;
    readonly matches: readonly Match[];
    /** Basis points. */
    readonly percentage: number;
  }[];
}

/** Null: chance alone. */
export function compileSplit({ sticky, routes, mirrors, versions }: ServiceConfig): Split | null {
  const toApps = versions.some(({ endpoints }) => endpoints.some(({ kind }) => kind === "app"));
  if (!toApps || (sticky === null && routes.length === 0 && mirrors.length === 0)) return null;
  return {
    sticky,
    routes: routes.map(({ revision, matches }) => ({ revision, matches: matches.map(compileMatch) })),
    mirrors: mirrors.map(({ revision, matches, percentage }) => ({
      ...{ revision, percentage },
      matches: matches.map(compileMatch),
    })),
  };
}

/** What the picker asks of a request. */
export interface Wanted {
  /** Of the route that took it; NO_REVISION: none did. */
  readonly revision: number;
  /** The caller's place in the split, 0..WHOLE; NO_POINT: it has none. */
  readonly point: number;
  /** Its place by chance, 0..1, drawn when first asked for; negative before. */
  chance: number;
}

export const NO_REVISION = -1;
export const NO_POINT = -1;

/** One an exchange, used again. */
export class Choice implements Wanted {
  revision = NO_REVISION;
  point = NO_POINT;
  chance = -1;
  /** The field line that gives a new caller its id; "": nothing to give. */
  setCookie = "";
  /** The revisions that are still to be sent a copy. */
  readonly mirrors: number[] = [];

  begin(): void {
    this.revision = NO_REVISION;
    this.point = NO_POINT;
    this.chance = -1;
    this.setCookie = "";
    if (this.mirrors.length > 0) this.mirrors.length = 0;
  }

  decide(split: Split, subject: Subject, random: Random): void {
    for (const { revision, matches } of split.routes) {
      if (!takesAny(matches, subject)) continue;
      this.revision = revision;
      break;
    }
    if (split.sticky !== null) this.#stick(split.sticky, subject, random);
    for (const { revision, matches, percentage } of split.mirrors) {
      if (!takesAny(matches, subject) || this.mirrors.includes(revision)) continue;
      if (percentage >= WHOLE || random.next() * WHOLE < percentage) this.mirrors.push(revision);
    }
  }

  #stick(sticky: StickySpec, subject: Subject, random: Random): void {
    switch (sticky.kind) {
      case "header": {
        const value = subject.header(sticky.name) ?? "";
        if (value !== "") this.point = stickyPoint(value);
        return;
      }
      case "cookie": {
        let id = cookieOf(subject.headers("cookie"), sticky.name);
        if (id === null) {
          id = newId(random);
          this.setCookie = setCookieLine(sticky.name, id, sticky.maxAgeMs);
        }
        this.point = stickyPoint(id);
        return;
      }
    }
  }
}
