import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mesos } from '@mesobus/protos';
import { resourcesOf } from '@mesobus/sdk/resources';
import test from 'ava';
import type { ContainerEvent, ExecutorStart } from '../../src/core/index.ts';
import type { Containerizer, ContainerSpec } from '../../src/shell/containerizer.ts';
import { Containers } from '../../src/shell/containers.ts';
import type { ExitRecord, LauncherEvent } from '../../src/shell/process/launcher.ts';
import { ProcessContainerizer } from '../../src/shell/process/process-containerizer.ts';
import { Users } from '../../src/shell/users.ts';
import { openWorkDir } from '../../src/shell/work-dir.ts';

test('what the launcher was given is not given up while it runs, begun or not; its end is found', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'mesobus-containers-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const events: ContainerEvent[] = [];
  let begun = false;
  let end: ExitRecord | undefined;
  let supervised = true;
  let says: (event: LauncherEvent) => void = () => {};
  const workDir = openWorkDir(folder);
  const supervision = {
    launcher: {
      start: () => {},
      onEvent: (handler: typeof says) => {
        says = handler;
      },
      restart: () => Promise.resolve(),
      close: () => Promise.resolve(),
    },
    findExit: () => end,
    isSupervised: () => supervised,
    hasBegun: () => begun,
    control: () => false,
  };
  const containers = new Containers({
    workDir,
    containerizers: { process: new ProcessContainerizer({ supervision, containersDir: workDir.containers }) },
    switchUser: false,
    users: new Users(),
    volumes: { open: () => '' },
    hostname: 'a',
    executorEnvironment: () => ({}),
    onEvent: (event) => events.push(event),
    onRestarted: () => {},
    onBroken: () => {},
  });
  const task = { frameworkId: 'F', taskId: 't1', executorId: 't1', agentId: 'm1-S0', user: '' };
  const given = { volumes: [], resources: resourcesOf([]), limits: {}, container: undefined };
  containers.start({
    kind: 'start',
    containerId: 'c1',
    sandbox: 'F/t1/c1',
    ...task,
    ...given,
    command: { value: 'true' },
  });
  containers.probe(['c1']);
  begun = true;
  containers.probe(['c1']);
  t.deepEqual(events.splice(0), []);
  end = { kind: 'exited', status: 0, stop: 'none', exitedAtMs: 1_000 };
  containers.probe(['c1']);
  t.deepEqual(events.splice(0), []); // its supervisor lives, and says so itself
  supervised = false;
  containers.probe(['c1']);
  t.like(events.splice(0), [{ kind: 'exited', containerId: 'c1', status: 0 }]);

  end = undefined;
  says({ kind: 'launcher_exited', reason: 'killed' });
  containers.probe(['c1']);
  begun = false;
  containers.probe(['c1']);
  t.like(events, [{ kind: 'lost' }, { kind: 'failed' }]);
});

test('an executor in an image sees the folder of the domain socket, where its environment names it', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'mesobus-containers-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const workDir = openWorkDir(folder);
  const specs: ContainerSpec[] = [];
  const containerizer = {
    onEvent: () => {},
    start: (spec: ContainerSpec) => specs.push(spec),
  } as unknown as Containerizer;
  const containers = new Containers({
    workDir,
    containerizers: { process: containerizer, docker: containerizer },
    switchUser: false,
    users: new Users(),
    volumes: { open: () => '' },
    hostname: 'a',
    executorEnvironment: () => ({ MESOS_DOMAIN_SOCKET: workDir.executorSocket }),
    onEvent: (event) => t.fail(JSON.stringify(event)),
    onRestarted: () => {},
    onBroken: () => {},
  });
  const start = (
    container: mesos.v1.ContainerInfo.$Properties | undefined,
    executor: ExecutorStart | undefined,
  ): void =>
    containers.start({
      ...{
        kind: 'start',
        containerId: `c${specs.length}`,
        sandbox: 'F/e/c',
        frameworkId: 'F',
        taskId: '',
        executorId: 'e',
      },
      ...{
        agentId: 'm1-S0',
        user: '',
        volumes: [],
        resources: resourcesOf([]),
        limits: {},
        command: { value: 'true' },
      },
      ...{ container, executor },
    });
  const executor = { shutdownGraceMs: 5_000, maxBackoffMs: 2_000 };
  const image = { type: mesos.v1.ContainerInfo.Type.DOCKER, docker: { image: 'i' } };
  start(image, executor);
  start(image, undefined);
  start(undefined, executor);
  const socketFolder = join(workDir.root, 'executors');
  const way = { hostPath: socketFolder, containerPath: socketFolder, readOnly: true };
  t.deepEqual(
    specs.map(({ volumes }) => volumes),
    [[way], [], []],
  );
  t.deepEqual(
    specs.map(({ env }) => env['MESOS_DOMAIN_SOCKET']),
    [join(socketFolder, 'agent.sock'), undefined, join(socketFolder, 'agent.sock')],
  );
});
