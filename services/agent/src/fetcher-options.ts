import type { NatsBus } from '@mesobus/sdk/bus';
import { duration, type Option, size } from '@mesobus/sdk/service';
import { Fetcher } from './shell/fetcher/fetcher.ts';
import type { WorkDir } from './shell/work-dir.ts';

interface Written {
  readonly fetcherCacheSize: number;
  readonly fetcherStallTimeoutMs: number;
}

/** Options of how what the commands of tasks need is fetched, with Mesos' names and defaults. */
export const fetcherOptions: { readonly [Key in keyof Written]: Option<Written[Key]> } = {
  fetcherCacheSize: size({
    help: "how much of what tasks fetch with 'cache' is kept for the next; what was not used for longest goes first",
    default: '2GB',
  }),
  fetcherStallTimeoutMs: duration({
    help: 'a fetch that brings nothing for so long fails, and its task with it',
    default: '1mins',
    min: '1ms',
  }),
};

export const openFetcher = (
  { fetcherCacheSize: cacheBytes, fetcherStallTimeoutMs: stallTimeoutMs }: Written,
  { cache: cacheDir }: WorkDir,
  connection: NatsBus['connection'],
): Fetcher => new Fetcher({ cacheDir, cacheBytes, stallTimeoutMs, connection });
