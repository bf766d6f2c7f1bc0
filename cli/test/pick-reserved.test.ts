import type { AgentSummary } from '@mesobus/sdk/operator';
import {
  add,
  describeResources,
  parseResources,
  type Resources,
  reservedFor,
  resourcesOf,
  volumeOf,
} from '@mesobus/sdk/resources';
import test from 'ava';
import { volumesOf } from '../src/lists/list-volumes.ts';
import { getVolume, pickReserved, readPlainAmounts } from '../src/pick-reserved.ts';

const disk = reservedFor(parseResources('disk:50'), 'ads');
const has: Resources = [
  parseResources('cpus:4;disk:100;ports:[1000-2000]'),
  reservedFor(parseResources('cpus:2;disk:30'), 'ads'),
  reservedFor(parseResources('cpus:1'), 'ads', { labels: [{ key: 'k', value: 'v' }] }),
  volumeOf(disk, { id: 'v1', containerPath: 'data', shared: true }),
].reduce(add);
const agent = { id: 'm1-S0', name: 'a1', resources: has } as AgentSummary;

test('amounts are taken of what is reserved to the role, as it is reserved', (t) => {
  t.is(describeResources(pickReserved(agent, parseResources('cpus:2;disk:10'), 'ads')), 'cpus(ads):2;disk(ads):10');
  t.is(describeResources(pickReserved(agent, parseResources('ports:[1000-1010]'), '*')), 'ports:[1000-1010]');
});

test('a disk that can only be taken whole is not cut', (t) => {
  const mount = { name: 'disk', kind: 'scalar', disk: { source: { type: 'mount', root: '/mnt' } } } as const;
  const alone = { ...agent, resources: resourcesOf([{ ...mount, amount: 900_000 }]) };
  t.throws(() => pickReserved(alone, parseResources('disk:500'), '*'), { message: /there is 'disk:900'/ });
  t.is(pickReserved(alone, parseResources('disk:900'), '*')[0]?.disk?.source?.type, 'mount');
});

const missing: readonly [amounts: string, role: string, message: RegExp][] = [
  [
    'cpus:3',
    'ads',
    /^Cannot take 'cpus:3' of what agent a1 has reserved to 'ads': there is 'cpus\(ads\):2;cpus\(ads\):1'; ask for less, or reserve more: mesobus reserve a1/,
  ],
  ['cpus:9', '*', /^Cannot take 'cpus:9' of what agent a1 has not reserved: there is 'cpus:4'; ask for less$/],
  ['gpus:1', 'ads', /there is none; ask for less, or reserve more/],
  ['disk:50', 'ads', /there is 'disk\(ads\):30'/],
];
for (const [amounts, role, message] of missing) {
  test(`${amounts} of role ${role}, which is not there, is refused with what there is`, (t) => {
    t.throws(() => pickReserved(agent, parseResources(amounts), role), { message });
  });
}

test('amounts that say for whom they are, or cannot be read, are refused', (t) => {
  t.throws(() => readPlainAmounts('cpus(ads):1'), { message: /write amounts alone/ });
  t.throws(() => readPlainAmounts('cpus'), { message: /'cpus'/ });
  t.throws(() => readPlainAmounts(''), { message: /write amounts alone/ });
});

test('volumes are found by role and id, and listed', (t) => {
  t.is(describeResources(getVolume(agent, 'ads', 'v1')), 'disk(ads)[v1]:50');
  t.throws(() => getVolume(agent, 'web', 'v1'), {
    message: /Cannot find volume 'v1' of role 'web' on agent a1; 'mesobus volume list'/,
  });
  t.like(volumesOf([agent])[0], {
    id: 'v1',
    role: 'ads',
    agentName: 'a1',
    size: 50,
    shared: true,
    containerPath: 'data',
  });
  t.deepEqual(volumesOf([{ ...agent, lifecycle: 'gone' }]), []);
});
