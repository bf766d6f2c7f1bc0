import { RE2JS } from 're2js';

/** How large a regex of an offer constraint may be. Bounds what a framework can make master and allocator do. */
export interface RegexBounds {
  /**
   * Characters of its text, as it is and with each counted repetition written out: `[a-z]{3}` counts 15. Memory and
   * time to compile a regex are in proportion to it. Stands for what Mesos measures in bytes of RE2.
   */
  readonly maxMem: number;
  /**
   * Instructions of the compiled program; matching a text takes time in proportion to its length times these. RE2
   * counts bytes where this counts characters, so that its numbers are mostly higher: the example in Mesos' sources has
   * 54 there and 38 here.
   */
  readonly maxProgramSize: number;
}

/** As of Mesos' flags --offer_constraints_re2_max_mem and --offer_constraints_re2_max_program_size. */
export const defaultRegexBounds: RegexBounds = { maxMem: 4_096, maxProgramSize: 100 };

/** A regex of RE2's syntax; it matches in linear time, whatever the text. */
export interface ConstraintRegex {
  readonly programSize: number;
  /** Whether it matches all of the text. */
  matches(text: string): boolean;
}

/** Of what is wrong so many characters are shown. */
const maxQuoted = 100;

/** @returns the regex, or why it is none and what to do */
export function compileRegex(text: string, { maxMem, maxProgramSize }: RegexBounds): ConstraintRegex | string {
  // Before anything is compiled: a text of some kilobytes can ask for a program of a million instructions.
  const length = text.length > maxMem ? text.length : writtenOutLength(text);
  if (length > maxMem)
    return `it has ${length} characters with its repetitions written out, of at most ${maxMem}: write a shorter one`;
  try {
    const compiled = RE2JS.compile(text);
    const programSize = compiled.programSize();
    if (programSize > maxProgramSize)
      return `its program has ${programSize} instructions, of at most ${maxProgramSize}: write a simpler one`;
    return { programSize, matches: (candidate) => compiled.testExact(candidate) };
  } catch (error) {
    const why = String(error instanceof Error ? error.message : error)
      .replace(/^error parsing regexp: /, '')
      .slice(0, maxQuoted);
    return `${why}: write it in the syntax of RE2`;
  }
}

/**
 * How long a regex is when each `{n,m}` is written out: what compiling it costs, known without compiling it. Reads
 * groups, classes and quotations as RE2 does, for a misread bracket would hide what is repeated; takes linear time.
 */
function writtenOutLength(text: string): number {
  const repetition = /\{(\d+)(,?)(\d*)\}/y;
  const outer: number[] = [];
  let length = 0;
  /** Of the character, class or group before the present place. */
  let last = 0;
  for (let at = 0; at < text.length; ) {
    repetition.lastIndex = at;
    const repeated = text[at] === '{' ? repetition.exec(text) : null;
    const end = repeated === null ? endOfPiece(text, at) : repetition.lastIndex;
    if (repeated !== null) {
      length += last * (timesOf(repeated) - 1);
    } else if (text[at] === '(') {
      outer.push(length);
      length = 0;
      last = 0;
    } else if (text[at] === ')') {
      last = length + 2;
      length = (outer.pop() ?? 0) + last;
    } else {
      last = end - at;
      length += last;
    }
    at = end;
  }
  return outer.reduce((sum, before) => sum + before + 1, length);
}

/** How many copies `{n}`, `{n,}` and `{n,m}` are compiled to, and at least one. */
function timesOf([, least, comma, most]: RegExpExecArray): number {
  const open = comma === '' ? 0 : 1;
  return Math.max(1, most === '' ? Number(least) + open : Number(most), Number(least));
}

/** Where the character, escape sequence, quotation or class ends that begins here. */
function endOfPiece(text: string, at: number): number {
  if (text[at] === '[') return endOfClass(text, at);
  if (text[at] !== '\\') return at + 1;
  if (text[at + 1] === 'Q') return endAfter(text, '\\E', at + 2);
  const isBraced = /[xpP]/.test(text[at + 1] ?? '') && text[at + 2] === '{';
  return isBraced ? endAfter(text, '}', at + 3) : at + 2;
}

function endOfClass(text: string, begin: number): number {
  let at = begin + (text[begin + 1] === '^' ? 2 : 1);
  if (text[at] === ']') at += 1; // as the first character it is itself
  const lastName = text.lastIndexOf(':]');
  while (at < text.length && text[at] !== ']') {
    if (text.startsWith('[:', at) && lastName >= at + 2) at = endAfter(text, ':]', at + 2);
    else at += text[at] === '\\' ? 2 : 1;
  }
  return at + 1;
}

function endAfter(text: string, mark: string, from: number): number {
  const found = text.indexOf(mark, from);
  return found < 0 ? text.length : found + mark.length;
}
