import { type Packed, packBytes, Slice } from './packed.ts';

const varint = 0;
const eightBytes = 1;
const lengthDelimited = 2;
const fourBytes = 5;

/** Texts that were read before, by a hash of their bytes; a power of two of them. */
const knownTexts: string[] = new Array(4_096).fill('');
const longestKnown = 64;

const noBytes = Buffer.alloc(0);

/**
 * The fields of an encoded message, one after the other, without decoding what is in them:
 * `while (fields.next()) switch (fields.number) …`
 */
export class Fields {
  bytes: Buffer;
  end: number;
  /** Of the field that `next` has found. */
  number = 0;
  /** Where its tag begins; where its value does, its length not included; where it ends. */
  start = 0;
  from = 0;
  to: number;
  #wireType = 0;
  #value = 0;
  #inner: Fields | undefined = undefined;

  constructor(bytes: Buffer = noBytes, from = 0, end: number = bytes.length) {
    this.bytes = bytes;
    this.to = from;
    this.end = end;
  }

  /** Begins anew, with another message: for whoever reads a million of them. */
  begin(bytes: Buffer, from: number, end: number): this {
    this.bytes = bytes;
    this.to = from;
    this.end = end;
    return this;
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

  /**
   * As {@link text}, for what stands in many messages: one object and no decoding for those that are alike.
   *
   * @param likely - looked at first: what stood there in the message before
   */
  sharedText(likely = ''): string {
    this.#expect(lengthDelimited);
    const { bytes, from, to } = this;
    if (isAscii(likely, bytes, from, to)) return likely;
    if (to - from > longestKnown) return this.text();
    let hash = 0;
    for (let at = from; at < to; at += 1) hash = (Math.imul(hash, 31) + (bytes[at] as number)) | 0;
    const place = hash & (knownTexts.length - 1);
    const known = knownTexts[place] as string;
    if (isAscii(known, bytes, from, to)) return known;
    const text = this.text();
    knownTexts[place] = text;
    return text;
  }

  /** Those of the message in the field: the same object for each, so be done with one before the next. */
  inner(): Fields {
    this.#expect(lengthDelimited);
    this.#inner ??= new Fields();
    return this.#inner.begin(this.bytes, this.from, this.to);
  }

  /** Where the value of the field is. */
  slice(): Slice {
    this.#expect(lengthDelimited);
    return new Slice(this.bytes, this.from, this.to);
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

/** Whether the bytes are this text; never, if it holds anything but ASCII. */
function isAscii(text: string, bytes: Buffer, from: number, to: number): boolean {
  if (text.length !== to - from) return false;
  for (let at = from; at < to; at += 1) {
    const byte = bytes[at] as number;
    if (byte > 127 || text.charCodeAt(at - from) !== byte) return false;
  }
  return true;
}
