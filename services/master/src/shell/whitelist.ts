import type { BusLogger, Clock } from '@mesobus/sdk/bus';
import { WatchedFile } from '@mesobus/sdk/service';

/**
 * Reads the hostnames of the agents whose resources are offered, one per line.
 *
 * @param file - a path, or `file://…`
 * @throws {ConfigError} the file cannot be read
 */
export const openWhitelist = (
  file: string,
  { clock, log }: { readonly clock: Clock; readonly log: BusLogger },
): WatchedFile<ReadonlySet<string>> =>
  new WatchedFile<ReadonlySet<string>>({
    file,
    flag: 'whitelist',
    what: 'The whitelist',
    remedy: 'name a file with a hostname on each line',
    parse: hostnamesIn,
    clock,
    log,
  });

function hostnamesIn(text: string): Set<string> {
  const lines = text.split('\n').map((line) => line.trim());
  return new Set(lines.filter((line) => line !== ''));
}
