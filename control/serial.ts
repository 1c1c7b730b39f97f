/**
 * One at a time: what decides and what commands the controller take turns, so that each sees the state that the one
 * before has stored. Work that throws rejects its own promise and holds up nobody.
 */
export class Serial {
  #last: Promise<unknown> = Promise.resolve();

  run<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work, work);
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  /** Resolves when all that was asked for until now is over. */
  async idle(): Promise<void> {
    await this.#last;
  }
}
