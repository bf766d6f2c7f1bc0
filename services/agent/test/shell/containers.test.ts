import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { resourcesOf } from '@mesobus/sdk/resources';
import test from 'ava';
import type { ContainerEvent } from '../../src/core/index.ts';
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
    isSupervised: () => false,
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
  t.like(events.splice(0), [{ kind: 'exited', containerId: 'c1', status: 0 }]);

  end = undefined;
  says({ kind: 'launcher_exited', reason: 'killed' });
  containers.probe(['c1']);
  begun = false;
  containers.probe(['c1']);
  t.like(events, [{ kind: 'lost' }, { kind: 'failed' }]);
});
