import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { ExecutionContext } from 'ava';

/** A folder of one test, removed at its end. */
export function tempFolder(t: ExecutionContext): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'mesobus-cli-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true, maxRetries: 3 }));
  return folder;
}
