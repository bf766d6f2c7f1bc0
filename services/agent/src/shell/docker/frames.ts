export type OutputName = 'stdout' | 'stderr';

export interface Frame {
  readonly name: OutputName;
  readonly bytes: Buffer;
}

const headerBytes = 8;
const names: Readonly<Record<number, OutputName | undefined>> = { 0: 'stdout', 1: 'stdout', 2: 'stderr' };

/**
 * Takes Docker's stream of several apart: a header of 8 bytes says whose the next bytes are, and how many. What belongs to
 * one header may come in several parts.
 *
 * @throws {Error} with what Docker says went wrong
 */
export async function* framesOf(chunks: AsyncIterable<Buffer>): AsyncGenerator<Frame> {
  let rest: Buffer = Buffer.alloc(0);
  let frame: { readonly type: number; left: number } | undefined;
  for await (const chunk of chunks) {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    while (frame !== undefined ? rest.length > 0 : rest.length >= headerBytes) {
      if (frame === undefined) {
        frame = { type: rest.readUInt8(0), left: rest.readUInt32BE(4) };
        rest = rest.subarray(headerBytes);
      }
      const bytes = rest.subarray(0, frame.left);
      rest = rest.subarray(bytes.length);
      const name = names[frame.type];
      if (name === undefined) throw new Error(`Docker cannot read the output: ${bytes.toString()}`);
      if (bytes.length > 0) yield { name, bytes };
      frame.left -= bytes.length;
      if (frame.left === 0) frame = undefined;
    }
  }
}

/** With a terminal there is one stream, without headers. */
export async function* oneFrame(chunks: AsyncIterable<Buffer>): AsyncGenerator<Frame> {
  for await (const bytes of chunks) yield { name: 'stdout', bytes };
}
