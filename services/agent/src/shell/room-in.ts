import type { Writable } from 'node:stream';

const events = ['drain', 'finish', 'close', 'error'] as const;

/** Waits until a stream that is full takes more, or nothing any more. Leaves no listener behind, however often it is asked. */
export function roomIn(stream: Writable): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      for (const event of events) stream.off(event, done);
      resolve();
    };
    for (const event of events) stream.on(event, done);
  });
}
