import type { Problem } from './malformed-resource-error.ts';

/** A reservation or a volume cannot be made, changed or undone as asked. */
export class ConversionError extends Error {
  override readonly name = 'ConversionError';
  /** As Mesos names it: RESERVE, UNRESERVE, CREATE, DESTROY, GROW_VOLUME, SHRINK_VOLUME. */
  readonly operation: string;
  /** The resources that it is about, as text. */
  readonly subject: string;
  readonly problem: string;
  readonly remedy: string;

  constructor(operation: string, subject: string, { problem, remedy }: Problem, options?: ErrorOptions) {
    super(`Cannot ${operation} '${subject}': ${problem}; ${remedy}`, options);
    this.operation = operation;
    this.subject = subject;
    this.problem = problem;
    this.remedy = remedy;
  }
}
