/** Where a command writes. */
export interface Streams {
  readonly out: NodeJS.WritableStream;
  readonly err: NodeJS.WritableStream;
}

/** Writes and waits until more may be written: output is never piled up in memory. */
export function writeTo(stream: NodeJS.WritableStream, piece: string | Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.write(piece as string, (error) => (error ? reject(error) : resolve()));
  });
}

/** One JSON value, indented for people who look at it. */
export const writeJson = (streams: Streams, value: unknown): Promise<void> =>
  writeTo(streams.out, `${JSON.stringify(value, undefined, 2)}\n`);
