import { decode, encode, type MessageType } from '@mesobus/protos';

/**
 * Encoded bytes as a text of one character per byte: the smallest thing that holds bytes in a JavaScript heap, a third
 * of what a small Uint8Array takes. What a ledger holds a million of and seldom reads is kept so.
 */
export type Packed = string & { readonly packed: true };

export const packBytes = (bytes: Buffer, from = 0, to: number = bytes.length): Packed =>
  bytes.latin1Slice(from, to) as Packed;

export function pack<T extends object, P extends object>(type: MessageType<T, P>, value: NoInfer<P>): Packed {
  return packBytes(asBuffer(encode(type, value)));
}

/** @throws {MalformedMessageError} if the bytes are not a message of this type */
export function unpack<T extends object>(type: MessageType<T, never>, packed: Packed): T {
  return decode(type, Buffer.from(packed, 'latin1'), { keepUnknown: true });
}

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
