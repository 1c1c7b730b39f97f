/**
 * Where what must outlive a restart is kept when nobody says: one rule for agents and controllers.
 *
 *   $XDG_STATE_HOME/baton/NAME      when that variable is set
 *   /var/lib/baton/NAME             else, as root
 *   ~/.local/state/baton/NAME       else
 *
 * Source  XDG Base Directory Specification 0.8: an empty variable is an unset one, a relative path is to be ignored.
 */
import { isAbsolute, join } from "node:path";

export interface Whose {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly uid: number;
  readonly home: string;
}

export function stateDir(name: string, { env, uid, home }: Whose): string {
  const told = env["XDG_STATE_HOME"] ?? "";
  if (isAbsolute(told)) return join(told, "baton", name);
  return uid === 0 ? join("/var/lib/baton", name) : join(home, ".local", "state", "baton", name);
}
