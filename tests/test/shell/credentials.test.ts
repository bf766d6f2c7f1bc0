// A cluster whose NATS server knows its clients: every process has credentials of its own, and TLS.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { connectOperator } from '@mesobus/sdk/operator';
import { Scheduler } from '@mesobus/sdk/scheduler';
import test, { type ExecutionContext } from 'ava';
import { Happenings, mesobus } from './in-cluster.ts';
import { type SecureNats, type Service, startSecureNats, startService } from './secure-cluster.ts';

/** One of each service, with credentials of its own. */
async function startCluster(t: ExecutionContext): Promise<{ nats: SecureNats; services: Map<string, Service> }> {
  const nats = await startSecureNats(t);
  const work = mkdtempSync(path.join(tmpdir(), 'mesobus-secure-agent-'));
  t.teardown(() => rmSync(work, { recursive: true, force: true, maxRetries: 5 }));
  const lazy = '--accept-lazy-fsync';
  const services = new Map<string, Service>();
  const programs = [
    ['registry', 'r1', [lazy, '--snapshot-age', '1secs']],
    ['registry', 'r2', [lazy, '--snapshot-age', '1secs']], // confirms what the other takes
    ['master', 'm1', [lazy]],
    ['allocator', 'al1', []],
    ['agent', 'a1', ['--name', 'a1', '--work-dir', work, '--resources', 'cpus:2;mem:512', '--isolation', 'none']],
  ] as const;
  for (const [kind, name, args] of programs) {
    const service = startService(t, kind, args, nats.environment(await nats.add(kind, name)));
    services.set(name, service);
    if (!(await service.ready)) throw new Error(service.output());
  }
  return { nats, services };
}

test('with credentials and TLS everything works, and who is revoked is cut off while all else goes on', async (t) => {
  t.timeout(600_000);
  const { nats, services } = await startCluster(t);
  const bob = nats.environment(await nats.add('operator', 'bob'));

  const ran = await mesobus(t, ['run', 'echo from a task'], bob);
  t.deepEqual([ran.exitCode, ran.stdout], [0, 'from a task\n'], ran.stderr);

  // One that stays: what may be asked about it, and done in it.
  const staying = spawn(
    process.execPath,
    [
      '--conditions=mesobus-source',
      fileURLToPath(import.meta.resolve('@mesobus/cli/main')),
      ...['run', '--name', 'stay', 'echo begun; sleep 600'],
    ],
    { env: { ...process.env, ...bob }, stdio: ['ignore', 'pipe', 'ignore'] },
  );
  t.teardown(() => void staying.kill('SIGKILL'));
  await once(staying.stdout, 'data');
  const [task] = JSON.parse((await mesobus(t, ['ps', '--json'], bob)).stdout);
  const { id, frameworkId } = task;
  t.like(await mesobus(t, ['exec', id, 'echo', 'inside'], bob), { exitCode: 0, stdout: 'inside\n' });
  t.like(await mesobus(t, ['logs', id], bob), { exitCode: 0, stdout: 'begun\n' });
  const explained = await mesobus(t, ['explain', frameworkId], bob);
  t.is(explained.exitCode, 0, explained.stderr);
  const confirmed = ['r1', 'r2'].map((name) => services.get(name)?.untilSaid(/confirmed a snapshot/));
  await t.notThrowsAsync(Promise.any(confirmed));
  const examined = await mesobus(t, ['doctor', '--json'], bob);
  t.is(examined.exitCode, 0, examined.stdout);
  for (const kind of ['master', 'registry']) {
    const env = nats.environment(await nats.add(kind, 'doctor'));
    const { exitCode, stdout } = await mesobus(t, ['doctor', '--json'], env);
    t.is(exitCode, 0, stdout);
    t.deepEqual(
      JSON.parse(stdout).permissions.map(({ refused }: { refused: string }) => refused),
      [''],
      `a ${kind} may write its bucket`,
    );
  }

  // A framework in this process, which goes on, and one which is revoked.
  const frameworkOf = async (name: string) => {
    const credsFile = await nats.add('framework', name);
    const happened = new Happenings<string>();
    const scheduler = new Scheduler(
      { nats: nats.server.url, credsFile, tlsCaFile: nats.ca, framework: { name } },
      {
        registered: () => happened.note('registered'),
        disconnected: () => happened.note('disconnected'),
        resourceOffers: () => happened.note('offers'),
      },
    );
    await scheduler.start();
    t.teardown(() => scheduler.stop({ failover: true, timeoutMs: 100 }).catch(() => undefined));
    await happened.find((what) => what === 'registered');
    return { happened, credsFile };
  };
  const [ads, web] = [await frameworkOf('ads'), await frameworkOf('web')];
  t.regex(
    await nats.auth('revoke', 'framework', 'ads', '--nats', nats.server.url),
    /^revoked the framework 'ads'; told /,
  );
  await ads.happened.find((what) => what === 'disconnected');
  await t.throwsAsync(connectOperator({ nats: nats.server.url, credsFile: ads.credsFile, tlsCaFile: nats.ca }), {
    message: /the server runs but refuses the credentials/,
  });
  t.false(web.happened.seen.includes('disconnected'));
  t.is((await mesobus(t, ['agents'], bob)).exitCode, 0);

  await nats.auth('revoke', 'operator', 'bob', '--nats', nats.server.url);
  const refused = await mesobus(t, ['agents'], bob);
  t.is(refused.exitCode, 1);
  t.regex(refused.stderr, /^mesobus: Cannot connect to NATS at .*; the server runs but refuses the credentials/);

  // Let in again, with other credentials, by the same server.
  const again = nats.environment(await nats.add('operator', 'bob'));
  t.is((await mesobus(t, ['agents'], again)).exitCode, 0);
  t.false(web.happened.seen.includes('disconnected'));

  // A backup and its restore, which needs the masters and registries to be away.
  const keeper = nats.environment(await nats.add('backup', 'keeper'));
  const file = path.join(nats.dir, 'state.backup');
  t.like(await mesobus(t, ['backup', file], keeper), { exitCode: 0 });
  for (const name of ['m1', 'r1', 'r2']) {
    const { child } = services.get(name) as Service;
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
  const restored = await mesobus(t, ['restore', file, '--force'], keeper);
  t.is(restored.exitCode, 0, restored.stderr);

  t.deepEqual(nats.violations(), []);
});
