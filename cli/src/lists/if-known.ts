/** Says what is missing from the picture, and why. */
export type Note = (missing: string) => void;

/** What is durable can be listed without a leader: that is when it matters most. What only it knows is then missing. */
export async function ifKnown<T>(answer: Promise<T>, what: string, note: Note): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    note(`it is not known ${what}: ${(error as Error).message}`);
    return undefined;
  }
}
