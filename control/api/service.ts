/** The operators' service as the rest of the controller passes it around; what it says on the wire ends in this folder. */
export type { OperatorServer } from "../../proto/gen/baton/v1/operator.ts";
