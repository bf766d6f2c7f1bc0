/** The JSON does not fit the message: the text is no JSON, a value is not of its field's type, a field is missing. */
export class MalformedJsonError extends Error {
  override readonly name = 'MalformedJsonError';
  /** The full name of the type that was asked for. */
  readonly type: string;
  /** Where the fault is, such as `task_infos[0].resources[1].scalar.value`; empty for the document itself. */
  readonly path: string;
  /** What should stand there, such as `a number`. */
  readonly expected: string;
  /** What stands there, such as `"x"`. */
  readonly got: string;

  constructor(type: string, path: string, expected: string, got: string, options?: ErrorOptions) {
    super(`${path === '' ? type : path}: expected ${expected}, got ${got}`, options);
    this.type = type;
    this.path = path;
    this.expected = expected;
    this.got = got;
  }
}
