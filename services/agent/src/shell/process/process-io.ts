import { readFileSync } from 'node:fs';
import type { ContainerUsage } from '../containerizer.ts';

type Io = Pick<ContainerUsage, 'ioReadBytes' | 'ioWriteBytes'>;

/**
 * What processes have read from and written to disks, as long as they live: nobody adds up for those that have ended.
 * Nothing, if that of one may not be known.
 */
export function ioOfProcesses(pids: readonly string[]): Io {
  let [ioReadBytes, ioWriteBytes] = [0, 0];
  for (const pid of pids) {
    try {
      const text = readFileSync(`/proc/${pid}/io`, 'latin1');
      ioReadBytes += countOf(text, 'read_bytes');
      ioWriteBytes += countOf(text, 'write_bytes');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EACCES') return {};
      // it has ended meanwhile
    }
  }
  return { ioReadBytes, ioWriteBytes };
}

const countOf = (text: string, name: string): number =>
  Number(new RegExp(`^${name}: (\\d+)$`, 'm').exec(text)?.[1] ?? 0);
