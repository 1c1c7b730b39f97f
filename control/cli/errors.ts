/** A failure that the user is told of in one line, with the exit code that scripts see. Anything else thrown is a bug. */
export class CliError extends Error {
  readonly exitCode: number;

  constructor(message: string, exitCode: number) {
    super(message);
    this.name = "CliError";
    this.exitCode = exitCode;
  }
}
