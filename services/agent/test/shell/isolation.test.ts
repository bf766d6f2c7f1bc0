import {
  existsSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  statfsSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { mesos } from '@mesobus/protos';
import test, { type ExecutionContext } from 'ava';
import type { ContainerizerEvent, ContainerSpec, ContainerUsage } from '../../src/shell/containerizer.ts';
import { mountsOf } from '../../src/shell/mounts.ts';
import { openCgroups } from '../../src/shell/process/cgroups.ts';
import { type Isolation, parseIsolation } from '../../src/shell/process/isolation.ts';
import { control, findExit, hasBegun, isSupervised, startLauncher } from '../../src/shell/process/launcher.ts';
import { findNamespaces } from '../../src/shell/process/namespaces.ts';
import { openProcessContainerizer, ProcessContainerizer } from '../../src/shell/process/process-containerizer.ts';
import { openWorkDir, type WorkDir } from '../../src/shell/work-dir.ts';
import { tempWorkDir, untilIn } from './bench.ts';
import { groupsOf } from './groups.ts';

const isRoot = process.getuid?.() === 0;
const log = { info: () => {}, warn: () => {} };
const megabyte = 2 ** 20;
const nobody = { uid: 65_534, gid: 65_534, groups: [] };
const { REASON_CONTAINER_LIMITATION_MEMORY } = mesos.v1.TaskStatus.Reason;

const cgroups = isRoot
  ? openCgroups({ agentName: 'looks', workDir: 'for groups', enableCfs: false, log })
  : { why: 'not root' };
const namespaces = await findNamespaces(isRoot);
const makers = [
  ['unshare', await findNamespaces(isRoot, ['unshare'])],
  ['bwrap', await findNamespaces(isRoot, ['bwrap'])],
] as const;
if (!('why' in cgroups)) cgroups.close();

/** Says why a test is skipped. */
function needs(title: string, missing: { readonly why: string } | object, run: (t: ExecutionContext) => Promise<void>) {
  if ('why' in missing) test.skip(`${title} (skipped: ${missing.why})`, run);
  else test(title, run);
}
const needsGroups = (title: string, run: (t: ExecutionContext) => Promise<void>) => needs(title, cgroups, run);
const isTmpfs = statfsSync(tmpdir()).type === 0x0102_1994;
const groupsAndDisk = isTmpfs ? { why: 'the temporary folder lies in memory' } : cgroups;
const needsNamespaces = (title: string, run: (t: ExecutionContext) => Promise<void>) => needs(title, namespaces, run);
const needsRoot = (title: string, run: (t: ExecutionContext) => Promise<void>) =>
  needs(title, isRoot ? {} : { why: 'not root' }, run);

type Given = Partial<Pick<ContainerSpec, 'limits' | 'container' | 'volumes' | 'user' | 'env'>>;
type OfKind<Kind extends ContainerizerEvent['kind']> = Extract<ContainerizerEvent, { kind: Kind }>;

/** A process containerizer of a work directory, and what it says. */
class Bench {
  readonly workDir: WorkDir;
  readonly #isolation: string | Isolation;
  readonly #settings: { readonly pidsLimit?: number; readonly logMaxBytes?: number };
  #open: ProcessContainerizer | undefined;
  readonly #events: ContainerizerEvent[] = [];
  readonly #waiting = new Set<() => void>();

  constructor(
    t: ExecutionContext,
    isolation: string | Isolation,
    settings: { readonly pidsLimit?: number; readonly logMaxBytes?: number } = {},
  ) {
    this.workDir = openWorkDir(tempWorkDir(t));
    this.#isolation = isolation;
    this.#settings = settings;
    t.teardown(() => this.close());
  }

  async open(): Promise<ProcessContainerizer> {
    this.#open = await this.#make();
    this.#open.onEvent((event) => {
      this.#events.push(event);
      for (const check of this.#waiting) check();
    });
    return this.#open;
  }

  async #make(): Promise<ProcessContainerizer> {
    const { workDir } = this;
    if (typeof this.#isolation !== 'string') {
      const launcher = await startLauncher({ runDir: workDir.run });
      const supervision = { launcher, findExit, isSupervised, hasBegun, control };
      return new ProcessContainerizer({ supervision, containersDir: workDir.containers, isolation: this.#isolation });
    }
    return openProcessContainerizer({
      agentName: 'a',
      workDir,
      isolation: this.#isolation,
      enableCfs: false,
      pidsLimit: undefined,
      logMaxBytes: 0,
      log,
      ...this.#settings,
    });
  }

  async close(): Promise<void> {
    await this.#open?.close();
    this.#open = undefined;
  }

  start(containerId: string, script: string, given: Given = {}): void {
    const controlDir = this.controlDir(containerId);
    const sandboxDir = this.sandbox(containerId);
    mkdirSync(controlDir, { recursive: true });
    mkdirSync(sandboxDir, { recursive: true });
    this.#open?.start({
      containerId,
      controlDir,
      sandboxDir,
      stdoutPath: join(sandboxDir, 'stdout'),
      stderrPath: join(sandboxDir, 'stderr'),
      file: '/bin/sh',
      argv: ['sh', '-c', script],
      env: { PATH: '/usr/sbin:/usr/bin:/bin', MESOS_SANDBOX: sandboxDir },
      volumes: [],
      limits: { cpus: 1, memBytes: 64 * megabyte, hardMemBytes: 64 * megabyte },
      ...given,
    });
  }

  controlDir = (containerId: string): string => join(this.workDir.containers, containerId);
  sandbox = (containerId: string): string => join(this.workDir.sandboxes, containerId);
  read = (containerId: string, file = 'stdout'): string => readFileSync(join(this.sandbox(containerId), file), 'utf8');

  async until<Kind extends 'started' | 'exited' | 'failed' | 'lost'>(
    containerId: string,
    kind: Kind,
  ): Promise<OfKind<Kind>> {
    for (;;) {
      const found = this.#events.find(
        (event): event is OfKind<Kind> =>
          event.kind === kind && 'containerId' in event && event.containerId === containerId,
      );
      if (found !== undefined) return found;
      await new Promise<void>((resolve) => {
        this.#waiting.add(resolve);
      });
    }
  }

  async runs(containerId: string, script: string, given: Given = {}): Promise<string> {
    this.start(containerId, script, given);
    await this.until(containerId, 'exited');
    return this.read(containerId);
  }

  groups = (containerId = ''): string[] => groupsOf(this.workDir.root, containerId);
}

/** As the kernel says it of a group of version 1, or of version 2. */
const isFrozen = (group: string): boolean =>
  (existsSync(`${group}/freezer.state`) && readFileSync(`${group}/freezer.state`, 'utf8').trim() === 'FROZEN') ||
  (existsSync(`${group}/cgroup.events`) && /^frozen 1$/m.test(readFileSync(`${group}/cgroup.events`, 'utf8')));

/** Gone, or a zombie whom nobody has waited for. */
function isDead(pid: number): boolean {
  try {
    return /^State:\tZ/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return true;
  }
}

const eats = (megabytes: number): string => `head -c ${megabytes}M /dev/zero | tail -c ${megabytes}M >/dev/null`;

needsGroups('a task that takes more memory than its limit is ended for that, with the limit and its use', async (t) => {
  const bench = new Bench(t, 'cgroups');
  await bench.open();
  // The shell itself would survive: an end by memory is an end of all of it.
  bench.start('c1', `${eats(200)}; echo survived`);
  const { limitation } = await bench.until('c1', 'exited');
  t.is(limitation?.reason, REASON_CONTAINER_LIMITATION_MEMORY);
  t.regex(limitation?.message ?? '', /^Memory limit exceeded: Limit: 64MB Maximum Used: 6[34]MB$/);
  t.is(bench.read('c1'), '');
  t.deepEqual(bench.groups(), []);
});

needsGroups('a task may take more memory than it asked for, up to its limit', async (t) => {
  const bench = new Bench(t, 'cgroups');
  await bench.open();
  bench.start('c1', `${eats(80)}; echo lives`, {
    limits: { cpus: 1, memBytes: 32 * megabyte, hardMemBytes: 200 * megabyte },
  });
  bench.start('c2', `${eats(80)}; echo lives`, {
    limits: { cpus: 1, memBytes: 32 * megabyte, hardMemBytes: Number.POSITIVE_INFINITY },
  });
  for (const container of ['c1', 'c2']) {
    t.is((await bench.until(container, 'exited')).limitation, undefined);
    t.is(bench.read(container), 'lives\n');
  }
});

needs('what a task writes to a disk is counted', groupsAndDisk, async (t) => {
  const bench = new Bench(t, 'cgroups');
  const containerizer = await bench.open();
  // By the shell itself: with version 1 what a process did is not known any more when it has ended.
  bench.start('c1', 'i=0; while [ $i -lt 64 ]; do printf %65536s x; i=$((i+1)); done >file; while :; do sleep 1; done');
  await bench.until('c1', 'started');
  let written = 0;
  while (written < 4 * megabyte) {
    await new Promise((wake) => setTimeout(wake, 50));
    const [usage] = await containerizer.usage(['c1']);
    written = usage?.ioWriteBytes ?? 0;
  }
  t.true(written < 64 * megabyte);
  containerizer.control('c1', { kind: 'kill' });
  await bench.until('c1', 'exited');
});

needsGroups('a task with a hard limit of cpus gets no more, also when nobody else needs them', async (t) => {
  const bench = new Bench(t, 'cgroups');
  const containerizer = await bench.open();
  // So little that it would get more also on a busy machine.
  const limits = { cpus: 0.1, hardCpus: 0.02, memBytes: 64 * megabyte, hardMemBytes: 64 * megabyte };
  bench.start('c1', 'while :; do :; done', { limits });
  await bench.until('c1', 'started');
  const measure = async (): Promise<ContainerUsage> => {
    const [usage] = await containerizer.usage(['c1']);
    if (usage === undefined) throw new Error('not measured');
    return usage;
  };
  const first = await measure();
  let last = first;
  const elapsedMs = (): number => last.atMs - first.atMs;
  const cpus = (): number => ((last.cpuSeconds - first.cpuSeconds) * 1_000) / elapsedMs();
  // What it gets too much of is kept from it later: where the clock of the kernel is coarse that takes a while to show.
  while (elapsedMs() < 1_500 || (last.throttledSeconds ?? 0) === 0 || (cpus() >= 0.03 && elapsedMs() < 20_000)) {
    await new Promise((wake) => setTimeout(wake, 100));
    last = await measure();
  }
  t.true(cpus() > 0.002 && cpus() < 0.03, `${cpus()} cpus`);
  t.true(last.memoryBytes > 0 && (last.memoryPeakBytes ?? 0) >= last.memoryBytes);
  containerizer.control('c1', { kind: 'kill' });
  await bench.until('c1', 'exited');
});

needsGroups('a fork bomb is held by the number of its processes', async (t) => {
  const bench = new Bench(t, 'cgroups', { pidsLimit: 20 });
  const containerizer = await bench.open();
  bench.start('c1', 'bomb() { bomb | bomb & }; bomb; echo thrown >thrown; while :; do sleep 1; done');
  await bench.until('c1', 'started');
  await untilIn(bench.sandbox('c1'), () => existsSync(join(bench.sandbox('c1'), 'thrown')));
  for (let sample = 0; sample < 20; sample += 1) {
    const [usage] = await containerizer.usage(['c1']);
    t.true((usage?.processes ?? 0) <= 20);
  }
  containerizer.control('c1', { kind: 'kill' });
  await bench.until('c1', 'exited');
  t.deepEqual(bench.groups(), []);
});

needsGroups('what a killed agent and its killed supervisors leave is killed and removed by the next one', async (t) => {
  const bench = new Bench(t, 'cgroups');
  const before = await bench.open();
  bench.start('gone', 'setsid sh -c "echo \\$\\$ >daemon; exec sleep 1000" & while :; do sleep 1; done');
  bench.start('alive', 'sleep 1000');
  const { supervisorPid } = await bench.until('gone', 'started');
  await bench.until('alive', 'started');
  const daemonFile = join(bench.sandbox('gone'), 'daemon');
  await untilIn(bench.sandbox('gone'), () => existsSync(daemonFile) && bench.read('gone', 'daemon') !== '');
  before.control('gone', { kind: 'pause' }); // what is frozen does not die of the supervisor's death
  await untilIn(bench.controlDir('gone'), () => existsSync(join(bench.controlDir('gone'), 'paused')));
  await bench.close();
  process.kill(supervisorPid, 'SIGKILL');

  const after = await bench.open();
  const found = await after.find(['gone', 'alive']);
  t.deepEqual(
    found.map(({ containerId, supervised }) => [containerId, supervised]),
    [
      ['gone', false],
      ['alive', true],
    ],
  );
  t.deepEqual(bench.groups('gone'), []);
  t.true(bench.groups('alive').length > 0);
  t.true(isDead(Number(bench.read('gone', 'daemon'))));
  after.control('alive', { kind: 'kill' });
  await bench.until('alive', 'exited');
  t.deepEqual(bench.groups(), []);
});

for (const isolation of ['none', 'cgroups'] as const) {
  const title = `a paused task stands still, also for the next agent, and goes on (${isolation})`;
  needs(title, isolation === 'none' ? {} : cgroups, async (t) => {
    const bench = new Bench(t, isolation);
    const before = await bench.open();
    bench.start('c1', 'while :; do echo . >>ticks; sleep 0.01; done');
    await bench.until('c1', 'started');
    const ticks = (): number => (existsSync(join(bench.sandbox('c1'), 'ticks')) ? bench.read('c1', 'ticks').length : 0);
    await untilIn(bench.sandbox('c1'), () => ticks() > 4);
    before.control('c1', { kind: 'pause' });
    const { commandPid } = await bench.until('c1', 'started');
    const isStopped = (): boolean => /^State:\t[TD]/m.test(readFileSync(`/proc/${commandPid}/status`, 'utf8'));
    while (isolation === 'none' ? !isStopped() : !bench.groups('c1').some(isFrozen)) {
      await new Promise((wake) => setTimeout(wake, 10));
    }
    await bench.close();
    const after = await bench.open();
    t.like(await after.find(['c1']), [{ containerId: 'c1', supervised: true, paused: true }]);
    const still = ticks();
    after.control('c1', { kind: 'resume' });
    await untilIn(bench.sandbox('c1'), () => ticks() > still + 2);
    t.like(await after.find(['c1']), [{ paused: false }]);
    after.control('c1', { kind: 'pause' });
    after.control('c1', { kind: 'term', graceMs: 100_000 });
    t.like(await bench.until('c1', 'exited'), { status: 15, stopped: true });
  });
  needs(`a kill ends a paused task (${isolation})`, isolation === 'none' ? {} : cgroups, async (t) => {
    const bench = new Bench(t, isolation);
    const containerizer = await bench.open();
    bench.start('c1', 'sleep 1000');
    await bench.until('c1', 'started');
    containerizer.control('c1', { kind: 'pause' });
    containerizer.control('c1', { kind: 'kill' });
    t.like(await bench.until('c1', 'exited'), { status: 9, stopped: true });
  });
}

test('a task has the resource limits that it asks for', async (t) => {
  const bench = new Bench(t, 'none');
  await bench.open();
  const { RLMT_NOFILE, RLMT_CORE } = mesos.v1.RLimitInfo.RLimit.Type;
  const rlimits = [
    { type: RLMT_NOFILE, soft: 77n, hard: 99n },
    { type: RLMT_CORE, soft: 0n, hard: 0n },
  ];
  const said = await bench.runs('c1', 'ulimit -Sn; ulimit -Hn; ulimit -c', {
    container: mesosContainer({ rlimitInfo: { rlimits } }),
  });
  t.is(said, '77\n99\n0\n');
});

const mesosContainer = (settings: Partial<mesos.v1.ContainerInfo.$Properties>): mesos.v1.ContainerInfo.$Properties => ({
  type: mesos.v1.ContainerInfo.Type.MESOS,
  ...settings,
});

const showPrivileges = "grep -E '^(Uid|Groups|CapEff|CapBnd|CapAmb|NoNewPrivs):' /proc/self/status";

needsRoot('a task has the capabilities that it asks for, also as another user, and no new privileges', async (t) => {
  const bench = new Bench(t, 'no-new-privileges');
  await bench.open();
  const { NET_RAW, CHOWN } = mesos.v1.CapabilityInfo.Capability;
  const container = mesosContainer({
    linuxInfo: {
      effectiveCapabilities: { capabilities: [NET_RAW] },
      boundingCapabilities: { capabilities: [NET_RAW, CHOWN] },
    },
  });
  const said = await bench.runs('c1', showPrivileges, { container, user: { ...nobody, groups: [65_534, 5] } });
  t.regex(said, /Uid:\t65534\t65534\t65534\t65534/);
  t.regex(said, /Groups:\t5 65534/);
  t.regex(said, /CapEff:\t0000000000002000/);
  t.regex(said, /CapBnd:\t0000000000002001/);
  t.regex(said, /NoNewPrivs:\t1/);
});

needsNamespaces(
  'a task with namespaces of its own sees no process but its own, and all of it ends with it',
  async (t) => {
    const bench = new Bench(t, 'namespaces');
    const containerizer = await bench.open();
    const script = 'setsid sleep 1000 & ls -d /proc/[0-9]* | wc -l; readlink /proc/self/ns/pid; echo $FROM; exit 7';
    const said = await bench.runs('c1', script, { env: { PATH: '/usr/bin:/bin', FROM: 'the task' } });
    const [processes, namespace, from] = said.split('\n');
    t.true(Number(processes) < 8, processes);
    t.not(namespace, readlinkSync('/proc/self/ns/pid'));
    t.is(from, 'the task');
    t.like(await bench.until('c1', 'exited'), { status: 7 << 8, stopped: false });

    bench.start('c2', 'trap "exit 3" TERM; echo up >up; while :; do sleep 0.01; done');
    await untilIn(bench.sandbox('c2'), () => existsSync(join(bench.sandbox('c2'), 'up')));
    containerizer.control('c2', { kind: 'term', graceMs: 100_000 });
    t.like(await bench.until('c2', 'exited'), { status: 3 << 8, stopped: true });
    bench.start('c3', 'kill -9 $$');
    t.like(await bench.until('c3', 'exited'), { status: 9, stopped: false });
    bench.start('c4', 'sleep 1000');
    await bench.until('c4', 'started');
    containerizer.control('c4', { kind: 'kill' });
    t.like(await bench.until('c4', 'exited'), { status: 9, stopped: true });
  },
);

for (const [program, made] of makers) {
  needs(
    `namespaces made by ${program} hold processes and volumes, and are paused and ended by signals`,
    made,
    async (t) => {
      if ('why' in made) throw new Error('it was there before');
      const bench = new Bench(t, { namespaces: made, always: true, noNewPrivileges: false, isRoot });
      const containerizer = await bench.open();
      const volumes = [{ hostPath: bench.workDir.root, containerPath: '/mnt', readOnly: true }];
      // It starts nothing when it is stopped: a shell that does waits in vfork, and is never seen to stand still.
      const script =
        'trap "exit 3" TERM; ls -d /proc/[0-9]* | wc -l; ls -d /mnt/sandboxes; sleep 1000 & : >ready; wait';
      bench.start('c1', script, { volumes });
      await untilIn(bench.sandbox('c1'), () => existsSync(join(bench.sandbox('c1'), 'ready')));
      t.regex(bench.read('c1'), /^\d\n\/mnt\/sandboxes\n$/);
      const { commandPid } = await bench.until('c1', 'started');
      t.not(readlinkSync(`/proc/${commandPid}/ns/pid`), readlinkSync('/proc/self/ns/pid'));
      containerizer.control('c1', { kind: 'pause' });
      while (!/^State:\t[T]/m.test(readFileSync(`/proc/${commandPid}/status`, 'utf8'))) {
        await new Promise((wake) => setTimeout(wake, 10));
      }
      containerizer.control('c1', { kind: 'term', graceMs: 100_000 });
      t.like(await bench.until('c1', 'exited'), { status: 3 << 8, stopped: true });
    },
  );
}

for (const [program, made] of makers) {
  needs(`a task has a host name of its own, in a namespace made by ${program}`, made, async (t) => {
    if ('why' in made) throw new Error('it was there before');
    const bench = new Bench(t, { namespaces: made, always: false, noNewPrivileges: false, isRoot });
    const containerizer = await bench.open();
    const before = hostname();
    bench.start('c1', 'uname -n; : >ready; sleep 1000', { container: mesosContainer({ hostname: 'own' }) });
    await untilIn(bench.sandbox('c1'), () => existsSync(join(bench.sandbox('c1'), 'ready')));
    t.is(bench.read('c1'), 'own\n');
    t.is(hostname(), before);
    bench.start('c2', 'true', { container: mesosContainer({ hostname: 'x'.repeat(65) }) });
    t.like(await bench.until('c2', 'failed'), { message: 'invalid argument (EINVAL at hostname)' });
    containerizer.control('c1', { kind: 'kill' });
    await bench.until('c1', 'exited');
  });
}

needsNamespaces('a command that cannot be executed in namespaces says why', async (t) => {
  const bench = new Bench(t, 'namespaces');
  const containerizer = await bench.open();
  bench.start('c0', 'true');
  await bench.until('c0', 'exited');
  const [controlDir, sandboxDir] = [bench.controlDir('c1'), bench.sandbox('c1')];
  mkdirSync(controlDir);
  mkdirSync(sandboxDir);
  const limits = { cpus: 1, memBytes: 0, hardMemBytes: Number.POSITIVE_INFINITY };
  const paths = { controlDir, sandboxDir, stdoutPath: '', stderrPath: '' };
  containerizer.start({ containerId: 'c1', ...paths, argv: ['/no/such'], env: {}, volumes: [], limits });
  t.like(await bench.until('c1', 'failed'), { message: 'no such file or directory (ENOENT at exec)' });
});

needsNamespaces('volumes are mounted where the task wants them, and read-only ones are', async (t) => {
  const bench = new Bench(t, 'none');
  await bench.open();
  const host = join(bench.workDir.root, 'host');
  mkdirSync(host);
  writeFileSync(join(host, 'file'), 'of the host');
  const volumes = [
    { hostPath: host, containerPath: '/mnt', readOnly: true },
    { hostPath: host, containerPath: 'inside', readOnly: false },
  ];
  const script = 'cat /mnt/file; touch /mnt/new 2>/dev/null || echo " is read-only"; touch inside/new';
  t.is(await bench.runs('c1', script, { volumes }), 'of the host is read-only\n');
  t.true(existsSync(join(host, 'new')));
  t.false(existsSync('/mnt/file'));
});

needs(
  'another user who has volumes mounted gets no new privileges',
  isRoot ? namespaces : { why: 'not root' },
  async (t) => {
    const bench = new Bench(t, 'none');
    await bench.open();
    const volumes = [{ hostPath: bench.workDir.root, containerPath: '/mnt', readOnly: false }];
    const privileges = 'grep NoNewPrivs /proc/self/status';
    t.is(await bench.runs('c1', privileges, { volumes, user: nobody }), 'NoNewPrivs:\t1\n');
    t.is(await bench.runs('c2', privileges, { volumes }), 'NoNewPrivs:\t0\n');
  },
);

test('volumes of paths lie on the host or in a sandbox, and no link leads them elsewhere', (t) => {
  const root = tempWorkDir(t);
  const [own, parent] = [join(root, 'own'), join(root, 'parent')];
  for (const folder of [own, parent]) mkdirSync(folder);
  symlinkSync('/', join(own, 'link'));
  const { SELF, PARENT } = mesos.v1.Volume.Source.SandboxPath.Type;
  const { SANDBOX_PATH } = mesos.v1.Volume.Source.Type;
  const mount = (
    volume: Partial<mesos.v1.Volume.$Properties>,
    sandboxes: { own: string; parent?: string } = { own, parent },
  ) =>
    mountsOf(
      mesosContainer({ volumes: [{ mode: mesos.v1.Volume.Mode.RO, containerPath: 'data', ...volume }] }),
      sandboxes,
      undefined,
      () => ({ hostPath: '/dev/shm/secret', readOnly: false }),
    );
  const inSandbox = (type: mesos.v1.Volume.Source.SandboxPath.Type, path: string) => ({
    source: { type: SANDBOX_PATH, sandboxPath: { type, path } },
  });
  const at = (hostPath: string) => [{ hostPath, containerPath: 'data', readOnly: true }];
  t.deepEqual(mount({ hostPath: '/srv' }), at('/srv'));
  const secret = { type: mesos.v1.Volume.Source.Type.SECRET, secret: {} };
  t.deepEqual(mount({ source: secret }), [{ hostPath: '/dev/shm/secret', containerPath: 'data', readOnly: false }]);
  t.throws(() => mount({ source: secret, containerPath: '../x' }), { message: /leads out of the sandbox/ });
  t.deepEqual(mount({ hostPath: 'some/where' }), at(join(own, 'some/where')));
  t.deepEqual(mount(inSandbox(SELF, 'a')), at(join(own, 'a')));
  t.deepEqual(mount(inSandbox(PARENT, 'b')), at(join(parent, 'b')));
  t.true(existsSync(join(parent, 'b')));
  t.throws(() => mount(inSandbox(PARENT, 'b'), { own }), { message: /the task has none/ });
  t.throws(() => mount(inSandbox(SELF, '../b')), { message: /leads out of the sandbox/ });
  t.throws(() => mount(inSandbox(SELF, 'link/tmp/x')), { message: /something else/ });
  t.throws(() => mount({ hostPath: '/srv', containerPath: '../x' }), { message: /leads out of the sandbox/ });
});

test('a volume in the sandbox needs no namespaces: it is linked', async (t) => {
  const bench = new Bench(t, 'none');
  await bench.open();
  const volumes = [{ hostPath: bench.workDir.root, containerPath: 'a/b', readOnly: false }];
  t.is(await bench.runs('c1', 'ls -d a/b/sandboxes', { volumes }), 'a/b/sandboxes\n');
  t.true(statSync(join(bench.sandbox('c1'), 'a/b')).isDirectory());
});

needsNamespaces('a task can have shared memory of its own, of its size', async (t) => {
  const bench = new Bench(t, 'none');
  await bench.open();
  const { PRIVATE } = mesos.v1.LinuxInfo.IpcMode;
  const container = mesosContainer({ linuxInfo: { ipcMode: PRIVATE, shmSize: 8 } });
  const said = await bench.runs('c1', 'readlink /proc/self/ns/ipc; df -m /dev/shm | tail -1', { container });
  const [namespace, disk] = said.split('\n');
  t.not(namespace, readlinkSync('/proc/self/ns/ipc'));
  t.regex(disk ?? '', /^shm +8 /);
});

test('an isolation that nobody knows is refused by name; those of Mesos are known', (t) => {
  t.throws(() => parseIsolation('cgroups,magic'), { message: /'magic'/ });
  t.deepEqual(parseIsolation('cgroups/cpu,cgroups/mem,namespaces/pid'), new Set(['cgroups', 'namespaces']));
  t.deepEqual(parseIsolation('posix/cpu,posix/mem'), new Set());
});

test('outputs are kept to their bound: the latest, and as much before it', async (t) => {
  const bench = new Bench(t, 'none', { logMaxBytes: 1_000 });
  await bench.open();
  await bench.runs('c1', 'i=0; while [ $i -lt 500 ]; do echo line $i; i=$((i+1)); sleep 0; done; echo late >&2');
  const [now, before] = [bench.read('c1'), bench.read('c1', 'stdout.1')];
  t.true(now.length <= 1_000 && before.length <= 1_000);
  const lines = (before + now).trim().split('\n');
  t.is(lines.at(-1), 'line 499');
  const first = Number(lines.at(1)?.split(' ')[1]);
  t.deepEqual(
    lines.slice(1),
    Array.from({ length: 500 - first }, (_, index) => `line ${first + index}`),
  );
  t.is(bench.read('c1', 'stderr'), 'late\n');
});

test('what a task writes while no agent is there is kept', async (t) => {
  const bench = new Bench(t, 'none', { logMaxBytes: 1_000_000 });
  await bench.open();
  bench.start('c1', 'while [ ! -e go ]; do sleep 0.01; done; seq 1 10000; echo done >done');
  await bench.until('c1', 'started');
  await bench.close();
  writeFileSync(join(bench.sandbox('c1'), 'go'), '');
  await untilIn(bench.controlDir('c1'), () => existsSync(join(bench.controlDir('c1'), 'exit')));
  t.is(bench.read('c1').trim().split('\n').length, 10_000);
});

test('a task that asks for a terminal has one, which is typed on and resized', async (t) => {
  const bench = new Bench(t, 'none', { logMaxBytes: 1_000_000 });
  await bench.open();
  const container = mesosContainer({ ttyInfo: { windowSize: { rows: 11, columns: 22 } } });
  bench.start('c1', 'stty size; read word; echo got $word; stty size; tty', { container });
  await untilIn(
    bench.sandbox('c1'),
    () => existsSync(join(bench.sandbox('c1'), 'stdout')) && bench.read('c1').includes('11 22'),
  );
  t.true(control(bench.controlDir('c1'), { kind: 'resize', rows: 33, columns: 44 }));
  writeFileSync(join(bench.controlDir('c1'), 'stdin'), 'hello\n', { flag: 'a' });
  t.like(await bench.until('c1', 'exited'), { status: 0 });
  t.regex(bench.read('c1'), /^11 22\r\nhello\r\ngot hello\r\n33 44\r\n\/dev\/pts\/\d+\r\n$/);
});

async function textOf(stream: NodeJS.ReadableStream): Promise<string> {
  let text = '';
  for await (const part of stream) text += String(part);
  return text;
}

for (const isolation of ['none', 'cgroups,namespaces'] as const) {
  const missing = isolation === 'none' ? {} : 'why' in cgroups ? cgroups : namespaces;
  needs(`a command runs in a running container, with its user and groups (${isolation})`, missing, async (t) => {
    const bench = new Bench(t, isolation);
    const containerizer = await bench.open();
    bench.start('c1', 'sleep 1000', isRoot ? { user: nobody } : {});
    await bench.until('c1', 'started');
    const place = { env: { PATH: '/usr/bin:/bin' }, cwd: bench.sandbox('c1'), ...(isRoot && { user: nobody }) };
    const script =
      'pwd; id -u; readlink /proc/self/ns/pid; cat /proc/self/cgroup | grep -cE "/c1(/|$)"; cat; echo bad >&2; exit 5';
    const inner = containerizer.run('c1', { argv: ['sh', '-c', script], ...place });
    inner.stdin.end('typed');
    const [said, complained, end] = await Promise.all([textOf(inner.stdout), textOf(inner.stderr), inner.ended]);
    const [cwd, user, namespace, groups, typed] = said.split('\n');
    const { commandPid } = await bench.until('c1', 'started');
    t.is(cwd, bench.sandbox('c1'));
    t.is(user, String(isRoot ? nobody.uid : process.getuid?.()));
    t.is(namespace, readlinkSync(`/proc/${commandPid}/ns/pid`));
    t.is(Number(groups) > 0, isolation !== 'none');
    t.deepEqual([typed, complained, end], ['typed', 'bad\n', { kind: 'exited', status: 5 << 8 }]);

    const missing = containerizer.run('c1', { argv: ['/no/such'], ...place });
    t.deepEqual(await missing.ended, { kind: 'failed', message: 'no such file or directory (at exec)' });
    const killed = containerizer.run('c1', { argv: ['sleep', '1000'], ...place });
    killed.kill('SIGINT');
    t.deepEqual(await killed.ended, { kind: 'exited', status: 2 });
    const seated = containerizer.run('c1', {
      argv: ['sh', '-c', 'read x; stty size'],
      ...place,
      tty: { rows: 5, columns: 6 },
    });
    seated.resize({ rows: 7, columns: 8 });
    seated.stdin.write('\n');
    t.is(await textOf(seated.stdout), '\r\n7 8\r\n');

    const left = containerizer.run('c1', { argv: ['sh', '-c', 'setsid sleep 1000 >&- 2>&- & echo $!'], ...place });
    const leftPid = (await textOf(left.stdout)).trim();
    t.regex(leftPid, /^\d+$/);
    await left.ended;
    const asked = containerizer.run('c1', { argv: ['sh', '-c', `kill -0 ${leftPid}`], ...place });
    t.deepEqual(await asked.ended, { kind: 'exited', status: 1 << 8 });

    const outlives = containerizer.run('c1', { argv: ['sh', '-c', 'setsid sleep 1000 & sleep 1000'], ...place });
    containerizer.control('c1', { kind: 'kill' });
    await bench.until('c1', 'exited');
    await outlives.ended;
    t.throws(() => containerizer.run('c1', { argv: ['true'], ...place }), { message: /it does not run/ });
    while (isSupervised(bench.controlDir('c1'))) await wait(10); // it says how its command ended just before it ends itself
    t.deepEqual(bench.groups(), []);
  });
}
