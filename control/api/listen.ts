/** Why an address could not be listened on, in one sentence. */
import { formatHostPort } from "../../proto/contract/address.ts";

export class ListenFailed extends Error {
  override readonly name = "ListenFailed";
}

export function listenFailure(address: string, port: number, message: string): ListenFailed {
  const where = formatHostPort(address, port);
  if (message.includes("EADDRINUSE")) return new ListenFailed(`${where} is in use by another program`);
  if (message.includes("EACCES")) return new ListenFailed(`no permission to listen on ${where}`);
  if (message.includes("EADDRNOTAVAIL")) return new ListenFailed(`${where} is no address of this machine`);
  return new ListenFailed(`can't listen on ${where}: ${message}`);
}
