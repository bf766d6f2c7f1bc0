import { existsSync } from 'node:fs';
import path from 'node:path';
import { Command } from 'commander';
import { clusterPaths, describeClusterEvent, stopRecordedCluster } from '../local-cluster/index.ts';
import { type Streams, writeTo } from '../output/streams.ts';

/** `down`: stops the cluster of a folder, whoever started it. */
export function downCommand(streams: Streams): Command {
  return new Command('down')
    .description("stop a cluster that 'mesobus up' has started")
    .option('--dir <folder>', 'its folder [default: the nearest .mesobus]')
    .option('--purge', 'remove its state, logs and sandboxes too')
    .action(async (flags: { dir?: string; purge?: boolean }) => {
      const { dir } = clusterPaths(flags.dir ?? nearest(process.cwd()));
      const report = (event: Parameters<typeof describeClusterEvent>[0]): void =>
        void streams.out.write(`${describeClusterEvent(event)}\n`);
      const stopped = await stopRecordedCluster({ dir, purge: flags.purge, report });
      const what = stopped ? `the cluster in ${dir} has stopped` : `no cluster runs in ${dir}`;
      await writeTo(streams.out, `${what}${flags.purge === true ? '; its folder is purged' : ''}\n`);
    });
}

/** The nearest folder that `up` has made, from here upwards; the one here if there is none. */
function nearest(from: string): string {
  for (let folder = from; ; folder = path.dirname(folder)) {
    const dir = path.join(folder, '.mesobus');
    if (existsSync(path.join(dir, 'run'))) return dir;
    if (path.dirname(folder) === folder) return path.join(from, '.mesobus');
  }
}
