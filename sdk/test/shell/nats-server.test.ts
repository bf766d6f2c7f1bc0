import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startNatsServer } from '@mesobus/sdk/testing';
import test, { type ExecutionContext } from 'ava';
import { installedNatsServers, resolveNatsServer } from '../../src/service/nats-server-binary.ts';

/** A folder with what says that it is a nats-server of this version. */
async function folderWith(t: ExecutionContext, version: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'mesobus-binary-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const path = join(folder, 'nats-server');
  await writeFile(path, `#!/bin/sh\necho "nats-server: v${version}"\n`);
  await chmod(path, 0o755);
  return folder;
}

test('a nats-server is found, and it is of the version that is said', async (t) => {
  const { path, version } = await resolveNatsServer();
  t.true(execFileSync(path, ['--version']).toString().includes(version));
});

test('a configured nats-server goes before every other', async (t) => {
  const path = join(await folderWith(t, '2.9.10'), 'nats-server');
  t.deepEqual(await resolveNatsServer(path), { path, version: '2.9.10', source: 'configured', clusterable: false });
});

test.serial('installed nats-servers are found in the order of the PATH', async (t) => {
  const folders = await Promise.all(['2.9.10', '2.10.27'].map((version) => folderWith(t, version)));
  const before = process.env['PATH'];
  t.teardown(() => {
    process.env['PATH'] = before;
  });
  process.env['PATH'] = [folders[0], '', '/nowhere', folders[1]].join(':');
  const found: string[] = [];
  for await (const { version, source } of installedNatsServers()) found.push(`${source} ${version}`);
  t.deepEqual(found.slice(0, 2), ['installed 2.9.10', 'installed 2.10.27']);
});

test('a configured nats-server that does not run is named', async (t) => {
  await t.throwsAsync(resolveNatsServer('/nowhere/nats-server'), { message: /Cannot run the nats-server '\/nowhere/ });
});

test('a stopped server is gone, and so are its files', async (t) => {
  const server = await startNatsServer({ jetstream: true });
  const { pid } = server;
  const folders = execFileSync('ps', ['-o', 'args=', '-p', `${pid}`]).toString();
  const folder = /--config (\S+)\/server\.conf/.exec(folders)?.[1] as string;
  t.true(existsSync(folder));
  await server.stop();
  t.false(existsSync(folder));
  t.throws(() => process.kill(pid, 0));
});

test('a server that cannot start says why', async (t) => {
  await t.throwsAsync(startNatsServer({ config: 'nonsense: [' }), { message: /ended at once/ });
});

test('a server ends with the process that started it, also when that is killed', async (t) => {
  const script = `
    import { startNatsServer } from '@mesobus/sdk/testing';
    const server = await startNatsServer();
    console.log(server.port);
    setInterval(() => {}, 1000);`;
  const owner = spawn(process.execPath, ['--conditions=mesobus-source', '--input-type=module', '--eval', script], {
    cwd: import.meta.dirname,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.teardown(() => owner.kill('SIGKILL'));
  const [line] = (await once(owner.stdout, 'data')) as [Buffer];
  const socket = connect({ host: '127.0.0.1', port: Number(line.toString()) });
  await once(socket, 'data');
  owner.kill('SIGKILL');
  await once(socket, 'close');
  t.true(socket.destroyed, 'the server has ended with its owner');
});
