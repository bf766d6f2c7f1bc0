/** What went wrong, said to the user in full: no stack is shown. */
export class CommandError extends Error {
  override readonly name = 'CommandError';
  /** 2 for a command line that cannot be used, 1 for everything else. */
  readonly exitCode: number;

  constructor(message: string, exitCode = 1, options?: ErrorOptions) {
    super(message, options);
    this.exitCode = exitCode;
  }
}
