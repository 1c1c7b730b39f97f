/** A failure that the user is told of in one line, with the exit code that scripts see. Anything else thrown is a bug. */
export class CliError extends Error {
  readonly exitCode: number;

  constructor(message: string, exitCode: number) {
    super(message);
    this.name = "CliError";
    this.exitCode = exitCode;
  }
}

/** The controller that was asked knows nothing of that name; one that follows may hear of it a moment later. */
export class NotFound extends CliError {}
