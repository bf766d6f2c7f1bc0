// What cannot be done is refused with what, to what, why and what to do.
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { type LocalCluster, startLocalCluster } from '../../src/local-cluster/index.ts';
import { mesobus } from './mesobus.ts';
import { tempFolder } from './temp-folder.ts';

async function aCluster(t: ExecutionContext): Promise<LocalCluster> {
  t.timeout(120_000);
  const cluster = await startLocalCluster({ dir: path.join(tempFolder(t), 'cluster'), agents: 0 });
  t.teardown(() => cluster.stop());
  return cluster;
}

async function refusal(t: ExecutionContext, ...args: string[]): Promise<string> {
  const run = mesobus(t, tempFolder(t), ...args);
  t.is(await run.exit(), 1);
  return run.err.join('\n');
}

test('what nobody answers, in a cluster of another name, and a file that cannot be written are named', async (t) => {
  const { context } = await aCluster(t);
  t.regex(
    await refusal(t, 'ps', '--context', context, '--cluster', 'other'),
    /the cluster 'other' does not: does its registry run, and is it called so \(--cluster\)\?/,
  );
  t.regex(
    await refusal(t, 'backup', '/nowhere/books', '--context', context),
    /Cannot write the backup '\/nowhere\/books': ENOENT.*; name a file in a folder/,
  );
  t.regex(
    await refusal(t, 'restore', '/nowhere/books', '--context', context),
    /Cannot use the backup '\/nowhere\/books': it cannot be read \(ENOENT.*nothing was changed/,
  );
});
