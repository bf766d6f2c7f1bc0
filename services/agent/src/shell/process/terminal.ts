import { constants, existsSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';

const firstWaitMs = 10;
const maxWaitMs = 200;

const pathOf = (controlDir: string): string => join(controlDir, 'stdin');

/** Whether the supervisor has made a terminal for its command. */
export const hasTerminal = (controlDir: string): boolean => existsSync(pathOf(controlDir));

/**
 * Gives bytes to the supervisor, which types them, and waits while that cannot take any more.
 *
 * @throws {Error} the command has ended, or `signal` says that it is enough
 */
export async function typeInto(controlDir: string, bytes: Uint8Array, signal: AbortSignal): Promise<void> {
  const handle = await open(pathOf(controlDir), constants.O_WRONLY | constants.O_NONBLOCK);
  try {
    let waitMs = firstWaitMs;
    for (let at = 0; at < bytes.length; ) {
      const { bytesWritten } = await handle.write(bytes, at).catch((error: NodeJS.ErrnoException) => {
        if (error.code === 'EAGAIN') return { bytesWritten: 0 };
        throw error;
      });
      at += bytesWritten;
      waitMs = bytesWritten > 0 ? firstWaitMs : Math.min(2 * waitMs, maxWaitMs);
      if (at < bytes.length) await wait(waitMs, undefined, { signal });
    }
  } finally {
    await handle.close();
  }
}
