const newline = 0x0a;
/** A line that is longer is cut, for nobody knows how long it will get. */
const maxLineBytes = 1 << 20;

/** Puts a prefix before each line of what comes in pieces; keeps an unfinished line until it is finished or all is read. */
export class LinePrefix {
  private readonly prefix: Uint8Array;
  private rest: Uint8Array = new Uint8Array();

  constructor(prefix: string) {
    this.prefix = Buffer.from(prefix);
  }

  /** The lines that are whole now. */
  push(piece: Uint8Array): Uint8Array {
    const text = Buffer.concat([this.rest, piece]);
    const whole = text.lastIndexOf(newline) + 1;
    this.rest = text.subarray(whole);
    const lines = this.prefixed(text.subarray(0, whole));
    return this.rest.length < maxLineBytes ? lines : Buffer.concat([lines, this.end()]);
  }

  /** What is left, with the newline that it lacks. */
  end(): Uint8Array {
    const { rest } = this;
    this.rest = new Uint8Array();
    return rest.length === 0 ? rest : this.prefixed(Buffer.concat([rest, Uint8Array.of(newline)]));
  }

  private prefixed(lines: Buffer): Uint8Array {
    if (this.prefix.length === 0) return lines;
    const out: Uint8Array[] = [];
    for (let from = 0; from < lines.length; ) {
      const to = lines.indexOf(newline, from) + 1;
      out.push(this.prefix, lines.subarray(from, to));
      from = to;
    }
    return Buffer.concat(out);
  }
}
