/** Why an address could not be listened on, in one sentence. */
import { formatHostPort } from "../../proto/contract/address.ts";

export class ListenFailed extends Error {
  override readonly name = "ListenFailed";
}

/** `option` is what names the address on the command line. */
export function listenFailure(option: string, address: string, port: number, message: string): ListenFailed {
  const where = `${option} ${formatHostPort(address, port)}`;
  if (message.includes("EADDRINUSE")) {
    return new ListenFailed(`${where} is in use by another program; end that one, or name another address`);
  }
  if (message.includes("EACCES")) return new ListenFailed(`${where}: this user may not listen there`);
  if (message.includes("EADDRNOTAVAIL")) return new ListenFailed(`${where} is no address of this machine`);
  return new ListenFailed(`${where} can't be listened on: ${message}`);
}
