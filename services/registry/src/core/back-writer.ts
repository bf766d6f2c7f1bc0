import type { Encoded } from './packed.ts';

/**
 * Writes a protobuf message from its end to its beginning, so that the length of what is inside is known when it is
 * wanted: the last field first, the fields of a message within before its {@link close}.
 */
export class BackWriter {
  #buffer: Buffer = Buffer.allocUnsafeSlow(64 * 1024);
  /** How much is written. */
  length = 0;

  count(field: number, value: number): void {
    this.#varint(value);
    this.#varint(field * 8);
  }

  double(field: number, value: number): void {
    this.#buffer.writeDoubleLE(value, this.#reserve(8));
    this.#varint(field * 8 + 1);
  }

  encoded(field: number, value: Encoded): void {
    this.raw(value);
    this.close(field, this.length - value.length);
  }

  /** Fields that are encoded already. */
  raw(value: Encoded): void {
    const at = this.#reserve(value.length);
    if (typeof value === 'string') this.#buffer.latin1Write(value, at, value.length);
    else value.bytes.copy(this.#buffer, at, value.from, value.to);
  }

  /** All that was written since `length` was as given is the message in this field. */
  close(field: number, since: number): void {
    this.#varint(this.length - since);
    this.#varint(field * 8 + 2);
  }

  /** What was written: a view that holds until the next message is begun. */
  finish(): Uint8Array {
    const view = this.#buffer.subarray(this.#buffer.length - this.length);
    this.length = 0;
    return view;
  }

  #varint(value: number): void {
    let size = 1;
    for (let rest = value; rest >= 128; rest = Math.floor(rest / 128)) size += 1;
    let at = this.#reserve(size);
    let rest = value;
    for (; rest >= 128; rest = Math.floor(rest / 128)) {
      this.#buffer[at] = (rest % 128) + 128;
      at += 1;
    }
    this.#buffer[at] = rest;
  }

  /** @returns where to write so many bytes */
  #reserve(bytes: number): number {
    this.length += bytes;
    const { length } = this.#buffer;
    if (this.length > length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(2 * length, this.length));
      const written = this.length - bytes;
      this.#buffer.copy(larger, larger.length - written, length - written);
      this.#buffer = larger;
    }
    return this.#buffer.length - this.length;
  }
}
