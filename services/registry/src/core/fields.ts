import { type Packed, packBytes } from './packed.ts';

const varint = 0;
const eightBytes = 1;
const lengthDelimited = 2;
const fourBytes = 5;

/** Some of the bytes. */
export interface Slice {
  readonly bytes: Buffer;
  readonly from: number;
  readonly to: number;
}

/**
 * The fields of an encoded message, one after the other, without decoding what is in them:
 * `while (fields.next()) switch (fields.number) …`
 */
export class Fields {
  readonly bytes: Buffer;
  readonly end: number;
  /** Of the field that `next` has found. */
  number = 0;
  /** Where its tag begins; where its value does, its length not included; where it ends. */
  start = 0;
  from = 0;
  to: number;
  #wireType = 0;
  #value = 0;

  constructor(bytes: Buffer, from = 0, end: number = bytes.length) {
    this.bytes = bytes;
    this.to = from;
    this.end = end;
  }

  /**
   * Goes on to the next field; false if there is none.
   *
   * @throws {RangeError} the bytes are no message
   */
  next(): boolean {
    if (this.to >= this.end) return false;
    this.start = this.to;
    this.#readVarint(this.to);
    this.#wireType = this.#value & 7;
    this.number = this.#value >>> 3;
    this.from = this.to;
    switch (this.#wireType) {
      case varint:
        this.#readVarint(this.from);
        break;
      case eightBytes:
        this.to = this.from + 8;
        break;
      case lengthDelimited:
        this.#readVarint(this.from);
        this.from = this.to;
        this.to += this.#value;
        break;
      case fourBytes:
        this.to = this.from + 4;
        break;
      default:
        throw new RangeError(`a field has the wire type ${this.#wireType}`);
    }
    if (this.to > this.end || this.number === 0) throw new RangeError('a field does not fit in its message');
    return true;
  }

  /** The value of a varint: a count, a boolean or an enum. */
  count(): number {
    this.#expect(varint);
    if (!Number.isSafeInteger(this.#value)) throw new RangeError(`${this.#value} is more than 2^53`);
    return this.#value;
  }

  double(): number {
    this.#expect(eightBytes);
    return this.bytes.readDoubleLE(this.from);
  }

  text(): string {
    this.#expect(lengthDelimited);
    return this.bytes.utf8Slice(this.from, this.to);
  }

  /** Those of the message in the field. */
  inner(): Fields {
    this.#expect(lengthDelimited);
    return new Fields(this.bytes, this.from, this.to);
  }

  /** Where the value of the field is. */
  slice(): Slice {
    this.#expect(lengthDelimited);
    const { bytes, from, to } = this;
    return { bytes, from, to };
  }

  /** What is in the field, without its tag. */
  packed(): Packed {
    this.#expect(lengthDelimited);
    return packBytes(this.bytes, this.from, this.to);
  }

  /** With its tag. */
  whole(): Packed {
    return packBytes(this.bytes, this.start, this.to);
  }

  #expect(wireType: number): void {
    if (this.#wireType !== wireType) throw new RangeError(`field ${this.number} is not of its type`);
  }

  /** A number of more than 2^53 is not exact. */
  #readVarint(from: number): void {
    const { bytes, end } = this;
    let at = from;
    let value = 0;
    let weight = 1;
    for (;;) {
      if (at >= end || at - from >= 10) throw new RangeError('a number does not end');
      const byte = bytes[at] as number;
      at += 1;
      value += (byte & 127) * weight;
      if (byte < 128) break;
      weight *= 128;
    }
    this.#value = value;
    this.to = at;
  }
}
