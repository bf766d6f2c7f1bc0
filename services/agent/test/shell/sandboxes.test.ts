import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mesos } from '@mesobus/protos';
import { ManualClock } from '@mesobus/sdk/bus';
import test, { type ExecutionContext } from 'ava';
import { DiskMeter } from '../../src/shell/disk-meter.ts';
import { SandboxCollector } from '../../src/shell/sandbox-collector.ts';
import { Reason, run, TaskState } from '../world.ts';
import { Bench } from './bench.ts';

const hour = 3_600_000;
const log = { info: () => {}, warn: () => {} };

function tempFolder(t: ExecutionContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'mesobus-sandboxes-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A collector over some sandboxes; the disk is as full as the test says. */
function setUp(t: ExecutionContext) {
  const sandboxes = tempFolder(t);
  const disk = { usage: 0.4, now: 1_000 * hour };
  const make = (path: string, endedAgoMs = 0): void => {
    const folder = join(sandboxes, path);
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'stdout'), 'x');
    const at = (disk.now - endedAgoMs) / 1_000;
    utimesSync(folder, at, at);
  };
  const collector = (): SandboxCollector =>
    new SandboxCollector({
      ...{ sandboxes, gcDelayMs: 10 * hour, gcDiskHeadroom: 0.1, diskWatchIntervalMs: 60_000, log },
      ...{ clock: new ManualClock(), now: () => disk.now, diskUsage: async () => disk.usage },
    });
  const left = (): string[] =>
    readdirSync(sandboxes, { recursive: true, encoding: 'utf8' })
      .filter((path) => path.split('/').length === 3)
      .sort();
  return { sandboxes, disk, make, collector, left };
}

test('a sandbox goes when it is older than the disk allows: gc_delay * (1 - headroom - used part)', async (t) => {
  const { disk, make, collector, left } = setUp(t);
  make('F/old/c1', 5.1 * hour);
  make('F/young/c2', 4.9 * hour);
  const one = collector();
  one.start(() => false);
  await one.collect();
  t.deepEqual(left(), ['F/young/c2']);
  disk.usage = 0.6;
  await one.collect();
  t.deepEqual(left(), []);
});

test('on a disk that is full everything that has ended goes, and nothing else', async (t) => {
  const { sandboxes, disk, make, collector, left } = setUp(t);
  make('F/t/ended', 1);
  make('F/t/alive', 100 * hour);
  make('G/t/ended-too', 1);
  disk.usage = 0.95;
  const one = collector();
  one.start((containerId) => containerId === 'alive');
  await one.collect();
  t.deepEqual(left(), ['F/t/alive']);
  t.false(existsSync(join(sandboxes, 'G')), 'nor do empty folders stay');
});

test('the age counts from the end, and the next process knows it', async (t) => {
  const { sandboxes, disk, make, collector, left } = setUp(t);
  make('F/t/c1', 100 * hour);
  const one = collector();
  one.start(() => true);
  one.add('F/t/c1');
  one.add('F/t/never-made');
  await one.collect();
  t.deepEqual(left(), ['F/t/c1']);
  t.is(statSync(join(sandboxes, 'F/t/c1')).mtimeMs, disk.now);
  disk.now += 4 * hour;
  const next = collector();
  next.start(() => false);
  await next.collect();
  t.deepEqual(left(), ['F/t/c1']);
  disk.now += 2 * hour;
  await next.collect();
  t.deepEqual(left(), []);
});

test('what a link in a sandbox leads to stays', async (t) => {
  const { sandboxes, make, collector } = setUp(t);
  const volume = tempFolder(t);
  writeFileSync(join(volume, 'precious'), 'x');
  make('F/t/c1', 100 * hour);
  symlinkSync(volume, join(sandboxes, 'F/t/c1/data'));
  const one = collector();
  one.start(() => false);
  await one.collect();
  t.deepEqual(readdirSync(volume), ['precious']);
});

test('what folders take is measured, without what links lead to, and not more often than is wanted', async (t) => {
  const [big, small] = [tempFolder(t), tempFolder(t)];
  writeFileSync(join(big, 'file'), Buffer.alloc(3 * 2 ** 20, 1));
  symlinkSync(join(big, 'file'), join(small, 'link'));
  let now = 0;
  const meter = new DiskMeter(15_000, () => now);
  t.is(meter.known([big, small]).size, 0, 'it is measured meanwhile');
  const first = await meter.measure([big, small]);
  t.true((first.get(big) ?? 0) >= 3 * 2 ** 20 && (first.get(big) ?? 0) < 4 * 2 ** 20);
  t.true((first.get(small) ?? 0) < 2 ** 20);
  rmSync(join(big, 'file'));
  now = 14_000;
  t.is(meter.known([big, small]), first);
  now = 16_000;
  meter.known([big, small]);
  t.true(((await meter.measure([])).get(big) ?? 0) < 2 ** 20);
});

test('what becomes a link while it is removed leads nowhere', async (t) => {
  const { sandboxes, make, collector } = setUp(t);
  const elsewhere = tempFolder(t);
  const folder = join(sandboxes, 'F/t/c/folder');
  const names = Array.from({ length: 5_000 }, (_, index) => `file${index}`);
  for (const path of [join(elsewhere, 'kept'), folder]) {
    mkdirSync(path, { recursive: true });
    for (const name of names) writeFileSync(join(path, name), '');
  }
  symlinkSync(join(elsewhere, 'kept'), join(elsewhere, 'link'));
  make('F/t/c', 100 * hour); // last: that sets the time
  const one = collector();
  one.start(() => false);
  const collected = one.collect();
  while (existsSync(folder) && readdirSync(folder).length === names.length) await new Promise(setImmediate);
  if (existsSync(folder)) {
    renameSync(folder, join(elsewhere, 'folder'));
    renameSync(join(elsewhere, 'link'), folder);
  }
  await collected;
  t.is(readdirSync(join(elsewhere, 'kept')).length, names.length);
});

test('a sandbox that says that it has ended later than now goes in its time', async (t) => {
  const { disk, make, collector, left } = setUp(t);
  make('F/t/c', -1_000 * hour);
  const one = collector();
  one.start(() => false);
  disk.now += 5.1 * hour;
  await one.collect();
  t.deepEqual(left(), []);
});

// ---- through the whole agent

const care = {
  ...{ gcDelayMs: 1_000 * hour, gcDiskHeadroom: 0, diskWatchIntervalMs: 60_000, containerDiskWatchIntervalMs: 100 },
  enforceContainerDiskQuota: false,
};
const resources = (megabytes: number): mesos.v1.Resource.$Properties[] => [
  { name: 'disk', type: mesos.v1.Value.Type.SCALAR, scalar: { value: megabytes } },
];

test('a task that takes more disk than it was given is ended for that, where that is enforced', async (t) => {
  const bench = new Bench(t);
  bench.sandboxCare = { ...care, enforceContainerDiskQuota: true };
  await bench.start();
  const fill = (megabytes: number): mesos.v1.CommandInfo.$Properties => ({
    value: `head -c ${megabytes}M /dev/zero >file; exec sleep 60`,
  });
  await bench.leader.command(
    (number) => run(number, 'modest', { task: { command: fill(1), resources: resources(4) } }),
    (number) => run(number, 'greedy', { task: { command: fill(6), resources: resources(4) } }),
    (number) => run(number, 'unbound', { task: { command: fill(6) } }),
  );
  const { status } = await bench.leader.end('greedy');
  t.is(status?.state, TaskState.TASK_FAILED);
  t.is(status?.reason, Reason.REASON_CONTAINER_LIMITATION_DISK);
  t.regex(status?.message ?? '', /^Disk usage \([67]MB\) exceeds quota \(4MB\)$/);
  t.deepEqual(bench.leader.states('modest'), ['TASK_STARTING', 'TASK_RUNNING']);
  t.deepEqual(bench.leader.states('unbound'), ['TASK_STARTING', 'TASK_RUNNING']);
});

test('sandboxes of what has ended and is acknowledged go when they are old; those of what runs stay', async (t) => {
  const bench = new Bench(t);
  bench.sandboxCare = { ...care, gcDelayMs: 0, diskWatchIntervalMs: 100 };
  await bench.start();
  await bench.leader.command(
    (number) => run(number, 'ends', { task: { command: { value: 'echo x' } } }),
    (number) => run(number, 'runs', { task: { command: { value: 'echo x; exec sleep 60' } } }),
  );
  await bench.leader.update('runs', 'TASK_RUNNING');
  await bench.leader.end('ends');
  while (existsSync(join(bench.workDir.sandboxes, 'F/ends'))) await new Promise((wake) => setTimeout(wake, 20));
  t.is(bench.read('runs', 'stdout'), 'x\n');
});
