/** What is wrong with one piece of input, and what to do about it. Both are parts of a sentence. */
export interface Problem {
  readonly problem: string;
  readonly remedy: string;
}

/** Names the piece of input at hand. Called only when that piece is refused. */
export type Where = () => string;

/**
 * Resources or attributes from outside (a message, a flag, a framework's code) cannot be understood.
 *
 * `where` names the entry, `problem` says what is wrong with it, `remedy` what to write instead.
 */
export class MalformedResourceError extends Error {
  override readonly name = 'MalformedResourceError';
  readonly where: string;
  readonly problem: string;
  readonly remedy: string;

  constructor(where: string, { problem, remedy }: Problem, options?: ErrorOptions) {
    super(`Cannot read ${where}: ${problem}; ${remedy}`, options);
    this.where = where;
    this.problem = problem;
    this.remedy = remedy;
  }
}

/** Refuses the piece of input at hand. */
export function refuse(where: Where, problem: string, remedy: string): never {
  throw new MalformedResourceError(where(), { problem, remedy });
}
