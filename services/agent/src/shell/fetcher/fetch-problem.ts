/** Why something cannot be fetched, and what to do about it. */
export class FetchProblem extends Error {
  override readonly name = 'FetchProblem';

  constructor(why: string, remedy: string, options?: ErrorOptions) {
    super(`${why}; ${remedy}`, options);
  }
}
