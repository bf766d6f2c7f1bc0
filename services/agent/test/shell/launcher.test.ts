import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  chmodSync,
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import test, { type ExecutionContext } from 'ava';
import {
  control,
  decodeWaitStatus,
  findExit,
  hasBegun,
  isSupervised,
  type Launcher,
  type LauncherEvent,
  type LaunchSpec,
  launcherBinary,
  startLauncher,
} from '../../src/shell/process/launcher.ts';

const native = fileURLToPath(new URL('../../native/', import.meta.url));
const module = new URL('../../src/shell/process/launcher.ts', import.meta.url).href;
const isRoot = process.getuid?.() === 0;
const nobody = 65_534;

type OfKind<Kind extends LauncherEvent['kind']> = Extract<LauncherEvent, { kind: Kind }>;

/** A temp folder, launchers on it, and the events they sent; everything ends with the test. */
class Bench {
  readonly folder: string = mkdtempSync(join(tmpdir(), 'mesobus-launcher-'));
  readonly runDir: string = join(this.folder, 'run');
  readonly events: LauncherEvent[] = [];
  readonly #launchers: Launcher[] = [];
  readonly #processes: ChildProcess[] = [];
  readonly #waiting = new Set<() => void>();

  constructor(t: ExecutionContext) {
    chmodSync(this.folder, 0o755); // another user must reach the sandboxes
    t.teardown(() => this.#end());
  }

  async launcher(): Promise<Launcher> {
    const launcher = await startLauncher({ runDir: this.runDir });
    this.#launchers.push(launcher);
    launcher.onEvent((event) => {
      this.events.push(event);
      for (const check of this.#waiting) check();
    });
    return launcher;
  }

  spec(containerId: string, argv: readonly [string, ...string[]], rest: Partial<LaunchSpec> = {}): LaunchSpec {
    const [controlDir, sandboxDir] = [this.controlDir(containerId), this.sandbox(containerId)];
    mkdirSync(controlDir, { recursive: true });
    mkdirSync(sandboxDir, { recursive: true });
    const [stdoutPath, stderrPath] = [join(sandboxDir, 'stdout'), join(sandboxDir, 'stderr')];
    const env = { PATH: '/usr/bin:/bin' };
    return { containerId, controlDir, sandboxDir, stdoutPath, stderrPath, argv, env, ...rest };
  }

  shell(containerId: string, script: string, rest: Partial<LaunchSpec> = {}): LaunchSpec {
    return this.spec(containerId, ['sh', '-c', script], rest);
  }

  controlDir(containerId: string): string {
    return join(this.folder, 'control', containerId);
  }

  sandbox(containerId: string): string {
    return join(this.folder, 'sandbox', containerId);
  }

  read(containerId: string, file: string): string {
    return readFileSync(join(this.sandbox(containerId), file), 'utf8');
  }

  /** The first event of a kind, of a container if one is given; waits for it. */
  event<Kind extends LauncherEvent['kind']>(kind: Kind, containerId?: string): Promise<OfKind<Kind>> {
    const { promise, resolve } = Promise.withResolvers<OfKind<Kind>>();
    const check = (): void => {
      const found = this.events.find((event): event is OfKind<Kind> => {
        const id = 'containerId' in event ? event.containerId : undefined;
        return event.kind === kind && (containerId === undefined || id === containerId);
      });
      if (found === undefined) return;
      this.#waiting.delete(check);
      resolve(found);
    };
    this.#waiting.add(check);
    check();
    return promise;
  }

  /** A process that owns a launcher on this folder, starts these and prints the events. `before` is shell, `after` is not. */
  agent(specs: readonly LaunchSpec[], { before = ':', after = '' } = {}): ChildProcess {
    const code = `
      import { startLauncher } from ${JSON.stringify(module)};
      const launcher = await startLauncher({ runDir: ${JSON.stringify(this.runDir)} });
      launcher.onEvent((event) => console.log(JSON.stringify(event)));
      for (const spec of ${JSON.stringify(specs)}) launcher.start(spec);
      ${after}`;
    const args = [process.execPath, '--input-type=module', '-e', code];
    return this.process('sh', ['-c', `${before}; exec "$@"`, 'sh', ...args]);
  }

  process(file: string, args: readonly string[]): ChildProcess {
    const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'pipe'] });
    this.#processes.push(child);
    return child;
  }

  async #end(): Promise<void> {
    for (const child of this.#processes) child.kill('SIGKILL');
    for (const launcher of this.#launchers) await launcher.close();
    const all = join(this.folder, 'control');
    const dirs = existsSync(all) ? readdirSync(all).map((name) => join(all, name)) : [];
    for (const dir of dirs) control(dir, { kind: 'kill' });
    for (const dir of dirs) await until(() => !isSupervised(dir));
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** For what sends no event: another process's file, a process that is not ours to wait for. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await wait(5);
}

function isAlive(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return !/\) [ZX] /.test(stat);
  } catch {
    return false;
  }
}

/** Whether a process waits for the lock of a run directory; the kernel marks such lines with '->'. */
function isWaitingForLock(runDir: string): boolean {
  const inode = `:${statSync(join(runDir, 'launcher.lock')).ino} `;
  const lines = readFileSync('/proc/locks', 'latin1').split('\n');
  return lines.some((line) => line.includes('->') && line.includes(inode));
}

async function firstLine(child: ChildProcess): Promise<string> {
  if (child.stdout === null) throw new Error('the process has no standard output to read');
  for await (const line of createInterface({ input: child.stdout })) return line;
  throw new Error('the process ended without a line');
}

async function kill(child: ChildProcess): Promise<void> {
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
}

test('the binary for this machine was built from the committed source', (t) => {
  const source = createHash('sha256')
    .update(readFileSync(join(native, 'launcher.c')))
    .digest('hex');
  t.is(execFileSync(launcherBinary(), ['--version'], { encoding: 'utf8' }).trim(), source);
});

test('the binaries of both architectures contain the hash of the committed source', (t) => {
  const source = createHash('sha256')
    .update(readFileSync(join(native, 'launcher.c')))
    .digest('hex');
  for (const arch of ['x64', 'arm64']) {
    t.true(readFileSync(launcherBinary('linux', arch)).includes(source), `run native/build.sh for ${arch}`);
  }
});

test('a platform without a binary is refused by name', (t) => {
  t.throws(() => launcherBinary('darwin', 'arm64'), { message: /darwin-arm64/ });
});

const statuses = [
  [0, { exitCode: 0 }],
  [137 << 8, { exitCode: 137 }],
  [9, { signal: 'SIGKILL' }],
  [6 | 0x80, { signal: 'SIGABRT' }],
  [40, { signal: 'SIG40' }],
] as const;
for (const [status, meaning] of statuses) {
  test(`the wait status ${status} means ${JSON.stringify(meaning)}`, (t) => {
    t.deepEqual(decodeWaitStatus(status), meaning);
  });
}

for (const exitCode of [0, 3, 137]) {
  test(`exit ${exitCode} is reported as that exit code, in the event and in the record`, async (t) => {
    const bench = new Bench(t);
    const launcher = await bench.launcher();
    const before = Date.now();
    launcher.start(bench.shell('c1', `exit ${exitCode}`));
    const { kind, status, stop, exitedAtMs } = await bench.event('exited', 'c1');
    t.deepEqual(decodeWaitStatus(status), { exitCode });
    t.is(stop, 'none');
    t.true(exitedAtMs >= before && exitedAtMs <= Date.now() + 1);
    t.deepEqual(findExit(bench.controlDir('c1')), { kind, status, stop, exitedAtMs });
    t.deepEqual(
      bench.events.map((event) => event.kind),
      ['started', 'exited'],
    );
  });
}

test('a SIGKILL by hand is reported as a signal that the launcher did not send', async (t) => {
  const bench = new Bench(t);
  const launcher = await bench.launcher();
  launcher.start(bench.spec('c1', ['sleep', '1000']));
  process.kill((await bench.event('started', 'c1')).pid, 'SIGKILL');
  const { status, stop } = await bench.event('exited', 'c1');
  t.deepEqual(decodeWaitStatus(status), { signal: 'SIGKILL' });
  t.is(stop, 'none');
});

test('output is appended to the given files and the command begins in its sandbox', async (t) => {
  const bench = new Bench(t);
  const launcher = await bench.launcher();
  const spec = bench.shell('c1', 'pwd; echo bad >&2; cat');
  writeFileSync(spec.stdoutPath, 'before\n');
  launcher.start(spec);
  await bench.event('exited', 'c1');
  t.is(bench.read('c1', 'stdout'), `before\n${bench.sandbox('c1')}\n`);
  t.is(bench.read('c1', 'stderr'), 'bad\n');
});

test('the environment is exactly what was given', async (t) => {
  const bench = new Bench(t);
  const launcher = await bench.launcher();
  launcher.start(bench.spec('c1', ['/usr/bin/env'], { env: { ZERO: '', NAME: 'größe = 1' } }));
  await bench.event('exited', 'c1');
  t.is(bench.read('c1', 'stdout'), 'ZERO=\nNAME=größe = 1\n');
});

test('a command gets no descriptor but the first three, no blocked and no ignored signal', async (t) => {
  const bench = new Bench(t);
  const launcher = await bench.launcher();
  launcher.start(bench.spec('c1', ['sleep', '1000']));
  const { pid } = await bench.event('started', 'c1');
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  t.deepEqual(readdirSync(`/proc/${pid}/fd`), ['0', '1', '2']);
  t.regex(status, /SigBlk:\t0{16}\nSigIgn:\t0{16}\n/);
});

test('a command is found in the PATH of its own environment, and a script needs no first line', async (t) => {
  const bench = new Bench(t);
  const launcher = await bench.launcher();
  const spec = bench.spec('c1', ['zero', 'one', 'two'], { file: 'tool', env: { PATH: `/none:${bench.folder}` } });
  writeFileSync(join(bench.folder, 'tool'), 'echo "$1 $2"\n', { mode: 0o755 });
  launcher.start(spec);
  await bench.event('exited', 'c1');
  t.is(bench.read('c1', 'stdout'), 'one two\n');
});

const failures = [
  ['a missing binary', { argv: ['no-such-binary'] }, 'exec', 'ENOENT'],
  ['a file that may not be executed', { file: '/etc/passwd' }, 'exec', 'EACCES'],
  ['a missing sandbox', { sandboxDir: '/no/such/folder' }, 'chdir', 'ENOENT'],
  ['an output file in a missing folder', { stdoutPath: '/no/such/folder/stdout' }, 'stdout', 'ENOENT'],
  ['a missing cgroup', { settings: ['join', '/no/such/cgroup.procs'] }, 'cgroup', 'ENOENT'],
] as const;
for (const [what, change, stage, code] of failures) {
  test(`${what} fails the start at '${stage}' with ${code}, in the event and in the record`, async (t) => {
    const bench = new Bench(t);
    const launcher = await bench.launcher();
    launcher.start(bench.spec('c1', ['true'], change));
    t.like(await bench.event('failed', 'c1'), { stage, code });
    t.like(findExit(bench.controlDir('c1')), { kind: 'failed', stage, code });
  });
}

test('what no frame can carry fails the start, and the launcher goes on', async (t) => {
  const bench = new Bench(t);
  const launcher = await bench.launcher();
  launcher.start(bench.spec('nul', ['true'], { env: { BAD: 'a\0b' } }));
  launcher.start(bench.spec('huge', ['true', 'x'.repeat(5 << 20)]));
  launcher.start(bench.spec('long', ['true', 'x'.repeat(3 << 20)])); // a frame, but more than the kernel takes
  launcher.start(bench.spec('good', ['true']));
  t.like(await bench.event('failed', 'nul'), { stage: 'frame', code: 'EINVAL' });
  t.like(await bench.event('failed', 'huge'), { stage: 'frame', code: 'E2BIG' });
  t.like(await bench.event('failed', 'long'), { stage: 'exec', code: 'E2BIG' });
  t.like(await bench.event('exited', 'good'), { status: 0 });
});

test('an output file that is a link is not followed', async (t) => {
  const bench = new Bench(t);
  const launcher = await bench.launcher();
  const spec = bench.shell('c1', 'echo overwritten');
  execFileSync('ln', ['-s', join(bench.folder, 'victim'), spec.stdoutPath]);
  launcher.start(spec);
  t.like(await bench.event('failed', 'c1'), { stage: 'stdout', code: 'ELOOP' });
  t.false(existsSync(join(bench.folder, 'victim')));
});

test('a second start in one control directory fails and leaves the first alone', async (t) => {
  const bench = new Bench(t);
  const launcher = await bench.launcher();
  const spec = bench.spec('c1', ['sleep', '1000']);
  launcher.start(spec);
  await bench.event('started', 'c1');
  launcher.start(spec);
  t.like(await bench.event('failed', 'c1'), { stage: 'control', code: 'EEXIST' });
  t.true(isSupervised(spec.controlDir));
  t.is(findExit(spec.controlDir), undefined);
});

test('a command enters its cgroups by itself', async (t) => {
  const bench = new Bench(t);
  const launcher = await bench.launcher();
  const file = join(bench.folder, 'cgroup.procs');
  writeFileSync(file, '');
  launcher.start(bench.spec('c1', ['true'], { settings: ['join', file] }));
  await bench.event('exited', 'c1');
  t.is(readFileSync(file, 'utf8'), '0'); // for the kernel: whoever writes
});

test(`a command ${isRoot ? 'becomes its user, with those groups, and owns its output' : 'cannot become another'}`, async (t) => {
  const bench = new Bench(t);
  const launcher = await bench.launcher();
  const user = { uid: nobody, gid: nobody, groups: [nobody, 12_345] };
  launcher.start(bench.shell('c1', 'id -u; id -g; id -G', { user }));
  if (!isRoot) {
    t.like(await bench.event('failed', 'c1'), { code: 'EPERM' });
    return;
  }
  await bench.event('exited', 'c1');
  t.is(bench.read('c1', 'stdout'), `${nobody}\n${nobody}\n${nobody} 12345\n`);
  const { uid, gid, mode } = statSync(join(bench.sandbox('c1'), 'stdout'));
  t.deepEqual([uid, gid, mode & 0o777], [nobody, nobody, 0o644]);
});

test('an agent that is spared by the OOM killer does not pass that on', async (t) => {
  const bench = new Bench(t);
  const spec = bench.spec('c1', ['cat', '/proc/self/oom_score_adj']);
  bench.agent([spec], { before: 'echo -100 2>/dev/null >/proc/self/oom_score_adj' }); // without root it stays as it is
  await until(() => findExit(spec.controlDir) !== undefined);
  t.true(Number(bench.read('c1', 'stdout')) >= 0);
});

test('term lets a command end by itself within the grace', async (t) => {
  const bench = new Bench(t);
  const launcher = await bench.launcher();
  const spec = bench.shell('c1', 'trap "exit 7" TERM; echo ready; sleep 1000 & wait');
  launcher.start(spec);
  await until(() => existsSync(spec.stdoutPath) && bench.read('c1', 'stdout') !== '');
  t.true(control(spec.controlDir, { kind: 'term', graceMs: 60_000 }));
  const { status, stop } = await bench.event('exited', 'c1');
  t.deepEqual(decodeWaitStatus(status), { exitCode: 7 });
  t.is(stop, 'term');
});

/** A command that ignores SIGTERM, as its child does; runs once this resolves with the child's pid. */
async function startStubborn(bench: Bench, launcher: Launcher): Promise<{ controlDir: string; childPid: number }> {
  const spec = bench.shell('c1', 'trap "" TERM; sleep 1000 & echo $!; wait; wait');
  launcher.start(spec);
  await until(() => existsSync(spec.stdoutPath) && bench.read('c1', 'stdout').endsWith('\n'));
  return { controlDir: spec.controlDir, childPid: Number(bench.read('c1', 'stdout')) };
}

test('a command that ignores SIGTERM is killed after the grace, with its children', async (t) => {
  const bench = new Bench(t);
  const { controlDir, childPid } = await startStubborn(bench, await bench.launcher());
  t.true(isAlive(childPid));
  const before = Date.now();
  control(controlDir, { kind: 'term', graceMs: 200 });
  const { status, stop, exitedAtMs } = await bench.event('exited', 'c1');
  t.deepEqual(decodeWaitStatus(status), { signal: 'SIGKILL' });
  t.is(stop, 'escalated');
  t.true(exitedAtMs - before >= 190);
  t.false(isAlive(childPid));
});

const repeated = [
  ['a later term with a shorter grace shortens it', 3_600_000, 0],
  ['a later term with a longer grace does not lengthen it', 50, 3_600_000],
] as const;
for (const [title, first, second] of repeated) {
  test(title, async (t) => {
    const bench = new Bench(t);
    const { controlDir } = await startStubborn(bench, await bench.launcher());
    control(controlDir, { kind: 'term', graceMs: first });
    control(controlDir, { kind: 'term', graceMs: second });
    t.is((await bench.event('exited', 'c1')).stop, 'escalated');
  });
}

test('kill ends at once a command whose grace is long', async (t) => {
  const bench = new Bench(t);
  const { controlDir } = await startStubborn(bench, await bench.launcher());
  control(controlDir, { kind: 'term', graceMs: 3_600_000 });
  control(controlDir, { kind: 'kill' });
  t.is((await bench.event('exited', 'c1')).stop, 'kill');
});

test('a signal reaches the command, and a half-written line before it does no harm', async (t) => {
  const bench = new Bench(t);
  const launcher = await bench.launcher();
  const spec = bench.shell('c1', 'trap "exit 9" USR1; echo ready; sleep 1000 & wait');
  launcher.start(spec);
  await until(() => existsSync(spec.stdoutPath) && bench.read('c1', 'stdout') !== '');
  writeFileSync(join(spec.controlDir, 'control'), 'nonsense\nki');
  t.true(control(spec.controlDir, { kind: 'signal', number: 10 }));
  const { status, stop } = await bench.event('exited', 'c1');
  t.deepEqual(decodeWaitStatus(status), { exitCode: 9 });
  t.is(stop, 'none');
});

test('a daemon that a command leaves behind is dead when the exit is reported', async (t) => {
  const bench = new Bench(t);
  const launcher = await bench.launcher();
  const daemon = `setsid sh -c 'echo $$ >pid; (setsid sleep 1000 & echo $! >pid2); sleep 1000' &`;
  launcher.start(bench.shell('c1', `${daemon} until [ -s pid2 ]; do sleep 0.01; done; exit 4`));
  const { status } = await bench.event('exited', 'c1');
  t.deepEqual(decodeWaitStatus(status), { exitCode: 4 });
  t.false(isAlive(Number(bench.read('c1', 'pid'))));
  t.false(isAlive(Number(bench.read('c1', 'pid2'))));
});

test('a supervisor killed with SIGKILL is reported as lost, and its command and their children die', async (t) => {
  const bench = new Bench(t);
  const launcher = await bench.launcher();
  const spec = bench.shell('c1', 'setsid sleep 1000 & echo $! >pid; wait');
  launcher.start(spec);
  const { pid, supervisorPid } = await bench.event('started', 'c1');
  const file = join(spec.sandboxDir, 'pid');
  await until(() => existsSync(file) && bench.read('c1', 'pid').endsWith('\n'));
  process.kill(supervisorPid, 'SIGKILL');
  t.deepEqual(decodeWaitStatus((await bench.event('lost', 'c1')).status), { signal: 'SIGKILL' });
  await until(() => !isAlive(pid) && !isAlive(Number(bench.read('c1', 'pid'))));
  t.false(isSupervised(spec.controlDir));
  t.is(findExit(spec.controlDir), undefined);
  t.true(hasBegun(spec.controlDir), 'it is told from one that never ran');
});

test('500 starts in one burst all report their start and their end', async (t) => {
  const bench = new Bench(t);
  const launcher = await bench.launcher();
  const ids = Array.from({ length: 500 }, (_, index) => `c${index}`);
  for (const id of ids) launcher.start(bench.spec(id, ['sh', '-c', `exit ${Number(id.slice(1)) % 200}`]));
  const ends = await Promise.all(ids.map((id) => bench.event('exited', id)));
  t.deepEqual(
    ends.map((end) => end.status >> 8),
    ids.map((id) => Number(id.slice(1)) % 200),
  );
  t.is(bench.events.filter((event) => event.kind === 'started').length, 500);
});

test('a command outlives its agent, and the next agent controls it and hears of its end', async (t) => {
  const bench = new Bench(t);
  const spec = bench.spec('c1', ['sleep', '1000']);
  const agent = bench.agent([spec]);
  const started: LauncherEvent = JSON.parse(await firstLine(agent));
  await kill(agent);

  const launcher = await bench.launcher();
  t.true(isSupervised(spec.controlDir));
  t.is(findExit(spec.controlDir), undefined);
  control(spec.controlDir, { kind: 'report' });
  t.deepEqual<LauncherEvent, LauncherEvent>(await bench.event('started', 'c1'), started);
  control(spec.controlDir, { kind: 'term', graceMs: 60_000 });
  t.deepEqual(decodeWaitStatus((await bench.event('exited', 'c1')).status), { signal: 'SIGTERM' });
  t.truthy(launcher.pid);
});

test('an exit while there is no agent is in the record', async (t) => {
  const bench = new Bench(t);
  const spec = bench.shell('c1', 'until [ -e go ]; do sleep 0.01; done; exit 5');
  const agent = bench.agent([spec]);
  await firstLine(agent);
  await kill(agent);
  writeFileSync(join(spec.sandboxDir, 'go'), '');
  await until(() => findExit(spec.controlDir) !== undefined);
  t.like(findExit(spec.controlDir), { kind: 'exited', status: 5 << 8 });
  await until(() => !isSupervised(spec.controlDir));
  t.false(control(spec.controlDir, { kind: 'kill' }));
});

test('when the next launcher is ready, every command that a dead agent asked for can be found', async (t) => {
  const bench = new Bench(t);
  const specs = Array.from({ length: 50 }, (_, index) => bench.spec(`c${index}`, ['sleep', '1000']));
  const agent = bench.agent(specs, {
    after: `setImmediate(() => setImmediate(() => process.kill(process.pid, 'SIGKILL')));`,
  });
  await once(agent, 'exit');
  await bench.launcher();
  t.deepEqual(
    specs.map((spec) => isSupervised(spec.controlDir)),
    specs.map(() => true),
  );
});

test('a launcher that dies is reported and can be started again, and commands go on', async (t) => {
  const bench = new Bench(t);
  const launcher = await bench.launcher();
  const spec = bench.shell('c1', 'until [ -e go ]; do sleep 0.01; done');
  launcher.start(spec);
  await bench.event('started', 'c1');
  process.kill(launcher.pid ?? 0, 'SIGKILL');
  t.regex((await bench.event('launcher_exited')).reason, /SIGKILL/);
  launcher.start(bench.spec('c2', ['true']));
  t.like(await bench.event('failed', 'c2'), { stage: 'launcher', code: 'EPIPE' });

  await launcher.restart();
  launcher.start(bench.spec('c3', ['true']));
  await bench.event('exited', 'c3');
  t.true(isSupervised(spec.controlDir));
  writeFileSync(join(spec.sandboxDir, 'go'), '');
  t.is((await bench.event('exited', 'c1')).status, 0);
});

test('a closed launcher has started all it was given and leaves it running', async (t) => {
  const bench = new Bench(t);
  const launcher = await bench.launcher();
  const spec = bench.spec('c1', ['sleep', '1000']);
  launcher.start(spec);
  await launcher.close();
  await until(() => isSupervised(spec.controlDir));
  t.is(launcher.pid, undefined);
});

test('events wait while the FIFO is full, and come when the agent reads again', async (t) => {
  const bench = new Bench(t);
  const launcher = await startLauncher({ runDir: bench.runDir });
  t.teardown(() => launcher.close());
  launcher.start(bench.spec('c1', ['true'])); // the launcher has the FIFO open, so its size is what it will be
  await until(() => findExit(bench.controlDir('c1')) !== undefined);
  const fd = openSync(join(bench.runDir, 'events'), constants.O_WRONLY | constants.O_NONBLOCK);
  t.throws(
    () => {
      for (;;) writeSync(fd, '\n'.repeat(4096));
    },
    { code: 'EAGAIN' },
  );
  closeSync(fd);
  launcher.start(bench.shell('c2', 'exit 6'));
  await until(() => findExit(bench.controlDir('c2')) !== undefined);
  const { promise, resolve } = Promise.withResolvers<LauncherEvent[]>();
  const events: LauncherEvent[] = [];
  launcher.onEvent((event) => {
    events.push(event);
    if (event.kind === 'exited' && event.containerId === 'c2') resolve(events);
  });
  const kinds = (await promise).filter((event) => 'containerId' in event && event.containerId === 'c2');
  t.deepEqual(
    kinds.map((event) => event.kind),
    ['started', 'exited'],
  );
});

test('a run directory that cannot be used is named in the error', async (t) => {
  const bench = new Bench(t);
  mkdirSync(join(bench.runDir, 'launcher.lock'), { recursive: true });
  await t.throwsAsync(startLauncher({ runDir: bench.runDir }), { message: /launcher\.lock': Is a directory/ });
});

test('a worker thread, which would close what is not its own when it ends, cannot start a launcher', async (t) => {
  const bench = new Bench(t);
  const code = `
    import(${JSON.stringify(module)})
      .then(({ startLauncher }) => startLauncher({ runDir: ${JSON.stringify(bench.runDir)} }))
      .then((launcher) => launcher.close());`;
  const ended = once(new Worker(code, { eval: true }), 'exit');
  await t.throwsAsync(ended, { any: true, message: /in a worker thread/ }); // any: an Error of the other thread
  t.false(existsSync(bench.runDir));
});

test('the next launcher of a directory waits until the one before has ended', async (t) => {
  const bench = new Bench(t);
  const first = await bench.launcher();
  let secondReady = false;
  const second = bench.launcher().then(() => {
    secondReady = true;
  });
  await until(() => isWaitingForLock(bench.runDir));
  t.false(secondReady);
  await first.close();
  await second;
  t.true(secondReady);
});

const malformed = [
  ['too long', Buffer.from([0xff, 0xff, 0xff, 0x7f])],
  ['unknown kind', Buffer.from([4, 0, 0, 0, 9, 0, 0, 0])],
  ['within a number', Buffer.from([4, 0, 0, 0, 1, 0, 0, 0])],
] as const;
for (const [why, bytes] of malformed) {
  test(`the launcher says '${why}' of a malformed frame and ends`, async (t) => {
    const bench = new Bench(t);
    mkdirSync(bench.runDir);
    const child = bench.process(launcherBinary(), [bench.runDir]);
    let stderr = '';
    child.stderr?.on('data', (data) => {
      stderr += data;
    });
    child.stdin?.end(bytes);
    t.deepEqual(await once(child, 'close'), [2, null]);
    t.regex(stderr, new RegExp(`malformed frame: .*${why}`));
  });
}
