import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';

/** What executors of an agent hold on to, so that it stays the same over its restarts. */
export interface Contact {
  /** Of the loopback address. */
  readonly port: number;
  /** That signs their tokens. */
  readonly key: Uint8Array;
}

/** @returns undefined if there is none, or none that can be used */
export function readContact(path: string): Contact | undefined {
  try {
    const kept: unknown = JSON.parse(readFileSync(path, 'utf8'));
    if (typeof kept !== 'object' || kept === null || !('port' in kept && 'key' in kept)) return undefined;
    const { port, key } = kept;
    if (typeof port !== 'number' || typeof key !== 'string') return undefined;
    return { port, key: Buffer.from(key, 'base64') };
  } catch {
    return undefined;
  }
}

/** Readable for the agent's own user only. A crash leaves the old one or the new one, never half of one. */
export function writeContact(path: string, { port, key }: Contact): void {
  const fresh = `${path}.new`;
  const file = openSync(fresh, 'w', 0o600);
  try {
    writeSync(file, JSON.stringify({ port, key: Buffer.from(key).toString('base64') }));
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(fresh, path);
}
