import { decode, encode, type MessageType } from '@mesobus/protos';

/**
 * Encoded bytes as a text of one character per byte: the smallest thing that holds bytes in a JavaScript heap, a third
 * of what a small Uint8Array takes. What a ledger holds a million of and seldom reads is kept so.
 */
export type Packed = string & { readonly packed: true };

/** Encoded bytes within larger ones, which nobody changes. It keeps all of them in memory. */
export class Slice {
  readonly bytes: Buffer;
  readonly from: number;
  readonly to: number;

  constructor(bytes: Buffer, from = 0, to: number = bytes.length) {
    this.bytes = bytes;
    this.from = from;
    this.to = to;
  }

  get length(): number {
    return this.to - this.from;
  }
}

/** A message that was not decoded. */
export type Encoded = Packed | Slice;

export const isEncoded = (value: unknown): value is Encoded => typeof value === 'string' || value instanceof Slice;

export const packBytes = (bytes: Buffer, from = 0, to: number = bytes.length): Packed =>
  bytes.latin1Slice(from, to) as Packed;

export function pack<T extends object, P extends object>(type: MessageType<T, P>, value: NoInfer<P>): Packed {
  return packBytes(asBuffer(encode(type, value)));
}

/** @throws {MalformedMessageError} if the bytes are not a message of this type */
export function unpack<T extends object>(type: MessageType<T, never>, encoded: Encoded): T {
  return decode(type, bytesOf(encoded), { keepUnknown: true });
}

const bytesOf = (encoded: Encoded): Buffer =>
  typeof encoded === 'string' ? Buffer.from(encoded, 'latin1') : encoded.bytes.subarray(encoded.from, encoded.to);

/** The same bytes. */
export const asBuffer = (bytes: Uint8Array): Buffer =>
  Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);

/** Declared by Node since its beginnings, but not in its types. */
declare global {
  interface Buffer {
    latin1Slice(from: number, to: number): string;
    utf8Slice(from: number, to: number): string;
    latin1Write(text: string, at: number, length: number): number;
  }
}
