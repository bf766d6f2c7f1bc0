import type { ZodType } from 'zod';
import { formatDuration, parseDuration } from './duration.ts';
import { formatSize, parseSize } from './size.ts';

/** What reading a written value gave: the value, or what was expected instead ('a duration of at least 1secs'). */
export type Reading<Value> =
  | { readonly ok: true; readonly value: Value }
  | { readonly ok: false; readonly expected: string };

/** One line of the table of a service's options. Made by the functions of this file. */
export interface Option<Value> {
  /** One sentence for `--help`. */
  readonly help: string;
  /** Stands for the value in `--help`: `duration` gives `--timeout <duration>`. */
  readonly placeholder: string;
  /** A value as one would write it; shown where something else was written. */
  readonly example: string;
  /** The value where nothing is given, as one would write it; absent: see `optional`. */
  readonly fallback?: unknown;
  /** Nothing given and no fallback: `undefined` rather than a refusal. */
  readonly optional: boolean;
  /** How it is written on the command line: `--x VALUE`, `--x` and `--no-x`, `--x A,B --x C`. */
  readonly shape: 'value' | 'switch' | 'list';
  /** Never shown; also read from the file that `--<flag>-file` names. */
  readonly secret: boolean;
  /** Without the dashes; from the key of the table unless given. */
  readonly flag?: string;
  /** Environment variables to look at after `MESOBUS_<FLAG>`. */
  readonly otherEnv: readonly string[];
  /** Reads what was written: text from a flag or the environment, any JSON value from the file. */
  read(written: unknown): Reading<Value>;
}

/** What every kind of option is told. */
export interface Settings<Written> {
  readonly help: string;
  /** As one would write it. Without it the option must be given, unless {@link optional} surrounds it. */
  readonly default?: Written;
  readonly example?: string;
  readonly flag?: string;
  readonly otherEnv?: readonly string[];
}

interface Kind<Value> {
  readonly placeholder: string;
  readonly example: string;
  readonly shape?: 'value' | 'switch' | 'list';
  readonly secret?: boolean;
  read(written: unknown): Reading<Value>;
}

function option<Value>(settings: Settings<unknown>, kind: Kind<Value>): Option<Value> {
  return {
    help: settings.help,
    placeholder: kind.placeholder,
    example: settings.example ?? kind.example,
    ...(settings.default === undefined ? {} : { fallback: settings.default }),
    optional: false,
    shape: kind.shape ?? 'value',
    secret: kind.secret ?? false,
    ...(settings.flag === undefined ? {} : { flag: settings.flag }),
    otherEnv: settings.otherEnv ?? [],
    read: kind.read,
  };
}

const good = <Value>(value: Value): Reading<Value> => ({ ok: true, value });
const bad = (expected: string): Reading<never> => ({ ok: false, expected });

/** The option may be left out; its value is `undefined` then. */
export function optional<Value>(inner: Option<Value>): Option<Value | undefined> {
  return { ...inner, optional: true };
}

/** Any text that is not empty and, if `pattern` is given, matches it (`expected` says the pattern in words). */
export function text(settings: Settings<string> & { pattern?: RegExp; expected?: string }): Option<string> {
  const { pattern, expected = 'a text that is not empty' } = settings;
  return option(settings, {
    placeholder: 'text',
    example: settings.default ?? 'name',
    read: (written) => {
      const value = typeof written === 'string' ? written.trim() : '';
      return value === '' || pattern?.test(value) === false ? bad(expected) : good(value);
    },
  });
}

/** One of a few words. */
export function choice<const Word extends string>(
  words: readonly Word[],
  settings: Settings<NoInfer<Word>>,
): Option<Word> {
  return option(settings, {
    placeholder: words.join('|'),
    example: settings.default ?? words[0] ?? '',
    read: (written) => {
      const word = words.find((one) => one === written);
      return word === undefined ? bad(`one of ${words.join(', ')}`) : good(word);
    },
  });
}

interface Bounds<Written> {
  readonly min?: Written;
  readonly max?: Written;
}

function within(
  value: number,
  { min = Number.NEGATIVE_INFINITY, max = Number.POSITIVE_INFINITY }: Bounds<number>,
): boolean {
  return value >= min && value <= max;
}

function inWords(noun: string, { min, max }: Bounds<string | number>): string {
  if (min !== undefined && max !== undefined) return `${noun} from ${min} to ${max}`;
  if (min !== undefined) return `${noun} of at least ${min}`;
  return max === undefined ? noun : `${noun} of at most ${max}`;
}

function numeric(noun: string, pattern: RegExp, settings: Settings<number> & Bounds<number>): Option<number> {
  const expected = inWords(noun, settings);
  return option(settings, {
    placeholder: 'number',
    example: String(settings.default ?? settings.min ?? 1),
    read: (written) => {
      if (typeof written !== 'string' && typeof written !== 'number') return bad(expected);
      const digits = String(written).trim();
      const value = Number(digits);
      return pattern.test(digits) && within(value, settings) ? good(value) : bad(expected);
    },
  });
}

/** A whole number that a double holds exactly. */
export function integer(settings: Settings<number> & Bounds<number>): Option<number> {
  const { min = Number.MIN_SAFE_INTEGER, max = Number.MAX_SAFE_INTEGER } = settings;
  return numeric('a whole number', /^-?\d+$/, { ...settings, min, max });
}

/** A number, perhaps with a fraction. */
export function decimal(settings: Settings<number> & Bounds<number>): Option<number> {
  return numeric('a number', /^-?\d+(\.\d+)?(e-?\d+)?$/i, settings);
}

function measure(
  noun: string,
  example: string,
  parse: (text: string) => number | undefined,
  settings: Settings<string> & Bounds<string>,
): Option<number> {
  const bound = (written: string | undefined): number | undefined =>
    written === undefined ? undefined : parse(written);
  const min = bound(settings.min);
  const max = bound(settings.max);
  const expected = inWords(`a ${noun}`, settings);
  return option(settings, {
    placeholder: noun,
    example,
    read: (written) => {
      const value = typeof written === 'string' ? parse(written) : undefined;
      const fits = value !== undefined && value >= (min ?? 0) && value <= (max ?? Number.MAX_SAFE_INTEGER);
      return fits ? good(value) : bad(expected);
    },
  });
}

/** `500ms`, `5s`, `5secs`, `10mins`, `1hrs`; the value is in ms. End its key with `Ms`: the flag goes without. */
export function duration(settings: Settings<string> & Bounds<string>): Option<number> {
  return measure('duration', settings.default ?? formatDuration(5_000), parseDuration, settings);
}

/** `64KB`, `1GB`; the value is in bytes. End its key with `Bytes`: the flag goes without. */
export function size(settings: Settings<string> & Bounds<string>): Option<number> {
  return measure('size', settings.default ?? formatSize(65_536), parseSize, settings);
}

/** On or off: `--x`, `--no-x`, `--x=false`; `true` and `false` elsewhere. */
export function flag(settings: Settings<boolean>): Option<boolean> {
  return option(settings, {
    placeholder: 'true|false',
    example: 'true',
    shape: 'switch',
    read: (written) => {
      if (written === true || written === 'true') return good(true);
      return written === false || written === 'false' ? good(false) : bad('true or false');
    },
  });
}

/** Several of `item`: separated by commas, or the flag repeated, or a list in the file. */
export function list<Value>(item: Option<Value>, settings: Settings<readonly string[]>): Option<readonly Value[]> {
  return option(settings, {
    placeholder: `${item.placeholder},...`,
    example: item.example,
    shape: 'list',
    read: (written) => {
      const parts = typeof written === 'string' ? written.split(',').filter((part) => part.trim() !== '') : written;
      if (!Array.isArray(parts)) return bad('a list');
      const values: Value[] = [];
      for (const part of parts) {
        const reading = item.read(typeof part === 'string' ? part.trim() : part);
        if (!reading.ok) return bad(`${reading.expected} (in each place of the list, not ${JSON.stringify(part)})`);
        values.push(reading.value);
      }
      return good(values);
    },
  });
}

/** A host and a port; `port` may be 0: any free one. */
export interface HostPort {
  readonly host: string;
  readonly port: number;
}

/** `127.0.0.1:8080`, `[::1]:8080`, `0.0.0.0:8080`; `:8080` and `8080` mean the loopback address. */
export function hostPort(settings: Settings<string>): Option<HostPort> {
  return option(settings, {
    placeholder: 'host:port',
    example: '127.0.0.1:8080',
    read: (written) => {
      const plain = typeof written === 'number' ? String(written) : written;
      const match =
        typeof plain === 'string' ? /^(?:(\[[\da-f:.]+\]|[^\s:[\]/]*):)?(\d{1,5})$/i.exec(plain.trim()) : null;
      const port = Number(match?.[2]);
      if (match === null || port > 65_535) return bad('a host and a port from 0 to 65535');
      return good({ host: match[1]?.replace(/^\[|\]$/g, '') || '127.0.0.1', port });
    },
  });
}

/** A URL of one of the given schemes; a value without a scheme gets the first. */
export function url(schemes: readonly [string, ...string[]], settings: Settings<string>): Option<string> {
  return option(settings, {
    placeholder: 'url',
    example: `${schemes[0]}://127.0.0.1`,
    read: (written) => {
      const trimmed = typeof written === 'string' ? written.trim() : '';
      const whole = /^[a-z][a-z\d+.-]*:\/\//i.test(trimmed) ? trimmed : `${schemes[0]}://${trimmed}`;
      const parsed = /\s/.test(trimmed) ? null : URL.parse(whole);
      const fits = parsed !== null && parsed.hostname !== '' && schemes.includes(parsed.protocol.slice(0, -1));
      return fits ? good(whole) : bad(`a URL of ${schemes.map((scheme) => `${scheme}://`).join(', ')}`);
    },
  });
}

/** A text that no message and no log shows; given itself or, better, in the file that `--<flag>-file` names. */
export function secret(settings: Settings<never>): Option<string> {
  return option(settings, {
    placeholder: 'secret',
    example: 's3cr3t',
    secret: true,
    read: (written) =>
      typeof written === 'string' && /^\S+$/.test(written.trim()) ? good(written.trim()) : bad('a text without blanks'),
  });
}

/**
 * A structured value that a zod schema checks: JSON text on the command line, nested values in the file. The schema is
 * asked for when there is something to check.
 */
export function structured<Value>(
  schema: () => ZodType<Value>,
  settings: Settings<unknown> & { example: string },
): Option<Value> {
  return option(settings, {
    placeholder: 'json',
    example: settings.example,
    read: (written) => {
      const value = typeof written === 'string' ? parseJson(written) : written;
      if (value === undefined) return bad('JSON');
      const result = schema().safeParse(value);
      if (result.success) return good(result.data);
      const issues = result.error.issues.map(
        (issue) => `${issue.path.map(String).join('.') || 'the value'}: ${issue.message}`,
      );
      return bad(`a value that fits (${issues.slice(0, 3).join('; ')})`);
    },
  });
}

function parseJson(written: string): unknown {
  try {
    return JSON.parse(written);
  } catch {
    return undefined;
  }
}
