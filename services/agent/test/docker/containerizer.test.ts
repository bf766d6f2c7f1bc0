import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import type { ContainerizerEvent } from '../../src/shell/containerizer.ts';
import { DockerContainerizer } from '../../src/shell/docker/docker-containerizer.ts';
import { Dockerd } from './dockerd.ts';
import { findDockerd } from './find-dockerd.ts';

const found = findDockerd();
const why = 'why' in found ? ` (skipped: ${found.why})` : '';
const testOfDocker = 'why' in found ? test.skip : test;
let dockerd: Dockerd;

if ('path' in found) {
  test.before(async () => {
    dockerd = await Dockerd.start(found.path);
  });
  test.after.always(() => dockerd?.stop());
}

const silent = { info: () => {}, warn: () => {} };

testOfDocker(
  `a container starts once; what it uses is known; a command in it can be spoken to and ended${why}`,
  async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'mesobus-docker-'));
    t.teardown(() => rmSync(folder, { recursive: true }));
    const controlDir = join(folder, 'containers/c1');
    const sandboxDir = join(folder, 'sandbox');
    for (const path of [controlDir, sandboxDir]) mkdirSync(path, { recursive: true });
    const containerizer = new DockerContainerizer({
      owner: folder,
      allowPrivileged: false,
      enableCfs: false,
      socketPath: dockerd.socketPath,
      containersDir: join(folder, 'containers'),
      removeDelayMs: 0,
      killOrphans: true,
      logMaxBytes: 0,
      log: silent,
    });
    t.teardown(() => containerizer.close());
    const events = new Map<string, PromiseWithResolvers<ContainerizerEvent>>(
      ['started', 'exited', 'failed'].map((kind) => [kind, Promise.withResolvers()]),
    );
    containerizer.onEvent((event) => events.get(event.kind)?.resolve(event));
    const spec = {
      containerId: 'c1',
      controlDir,
      sandboxDir,
      stdoutPath: join(sandboxDir, 'stdout'),
      stderrPath: join(sandboxDir, 'stderr'),
      argv: ['sh'] as const,
      env: {},
      volumes: [],
      limits: { cpus: 1, memBytes: 2 ** 26, hardMemBytes: 2 ** 26 },
      container: { type: 1, docker: { image: 'base' } },
      command: { value: 'sleep 1000' },
    };
    containerizer.start({ ...spec, argv: ['sh'] });
    t.throws(() => containerizer.start({ ...spec, argv: ['sh'] }), { message: /started already/ });
    await events.get('started')?.promise;

    const [usage] = await containerizer.usage(['c1', 'unknown']);
    t.is(usage?.containerId, 'c1');
    t.true((usage?.memoryBytes ?? 0) > 0 && (usage?.memoryBytes ?? 0) < 2 ** 26);
    t.true((usage?.processes ?? 0) >= 1);

    const reader = containerizer.run('c1', {
      argv: ['sh', '-c', 'read word; echo "$word $A"; exit 5'],
      env: { A: 'x' },
    });
    const said = once(reader.stdout, 'data');
    reader.stdin.write('hello\n');
    t.is(String((await said)[0]), 'hello x\n');
    t.deepEqual(await reader.ended, { kind: 'exited', status: 5 << 8 });
    const sleeper = containerizer.run('c1', { argv: ['sh', '-c', 'echo up; sleep 1000; :'], env: {} });
    await once(sleeper.stdout, 'data');
    sleeper.kill('SIGKILL');
    t.deepEqual(await sleeper.ended, { kind: 'exited', status: 137 << 8 });

    containerizer.control('c1', { kind: 'kill' });
    t.like(await events.get('exited')?.promise, { containerId: 'c1', stopped: true });
    t.throws(() => containerizer.run('c1', { argv: ['true'], env: {} }), { message: /does not run/ });
  },
);
