/** Writing to a stream that may be slow: resolves when the next write may be made, or the stream is over. */
import type { ServerWritableStream } from "@grpc/grpc-js";

export async function write<Response>(call: ServerWritableStream<unknown, Response>, message: Response): Promise<void> {
  if (call.cancelled || call.destroyed || call.write(message)) return;
  await new Promise<void>((resolve) => {
    const done = (): void => {
      call.off("drain", done).off("cancelled", done).off("close", done).off("error", done);
      resolve();
    };
    call.on("drain", done).on("cancelled", done).on("close", done).on("error", done);
  });
}

/** Aborts when the client goes away or `stopping` does. */
export function endOf(call: ServerWritableStream<unknown, unknown>, stopping: AbortSignal): AbortSignal {
  const gone = new AbortController();
  const abort = (): void => gone.abort();
  call.on("cancelled", abort).on("close", abort).on("error", abort);
  return AbortSignal.any([gone.signal, stopping]);
}
