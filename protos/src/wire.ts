/**
 * The reader and writer that the generated code runs on: protobufjs' own, with 64-bit integers as `bigint`.
 *
 * They are subclasses, not patches of protobufjs, so that another user of protobufjs in the same process is unaffected.
 */
import protobuf from 'protobufjs/minimal.js';

/** What is built upon of protobufjs' reader; its declared 64-bit methods speak of Long, ours replace them. */
type ReaderBase = Pick<protobuf.BufferReader, 'buf' | 'pos' | 'len' | 'fixed32' | 'size' | 'discardUnknown'>;
const ReaderBase: new (buffer: Buffer) => ReaderBase = protobuf.BufferReader;

/** As above; `_reserve` makes room in `buf` for so many more bytes. */
interface WriterBase extends Pick<protobuf.BufferWriter, 'buf' | 'pos'> {
  _reserve(bytes: number): void;
  uint32(value: number): unknown;
  int32(value: number): unknown;
  fixed32(value: number): unknown;
  bool(value: boolean): unknown;
  string(value: string): unknown;
  bytes(value: Uint8Array): unknown;
  double(value: number): unknown;
  fork(): unknown;
  ldelim(): unknown;
  finish(): Uint8Array;
  reset(): unknown;
}
const WriterBase: new () => WriterBase = protobuf.BufferWriter as unknown as new () => WriterBase;

const pair = new Uint32Array(2);
const pairSigned = new BigInt64Array(pair.buffer);
const pairUnsigned = new BigUint64Array(pair.buffer);
/** Where the low half of a 64-bit integer lies: 0 on a little-endian machine, 1 on a big-endian one. */
const low: number = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1 ? 0 : 1;
const high: number = 1 - low;

const minInt64 = -(2n ** 63n);
const maxInt64 = 2n ** 63n - 1n;
const maxUint64 = 2n ** 64n - 1n;

/** Reads protobuf; 64-bit integers come out as `bigint`, `bytes` as copies that do not hold on to the input. */
export class Reader extends ReaderBase {
  /** `bytes` come out as views of the input instead. */
  views = false;

  /** How deep messages may nest; the generated code asks. */
  static recursionLimit: number = protobuf.Reader.recursionLimit;

  static create(buffer: Uint8Array): Reader {
    if (!(buffer instanceof Uint8Array)) throw new TypeError('the encoded message is not a Uint8Array');
    return new Reader(Buffer.isBuffer(buffer) ? buffer : Buffer.from(buffer.buffer, buffer.byteOffset, buffer.length));
  }

  raw(start: number, end: number): Uint8Array {
    const view = this.buf.subarray(start, end);
    return this.views ? view : new Uint8Array(view);
  }

  /** A uint64 that counts something: below 2^53, as a number. */
  count64(): number {
    if (this.varint64()) return pair[low] as number;
    const value = (pair[high] as number) * 2 ** 32 + (pair[low] as number);
    if (!Number.isSafeInteger(value)) throw new RangeError(`${value} is more than 2^53: no counter goes so far`);
    return value;
  }

  int64(): bigint {
    return this.varint64() ? BigInt(pair[low] as number) : (pairSigned[0] as bigint);
  }

  uint64(): bigint {
    return this.varint64() ? BigInt(pair[low] as number) : (pairUnsigned[0] as bigint);
  }

  sint64(): bigint {
    this.varint64();
    const value = pairUnsigned[0] as bigint;
    return (value >> 1n) ^ -(value & 1n);
  }

  fixed64(): bigint {
    this.pair64();
    return pairUnsigned[0] as bigint;
  }

  sfixed64(): bigint {
    this.pair64();
    return pairSigned[0] as bigint;
  }

  /** A packed list of `count64`; those of bigints are protobufjs' own, which read each with the methods above. */
  count64s(counts: number[] = []): number[] {
    const end = this.size() + this.pos;
    if (end > this.len) throw new RangeError(`index out of range: ${end} > ${this.len}`);
    while (this.pos < end) counts.push(this.count64());
    if (this.pos !== end) throw new RangeError('index out of range');
    return counts;
  }

  /** Reads a varint into `pair`; says whether it fits in the low half. */
  private varint64(): boolean {
    let lowBits = 0;
    let highBits = 0;
    for (let index = 0; index < 10; index++) {
      if (this.pos >= this.len) throw new RangeError(`index out of range: ${this.pos} + 1 > ${this.len}`);
      const byte = this.buf[this.pos++] as number;
      const bits = byte & 127;
      if (index < 4) lowBits |= bits << (index * 7);
      else if (index === 4) {
        lowBits |= bits << 28;
        highBits = bits >>> 4;
      } else highBits |= bits << (index * 7 - 32);
      if (byte < 128) {
        pair[low] = lowBits;
        pair[high] = highBits;
        return highBits === 0;
      }
    }
    throw new RangeError('invalid varint encoding');
  }

  private pair64(): void {
    if (this.pos + 8 > this.len) throw new RangeError(`index out of range: ${this.pos} + 8 > ${this.len}`);
    pair[low] = this.fixed32();
    pair[high] = this.fixed32();
  }
}

/** Writes protobuf; 64-bit integers are given as `bigint`. What is not a value of the field's type is refused. */
export class Writer extends WriterBase {
  static create(): Writer {
    return new Writer();
  }

  /** A uint64 that counts something: a whole number from 0 and below 2^53. */
  count64(value: number | bigint): this {
    const count = Number(value);
    if (!Number.isSafeInteger(count) || count < 0) throw new TypeError(`expected a whole number from 0, got ${value}`);
    return this.putBits64(count >>> 0, Math.floor(count / 2 ** 32));
  }

  int64(value: bigint): this {
    return this.putVarint64(integer(value, minInt64, maxInt64));
  }

  uint64(value: bigint): this {
    return this.putVarint64(integer(value, 0n, maxUint64));
  }

  sint64(value: bigint): this {
    const whole = integer(value, minInt64, maxInt64);
    return this.putVarint64((whole << 1n) ^ (whole >> 63n));
  }

  fixed64(value: bigint): this {
    return this.putPair64(integer(value, 0n, maxUint64));
  }

  sfixed64(value: bigint): this {
    return this.putPair64(integer(value, minInt64, maxInt64));
  }

  count64s(values: readonly number[]): this {
    return this.packed(values, this.count64);
  }

  int64s(values: readonly bigint[]): this {
    return this.packed(values, this.int64);
  }

  uint64s(values: readonly bigint[]): this {
    return this.packed(values, this.uint64);
  }

  sint64s(values: readonly bigint[]): this {
    return this.packed(values, this.sint64);
  }

  fixed64s(values: readonly bigint[]): this {
    return this.packed(values, this.fixed64);
  }

  sfixed64s(values: readonly bigint[]): this {
    return this.packed(values, this.sfixed64);
  }

  // protobufjs writes undefined as NaN, 0 or false: a required field that was forgotten would pass unseen.
  override double(value: number): this {
    if (typeof value !== 'number') throw new TypeError(`expected a number, got ${typeof value}`);
    super.double(value);
    return this;
  }

  override uint32(value: number): this {
    if (typeof value !== 'number') throw new TypeError(`expected a number, got ${typeof value}`);
    super.uint32(value);
    return this;
  }

  override int32(value: number): this {
    if (typeof value !== 'number') throw new TypeError(`expected a number, got ${typeof value}`);
    super.int32(value);
    return this;
  }

  override bool(value: boolean): this {
    if (typeof value !== 'boolean') throw new TypeError(`expected a boolean, got ${typeof value}`);
    super.bool(value);
    return this;
  }

  override string(value: string): this {
    if (typeof value !== 'string') throw new TypeError(`expected a string, got ${typeof value}`);
    super.string(value);
    return this;
  }

  override bytes(value: Uint8Array): this {
    if (!(value instanceof Uint8Array)) throw new TypeError(`expected a Uint8Array, got ${typeof value}`);
    super.bytes(value);
    return this;
  }

  private packed<V>(values: readonly V[], write: (value: V) => unknown): this {
    this.fork();
    for (const value of values) write.call(this, value);
    this.ldelim();
    return this;
  }

  private putVarint64(value: bigint): this {
    pairUnsigned[0] = value; // wraps a negative value to its two's complement
    return this.putBits64(pair[low] as number, pair[high] as number);
  }

  private putBits64(lowHalf: number, highHalf: number): this {
    let lowBits = lowHalf;
    let highBits = highHalf;
    this._reserve(10);
    while (highBits !== 0 || lowBits > 127) {
      this.buf[this.pos++] = (lowBits & 127) | 128;
      lowBits = ((lowBits >>> 7) | (highBits << 25)) >>> 0;
      highBits >>>= 7;
    }
    this.buf[this.pos++] = lowBits;
    return this;
  }

  private putPair64(value: bigint): this {
    pairUnsigned[0] = value;
    const highBits = pair[high] as number;
    super.fixed32(pair[low] as number);
    super.fixed32(highBits);
    return this;
  }
}

function integer(value: bigint | number, min: bigint, max: bigint): bigint {
  const whole = typeof value === 'number' && Number.isSafeInteger(value) ? BigInt(value) : value;
  if (typeof whole !== 'bigint') throw new TypeError(`expected a bigint, got ${typeof value}`);
  if (whole < min || whole > max) throw new RangeError(`${whole} is not between ${min} and ${max}`);
  return whole;
}
