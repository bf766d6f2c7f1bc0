/** @throws {Error} the text of a flag is no whole number from `least` */
export function wholeNumber(flag: string, text: string, least: number): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= least) return value;
  throw new Error(`Cannot use ${flag} '${text}': it takes a whole number from ${least}`);
}
