import type { ScalarKind } from './descriptor.ts';

/** How a scalar stands in JSON. */
interface ScalarCodec {
  /** What a JSON value has to be, for people. */
  readonly expected: string;
  /** The field's value, or undefined if the JSON value is not what is expected. */
  read(json: unknown): unknown;
  /** The JSON value. */
  write(value: never): unknown;
}

const { rawJSON } = JSON as unknown as { rawJSON(text: string): unknown };

export const scalars: Readonly<Record<ScalarKind, ScalarCodec>> = {
  double: { expected: 'a number', read: readNumber, write: writeNumber },
  float: { expected: 'a number', read: readFloat, write: writeNumber },
  int32: integer32(-(2 ** 31), 2 ** 31 - 1),
  sint32: integer32(-(2 ** 31), 2 ** 31 - 1),
  sfixed32: integer32(-(2 ** 31), 2 ** 31 - 1),
  uint32: integer32(0, 2 ** 32 - 1),
  fixed32: integer32(0, 2 ** 32 - 1),
  int64: integer64(-(2n ** 63n), 2n ** 63n - 1n),
  sint64: integer64(-(2n ** 63n), 2n ** 63n - 1n),
  sfixed64: integer64(-(2n ** 63n), 2n ** 63n - 1n),
  uint64: integer64(0n, 2n ** 64n - 1n),
  fixed64: integer64(0n, 2n ** 64n - 1n),
  bool: { expected: 'true or false', read: readBool, write: (value: boolean) => value },
  string: { expected: 'a string', read: readString, write: (value: string) => value },
  bytes: { expected: 'a string in base64', read: readBytes, write: writeBytes },
};

function integer32(min: number, max: number): ScalarCodec {
  return {
    expected: `an integer between ${min} and ${max}`,
    read(json) {
      const number = readNumber(json);
      return number !== undefined && Number.isInteger(number) && number >= min && number <= max ? number : undefined;
    },
    write: (value: number) => value,
  };
}

function integer64(min: bigint, max: bigint): ScalarCodec {
  return {
    expected: `an integer between ${min} and ${max}`,
    read(json) {
      const integer = readInteger(json);
      return integer !== undefined && integer >= min && integer <= max ? integer : undefined;
    },
    write: (value: bigint) => {
      const number = Number(value);
      return Number.isSafeInteger(number) ? number : rawJSON(String(value));
    },
  };
}

function readInteger(json: unknown): bigint | undefined {
  if (typeof json === 'bigint') return json;
  if (typeof json === 'number') return Number.isInteger(json) ? BigInt(json) : undefined;
  return typeof json === 'string' && /^-?\d{1,20}$/.test(json) ? BigInt(json) : undefined;
}

function readNumber(json: unknown): number | undefined {
  if (typeof json === 'number') return json;
  if (typeof json === 'bigint') return Number(json);
  if (typeof json !== 'string') return undefined;
  if (json === 'Infinity' || json === '-Infinity' || json === 'NaN') return Number(json);
  return /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/.test(json) ? Number(json) : undefined;
}

function readFloat(json: unknown): number | undefined {
  const number = readNumber(json);
  return number === undefined ? undefined : Math.fround(number);
}

function writeNumber(value: number): unknown {
  if (!Number.isFinite(value)) return String(value);
  return Object.is(value, -0) ? rawJSON('-0.0') : value;
}

function readBool(json: unknown): boolean | undefined {
  if (typeof json === 'boolean') return json;
  if (json === 'true') return true;
  return json === 'false' ? false : undefined;
}

function readString(json: unknown): string | undefined {
  return typeof json === 'string' ? json : undefined;
}

function readBytes(json: unknown): Uint8Array | undefined {
  if (typeof json !== 'string' || json.length % 4 !== 0) return undefined;
  const padding = json.endsWith('==') ? 2 : json.endsWith('=') ? 1 : 0;
  if (/[^A-Za-z0-9+/]/.test(json.slice(0, json.length - padding))) return undefined;
  return new Uint8Array(Buffer.from(json, 'base64'));
}

function writeBytes(value: Uint8Array): string {
  return Buffer.from(value.buffer, value.byteOffset, value.length).toString('base64');
}
