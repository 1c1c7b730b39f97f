/** What an operator is told instead of an answer: one sentence, and which kind of no it is. */
export type RefusalKind = "invalid" | "not-found" | "precondition" | "unavailable";

export class Refusal extends Error {
  override readonly name = "Refusal";
  readonly kind: RefusalKind;

  constructor(kind: RefusalKind, message: string) {
    super(message);
    this.kind = kind;
  }
}
