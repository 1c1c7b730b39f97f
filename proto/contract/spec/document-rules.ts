/** Rules and matches back as a document: what is not said is left out where nothing else could be meant. */
import { formatDuration } from "../units.ts";
import type { HeaderFilter, MatchSpec, RuleSpec, ValueMatch } from "./types.ts";

type Document = Readonly<Record<string, unknown>>;

export function rule(r: RuleSpec): Document {
  const filters = [
    filter("RequestHeaderModifier", "requestHeaderModifier", r.requestHeaders),
    filter("ResponseHeaderModifier", "responseHeaderModifier", r.responseHeaders),
  ].flat();
  return {
    matches: [match(r)],
    ...unless(filters.length === 0, { filters }),
    ...(r.timeouts.requestMs === null ? {} : { timeouts: { request: formatDuration(r.timeouts.requestMs) } }),
    retry: { attempts: r.retry.attempts, ...unless(r.retry.methods.length === 0, { methods: [...r.retry.methods] }) },
  };
}

export function match({ path, method, headers, queryParams }: MatchSpec): Document {
  return {
    path: { type: path.type, value: path.value },
    ...(method === null ? {} : { method }),
    ...unless(headers.length === 0, { headers: headers.map(valueMatch) }),
    ...unless(queryParams.length === 0, { queryParams: queryParams.map(valueMatch) }),
  };
}

const valueMatch = ({ type, name, value }: ValueMatch): Document => ({ type, name, value });

function filter(type: string, key: string, { set, add, remove }: HeaderFilter): Document[] {
  if (set.length + add.length + remove.length === 0) return [];
  const change = {
    ...unless(set.length === 0, { set: set.map(({ name, value }) => ({ name, value })) }),
    ...unless(add.length === 0, { add: add.map(({ name, value }) => ({ name, value })) }),
    ...unless(remove.length === 0, { remove: [...remove] }),
  };
  return [{ type, [key]: change }];
}

const unless = (absent: boolean, part: Document): Document => (absent ? {} : part);
