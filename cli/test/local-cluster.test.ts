import { spawnSync } from 'node:child_process';
import { parseResources, readAmounts } from '@mesobus/sdk/resources';
import test from 'ava';
import { requireAble } from '../src/local-cluster/nats-server.ts';
import { identify, isRunning, signalProcess } from '../src/local-cluster/process-identity.ts';
import { nodeFlags } from '../src/local-cluster/service-programs.ts';
import { splitResources } from '../src/local-cluster/split-resources.ts';

const gibibyte = 2 ** 30;
const machine = { cpus: 2, memoryBytes: 8 * gibibyte, diskBytes: 100 * gibibyte };

for (const agents of [1, 2, 3, 7, 200]) {
  test(`${agents} agents do not promise more than the machine has, and no port twice`, (t) => {
    const promised = splitResources(machine, agents).map((text) => readAmounts(parseResources(text)));
    const sum = (name: 'cpus' | 'mem' | 'disk'): number =>
      promised.reduce((total, amounts) => total + amounts[name], 0);
    t.is(promised.length, agents);
    t.true(sum('cpus') <= 2 + 1e-9);
    t.true(sum('mem') <= 7 * 1024);
    t.true(sum('disk') <= 95 * 1024);
    const ports = promised.flatMap((amounts) => amounts.ports);
    const sorted = [...ports].sort((a, b) => a.begin - b.begin);
    for (const [index, { end }] of sorted.slice(0, -1).entries()) t.true(end < (sorted[index + 1]?.begin ?? 0));
  });
}

const binary = (version: string, clusterable: boolean) =>
  ({ path: '/usr/sbin/nats-server', version, source: 'installed', clusterable }) as const;

test('a nats-server that must not keep replicas, or cannot be told how often to sync, is refused what needs that', (t) => {
  const old = binary('2.9.10', false);
  t.notThrows(() => requireAble(old, { servers: 1 }));
  t.throws(() => requireAble(old, { servers: 3 }), {
    message: /3 times nats-server 2\.9\.10 \('\/usr\/sbin\/nats-server'\): .*two masters.*use 2\.9\.21 or newer/,
  });
  t.throws(() => requireAble(binary('2.9.25', true), { servers: 3, syncInterval: 'always' }), {
    message: /nats-server 2\.9\.25 .* how often to sync: .*use 2\.10\.0 or newer/,
  });
  t.notThrows(() => requireAble(binary('2.10.0', true), { servers: 3, syncInterval: 'always' }));
});

test('a small machine keeps half of its memory for itself', (t) => {
  const [text = ''] = splitResources({ ...machine, memoryBytes: gibibyte }, 1);
  t.is(readAmounts(parseResources(text)).mem, 512);
});

test('more agents than the machine can be divided between are refused', (t) => {
  t.throws(() => splitResources(machine, 500), { instanceOf: RangeError, message: /start fewer/ });
});

test('children get the conditions and limits of node, not what it was told to evaluate', (t) => {
  const execArgv = ['-C', 'mesobus-source', '--max-old-space-size=100', '--inspect=0', '-e', 'code', '--test'];
  t.deepEqual(nodeFlags(execArgv), ['-C', 'mesobus-source', '--max-old-space-size=100']);
});

test('a process is told from another that has its pid', (t) => {
  const self = identify(process.pid);
  t.truthy(self);
  t.true(isRunning({ pid: process.pid, started: self?.started ?? '' }));
  t.false(isRunning({ pid: process.pid, started: 'another time' }));
  t.false(signalProcess({ pid: process.pid, started: 'another time' }, 'SIGKILL'));
});

test('a process that has ended is nobody', (t) => {
  t.is(identify(spawnSync('true').pid), undefined);
});
