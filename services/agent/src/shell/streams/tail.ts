import { dirname } from 'node:path';
import { Readable } from 'node:stream';
import { setTimeout as wait } from 'node:timers/promises';
import { endOf, maxReadBytes, type Position, readOn } from '../files.ts';

/** Files tell nobody when they grow. Nothing is looked at while nobody reads. */
const lookMs = 50;

/** What is written to a file of a sandbox from now on, also when it is rotated, until nobody writes any more. */
export function tail(path: string, hasEnded: () => boolean, signal: AbortSignal): Readable {
  const place = { path, within: dirname(path) };
  // The end is that of now, and not of when somebody comes to read: what is typed meanwhile has its answer.
  return Readable.from(pieces(place, endOf(path), hasEnded, signal), { objectMode: false });
}

async function* pieces(
  place: Parameters<typeof readOn>[0],
  from: Position,
  hasEnded: () => boolean,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void> {
  let position = from;
  while (!signal.aborted) {
    const ended = hasEnded();
    const piece = await readOn(place, position, maxReadBytes).catch(() => undefined); // it is not there yet, or any more
    if (piece !== undefined && piece.data.length > 0) {
      yield piece.data;
      position = { fileId: piece.fileId, offset: piece.offset + piece.data.length };
    } else if (ended) return;
    else {
      if (piece !== undefined) position = piece;
      await wait(lookMs, undefined, { signal }).catch(() => {}); // told off: the loop ends
    }
  }
}
