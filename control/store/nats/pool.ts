/** Runs `work` on every item, at most `width` at a time; the first failure is thrown once all that began has ended. */
export async function pooled<T>(items: Iterable<T>, width: number, work: (item: T) => Promise<void>): Promise<void> {
  const rest = items[Symbol.iterator]();
  const faults: unknown[] = [];
  const worker = async (): Promise<void> => {
    for (let next = rest.next(); next.done !== true && faults.length === 0; next = rest.next()) {
      await work(next.value).catch((error: unknown) => void faults.push(error));
    }
  };
  await Promise.all(Array.from({ length: width }, worker));
  if (faults.length > 0) throw faults[0];
}
