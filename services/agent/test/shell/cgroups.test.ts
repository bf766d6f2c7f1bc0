import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { Limits } from '../../src/shell/containerizer.ts';
import { Cgroups, parseMounts } from '../../src/shell/process/cgroups.ts';

const megabyte = 2 ** 20;

/** Groups whose folders are plain ones, which shows what is written where. */
function groupsIn(t: ExecutionContext, version: 1 | 2, more: { enableCfs?: boolean; pidsLimit?: number } = {}) {
  const root = mkdtempSync(join(tmpdir(), 'mesobus-groups-'));
  t.teardown(() => rmSync(root, { recursive: true }));
  const names = ['cpu', 'cpuacct', 'memory', 'freezer', 'pids', 'io'] as const;
  const folders = Object.fromEntries(names.map((name) => [name, version === 2 ? root : join(root, name)]));
  for (const folder of Object.values(folders)) mkdirSync(join(folder, 'c1'), { recursive: true });
  const options = { agentName: 'a', workDir: root, enableCfs: false, log: { warn: () => {} }, ...more };
  return { root, groups: new Cgroups({ version, folders }, options) };
}

/** The files of a container that are written, by what they are called. */
function writtenBy(settings: readonly string[]): Record<string, string | undefined> {
  const files: Record<string, string | undefined> = {};
  for (const [at, word] of settings.entries()) {
    if (word === 'write') files[settings[at + 1]?.split('/').at(-1) ?? ''] = settings[at + 2];
  }
  return files;
}

const half: Limits = { cpus: 0.5, memBytes: 64 * megabyte, hardMemBytes: 64 * megabyte };
const bursts: Limits = { cpus: 2, hardCpus: 3, memBytes: 64 * megabyte, hardMemBytes: Number.POSITIVE_INFINITY };

const cases = [
  ['shares of cpus, and memory', 1, {}, half, { 'cpu.shares': '512', 'memory.limit_in_bytes': `${64 * megabyte}` }],
  [
    'a quota if the agent holds cpus',
    1,
    { enableCfs: true },
    half,
    { 'cpu.shares': '512', 'cpu.cfs_quota_us': '50000', 'memory.limit_in_bytes': `${64 * megabyte}` },
  ],
  [
    'limits beyond the request',
    1,
    {},
    bursts,
    { 'cpu.shares': '2048', 'cpu.cfs_quota_us': '300000', 'memory.soft_limit_in_bytes': `${64 * megabyte}` },
  ],
  [
    'at least some shares and 32 MB',
    1,
    {},
    { cpus: 0, memBytes: 0, hardMemBytes: 0 },
    { 'cpu.shares': '2', 'memory.limit_in_bytes': `${32 * megabyte}` },
  ],
  [
    'a number of processes',
    1,
    { pidsLimit: 7 },
    half,
    { 'cpu.shares': '512', 'memory.limit_in_bytes': `${64 * megabyte}`, 'pids.max': '7' },
  ],
  ['weights', 2, {}, half, { 'cpu.weight': '50', 'memory.max': `${64 * megabyte}`, 'memory.oom.group': '1' }],
  [
    'limits beyond the request',
    2,
    { pidsLimit: 7 },
    bursts,
    {
      'cpu.weight': '200',
      'cpu.max': '300000 100000',
      'memory.low': `${64 * megabyte}`,
      'memory.oom.group': '1',
      'pids.max': '7',
    },
  ],
] as const;
for (const [title, version, more, limits, expected] of cases) {
  test(`a container of version ${version} has ${title}`, (t) => {
    const { groups } = groupsIn(t, version, more);
    t.deepEqual(writtenBy(groups.settingsOf('c1', limits)), expected);
  });
}

test('a container of version 1 enters by its one thread, one of version 2 as a process; each hierarchy once', (t) => {
  const one = groupsIn(t, 1);
  const joins = (of: typeof one): string[] => of.groups.joinsOf('c1').filter((word) => word !== 'join');
  t.deepEqual(
    joins(one),
    ['cpu', 'cpuacct', 'memory', 'freezer', 'io'].map((name) => `${one.root}/${name}/c1/tasks`),
  );
  const two = groupsIn(t, 2);
  t.deepEqual(joins(two), [`${two.root}/c1/cgroup.procs`]);
});

test('what a container of version 2 uses is read from its files', async (t) => {
  const { root, groups } = groupsIn(t, 2);
  const files = {
    'cpu.stat': 'usage_usec 1500000\nnr_throttled 3\nthrottled_usec 250000\n',
    'memory.stat': 'anon 1000\ninactive_file 3000\n',
    'memory.current': '10000\n',
    'memory.peak': '20000\n',
    'cgroup.procs': '12\n13\n',
    'io.stat': '8:0 rbytes=100 wbytes=20 rios=1\n8:16 rbytes=1 wbytes=2 rios=1\n',
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(root, 'c1', name), text);
  t.deepEqual(await groups.usage(['c1', 'gone'], () => 5), [
    {
      containerId: 'c1',
      atMs: 5,
      cpuSeconds: 1.5,
      throttledSeconds: 0.25,
      memoryBytes: 7_000,
      memoryPeakBytes: 20_000,
      processes: 2,
      ioReadBytes: 101,
      ioWriteBytes: 22,
    },
  ]);
});

test('a container that gets more, or less, is told all of it', (t) => {
  const { root, groups } = groupsIn(t, 2);
  groups.resize('c1', bursts);
  groups.resize('c1', half);
  const read = (name: string): string => readFileSync(join(root, 'c1', name), 'utf8');
  t.deepEqual(['cpu.weight', 'cpu.max', 'memory.low', 'memory.max'].map(read), [
    '50',
    'max 100000',
    `${64 * megabyte}`,
    `${64 * megabyte}`,
  ]);
});

test('mounts of control groups are found among others', (t) => {
  const text = [
    '31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755',
    '32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct',
    '41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw',
  ].join('\n');
  t.deepEqual(parseMounts(text), [
    { type: 'cgroup', path: '/sys/fs/cgroup/cpu,cpuacct', controllers: ['rw', 'cpu', 'cpuacct'] },
    { type: 'cgroup2', path: '/sys/fs/cgroup/unified', controllers: ['rw'] },
  ]);
});
