import { chmodSync, copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { mesos } from '@mesobus/protos';
import { resourcesOf } from '@mesobus/sdk/resources';
import test, { type ExecutionContext } from 'ava';
import type { TaskPlace } from '../../src/core/index.ts';
import { Containers } from '../../src/shell/containers.ts';
import { launcherBinary } from '../../src/shell/process/launcher.ts';
import { findNamespaces } from '../../src/shell/process/namespaces.ts';
import { openProcessContainerizer } from '../../src/shell/process/process-containerizer.ts';
import { Users } from '../../src/shell/users.ts';
import { openWorkDir, type WorkDir } from '../../src/shell/work-dir.ts';
import { tempWorkDir, untilIn } from './bench.ts';

const isRoot = process.getuid?.() === 0;
const namespaces = await findNamespaces(isRoot);

/** Tasks of the user 'nobody', whom an agent of root must not let become anybody else. */
class Bench {
  readonly workDir: WorkDir;
  readonly #containers: Containers;
  readonly #started = Promise.withResolvers<void>();

  static async open(t: ExecutionContext): Promise<Bench> {
    const workDir = openWorkDir(tempWorkDir(t));
    const process = await openProcessContainerizer({
      ...{ agentName: 'a', workDir, isolation: 'auto', enableCfs: false, pidsLimit: undefined, logMaxBytes: 0 },
      log: { info: () => {}, warn: () => {} },
    });
    t.teardown(() => process.close());
    return new Bench(t, workDir, process);
  }

  constructor(
    t: ExecutionContext,
    workDir: WorkDir,
    process: ConstructorParameters<typeof Containers>[0]['containerizers']['process'],
  ) {
    this.workDir = workDir;
    this.#containers = new Containers({
      ...{ workDir, containerizers: { process }, switchUser: true, users: new Users(), hostname: 'a' },
      ...{ volumes: { open: () => '' }, executorEnvironment: () => ({}) },
      onEvent: (event) => {
        if (event.kind === 'started') this.#started.resolve();
        else t.log(event);
      },
      onRestarted: () => {},
      onBroken: () => {},
    });
  }

  folder(name: string): string {
    const path = join(this.workDir.root, name);
    mkdirSync(path);
    return path;
  }

  get sandbox(): string {
    return join(this.workDir.sandboxes, 'F/t1/c1');
  }

  async start(value: string, volumes: mesos.v1.Volume.$Properties[] = []): Promise<TaskPlace> {
    const task = { sandbox: 'F/t1/c1', frameworkId: 'F', taskId: 't1', executorId: 't1', agentId: 'S', user: 'nobody' };
    const place = { ...task, command: { value } };
    const container = { type: mesos.v1.ContainerInfo.Type.MESOS, volumes };
    const given = { volumes: [], resources: resourcesOf([]), limits: {}, container };
    this.#containers.start({ kind: 'start', containerId: 'c1', ...place, ...given });
    await this.#started.promise;
    return place;
  }

  /** What a command beside a task says, and how it ended. */
  async run(task: TaskPlace, value: string): Promise<unknown[]> {
    const inner = this.#containers.runInside('c1', task, { value });
    inner.stdin.end();
    let text = '';
    for await (const part of inner.stdout) text += String(part);
    return [text, await inner.ended];
  }
}

const well = { kind: 'exited', status: 0 };
const { RO } = mesos.v1.Volume.Mode;

(isRoot ? test : test.skip)(
  'beside a set-user-ID program runs the user of the task, not that of the program',
  async (t) => {
    const bench = await Bench.open(t);
    const program = join(bench.workDir.root, 'follow');
    copyFileSync('/usr/bin/tail', program);
    chmodSync(program, 0o4755);
    const stdout = join(bench.sandbox, 'stdout');
    const task = await bench.start(`echo up >note; exec ${program} -f note`);
    await untilIn(bench.sandbox, () => existsSync(stdout) && readFileSync(stdout, 'utf8') === 'up\n');
    t.deepEqual(await bench.run(task, 'id -un; pwd'), [`nobody\n${bench.sandbox}\n`, well]);
  },
);

(isRoot && !('why' in namespaces) ? test : test.skip)(
  'what a task has mounted is not executed, believed or written to by the agent',
  async (t) => {
    const bench = await Bench.open(t);
    const [programs, nothing] = [bench.folder('programs'), bench.folder('nothing')];
    writeFileSync(join(programs, basename(launcherBinary())), `#!/bin/sh\nid -u >${programs}/executed\n`, {
      mode: 0o755,
    });
    const task = await bench.start('sleep 1000', [
      { mode: RO, containerPath: dirname(launcherBinary()), hostPath: programs },
      { mode: RO, containerPath: '/sys', hostPath: nothing },
      { mode: RO, containerPath: '/proc', hostPath: nothing },
    ]);
    t.deepEqual(await bench.run(task, 'id -un; ls /proc /sys'), ['nobody\n/proc:\n\n/sys:\n', well]);
    t.false(existsSync(join(programs, 'executed')));
  },
);
