/** What came is not RecordIO: a length that is no number, or a record that is cut short or too large. */
export class MalformedRecordError extends Error {
  override readonly name = 'MalformedRecordError';
}

/** How Mesos frames the messages of a stream: the length in decimal digits, a line feed, and that many bytes. */
export function encodeRecord(record: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from(`${record.length}\n`), record]);
}

/** Beyond any length that is believed. */
const maxDigits = 20;
const defaultMaxRecordBytes = 64 << 20;

/** Takes a stream in pieces and gives the records that are whole. After an error it is of no more use. */
export class RecordDecoder {
  readonly #maxRecordBytes: number;
  /** Of the header that is being read. */
  #digits = '';
  /** Of the record that is being read; undefined: the next is a header. */
  #missing: number | undefined;
  #pieces: Uint8Array[] = [];

  constructor(maxRecordBytes: number = defaultMaxRecordBytes) {
    this.#maxRecordBytes = maxRecordBytes;
  }

  /** @throws {MalformedRecordError} */
  push(chunk: Uint8Array): Uint8Array[] {
    const records: Uint8Array[] = [];
    let rest = chunk;
    while (rest.length > 0) {
      rest = this.#missing === undefined ? this.#takeHeader(rest) : this.#takePiece(rest);
      if (this.#missing !== 0) continue;
      records.push(Buffer.concat(this.#pieces));
      this.#pieces = [];
      this.#missing = undefined;
    }
    return records;
  }

  /**
   * The stream has ended.
   *
   * @throws {MalformedRecordError} within a record
   */
  end(): void {
    if (this.#missing === undefined && this.#digits === '') return;
    throw new MalformedRecordError('The stream ended within a record');
  }

  #takeHeader(chunk: Uint8Array): Uint8Array {
    const lineEnd = chunk.indexOf(0x0a);
    const piece = lineEnd === -1 ? chunk : chunk.subarray(0, lineEnd);
    const digits = this.#digits + Buffer.from(piece.subarray(0, maxDigits + 1)).toString('latin1');
    if (digits.length > maxDigits || !/^\d*$/.test(digits)) {
      throw new MalformedRecordError(`'${digits.slice(0, maxDigits)}' is not the length of a record`);
    }
    this.#digits = lineEnd === -1 ? digits : '';
    if (lineEnd === -1) return chunk.subarray(chunk.length);
    // An empty line between records is let pass, as Mesos does.
    if (digits !== '') this.#missing = this.#checked(Number(digits));
    return chunk.subarray(lineEnd + 1);
  }

  #checked(length: number): number {
    if (length <= this.#maxRecordBytes) return length;
    throw new MalformedRecordError(`A record of ${length} bytes is longer than the ${this.#maxRecordBytes} allowed`);
  }

  #takePiece(chunk: Uint8Array): Uint8Array {
    const missing = this.#missing ?? 0;
    const piece = chunk.subarray(0, missing);
    this.#pieces.push(piece);
    this.#missing = missing - piece.length;
    return chunk.subarray(piece.length);
  }
}
