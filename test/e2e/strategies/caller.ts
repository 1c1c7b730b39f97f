/**
 * Callers that can be told apart: each asks /api/hello again and again, keeps the cookies that it is given, and remembers
 * which version answered when. The loss client's requests are everyone's; these belong to someone.
 *
 * One request at a time over all callers, each on a connection of its own: a few a second, to see and not to load.
 */
import { request } from "node:http";

export interface Answer {
  readonly caller: string;
  /** Wall clock, of the request's beginning and of its answer. */
  readonly askedAtMs: number;
  readonly atMs: number;
  readonly status: number;
  readonly version: string;
  readonly instance: string;
}

export interface CallersOptions {
  readonly port: number;
  /** By name: what each says besides its cookies. */
  readonly callers: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** Between two requests. */
  readonly everyMs: number;
}

export interface Callers {
  readonly answers: readonly Answer[];
  of(caller: string): readonly Answer[];
  stop(): Promise<readonly Answer[]>;
}

export function startCallers({ port, callers, everyMs }: CallersOptions): Callers {
  const answers: Answer[] = [];
  const jars = new Map<string, string>();
  const stopping = new AbortController();
  const loop = async (): Promise<void> => {
    for (;;) {
      for (const [caller, headers] of Object.entries(callers)) {
        if (stopping.signal.aborted) return;
        const cookie = jars.get(caller);
        const said = { ...headers, ...(cookie === undefined ? {} : { cookie }) };
        const { setCookie, ...answer } = await ask(port, said);
        if (setCookie !== undefined) jars.set(caller, setCookie);
        answers.push({ caller, ...answer });
        await new Promise((wait) => setTimeout(wait, everyMs));
      }
    }
  };
  const running = loop();
  // Reported by `stop`; until then it must not end the process.
  running.catch(() => undefined);
  return {
    answers,
    of: (caller) => answers.filter((answer) => answer.caller === caller),
    async stop() {
      stopping.abort();
      await running;
      return answers;
    },
  };
}

type Got = Omit<Answer, "caller"> & { readonly setCookie: string | undefined };

/** Rejects when there is no answer: to these callers, that is a loss. */
function ask(port: number, headers: Readonly<Record<string, string>>): Promise<Got> {
  const askedAtMs = Date.now();
  return new Promise((done, fail) => {
    const asked = request({ port, host: "127.0.0.1", path: "/api/hello?n=caller", headers, agent: false }, (answer) => {
      const field = (name: string): string => String(answer.headers[name] ?? "");
      answer.resume();
      answer.once("error", fail);
      answer.once("end", () => {
        done({
          askedAtMs,
          atMs: Date.now(),
          status: answer.statusCode ?? 0,
          version: field("x-demo-version"),
          instance: field("x-demo-instance"),
          setCookie: answer.headers["set-cookie"]?.[0]?.split(";")[0],
        });
      });
    });
    asked.setTimeout(10_000, () => asked.destroy(new Error("no answer within 10 s")));
    asked.once("error", fail);
    asked.end();
  });
}

/** `v1 v1 v2 v2` → `v1 v2`: in which order a caller saw versions, without repeats. */
export function turns(answers: readonly Answer[]): readonly string[] {
  return answers.map((answer) => answer.version).filter((version, at, all) => version !== all[at - 1]);
}
