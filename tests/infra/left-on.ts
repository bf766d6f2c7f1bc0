import { readdirSync } from 'node:fs';
import { join } from 'node:path';

/** Data, configuration, users, and what Debian itself writes when it runs. */
const expected = [
  'etc/mesobus/',
  'var/lib/mesobus/',
  'var/lib/mesobus-nats/',
  ...['passwd', 'group', 'shadow', 'gshadow'].flatMap((name) => [`etc/${name}`, `etc/${name}-`]),
  ...['etc/hosts', 'etc/hostname', 'etc/machine-id', 'etc/.updated', 'etc/.pwd.lock', 'etc/resolv.conf'],
  ...['var/.updated', 'var/log/', 'var/lib/systemd/', 'var/cache/', 'var/tmp/', 'tmp/', 'run/', 'dev/', 'mnt/old'],
];

/**
 * @param layer - what differs from the system that a machine began with
 * @returns the files that removing Mesobus should not have left
 */
export function leftOn(layer: string): string[] {
  return readdirSync(layer, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name).slice(layer.length + 1))
    .filter((file) => !expected.some((one) => (one.endsWith('/') ? file.startsWith(one) : file === one)));
}
