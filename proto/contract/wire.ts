/**
 * Session messages between protobuf and the types that code holds. Wire types go no further than the two session edges;
 * what passes here is checked, so that nobody behind it needs to ask again.
 *
 * Errors  decoding never throws: a message that breaks a limit or a rule is an answer that names the field. Encoding
 *         takes what Baton's own code made: reasons and output for people are cut to their limits, never refused.
 */
export {
  decodeAgentMessage,
  decodeControllerMessage,
  encodeAgentMessage,
  encodeControllerMessage,
} from "./wire/messages.ts";
export * from "./wire/nats.ts";
export type { Decoded } from "./wire/reader.ts";
