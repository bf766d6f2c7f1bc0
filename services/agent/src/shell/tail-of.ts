import type { Readable } from 'node:stream';

/** Reads a text to its end. Gives the end of what has come so far, in one line. */
export function tailOf(stream: Readable, maxChars: number): () => string {
  let tail = '';
  stream.setEncoding('utf8');
  stream.on('data', (text: string) => {
    tail = (tail + text).slice(-maxChars);
  });
  return () => tail.trim().replaceAll(/\s*\n\s*/g, '; ');
}
