/** The configuration cannot be used. `problems` has one sentence each: what, from where, what was expected. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly problems: readonly string[];

  constructor(problems: readonly string[], options?: ErrorOptions) {
    super(problems.join('\n'), options);
    this.problems = problems;
  }
}

/** `--help` or `--version` was given: print `text` and leave with 0. */
export class TextWanted extends Error {
  override readonly name = 'TextWanted';
  readonly text: string;

  constructor(text: string) {
    super('the command line asks for a text, not for a start');
    this.text = text;
  }
}
