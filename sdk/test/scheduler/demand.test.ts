import type { mesobus } from '@mesobus/protos';
import { createMemoryNetwork, ManualClock } from '@mesobus/sdk/bus';
import { RefusedError } from '@mesobus/sdk/errors';
import { resources } from '@mesobus/sdk/resources';
import {
  type FrameworkSettings,
  type Offer,
  Scheduler,
  type SchedulerCallbacks,
  type Task,
  type Wanted,
} from '@mesobus/sdk/scheduler';
import test, { type ExecutionContext } from 'ava';
import { demandOf } from '../../src/scheduler/demand.ts';
import { FakeLeader, offers, passerOf, sayBeat, stopWith, update } from './fake-leader.ts';

const textOf = (roles: readonly mesobus.v1.RoleDemand.$Properties[]): Record<string, string[]> =>
  Object.fromEntries(
    roles.map(({ role, shapes }) => [
      role,
      (shapes ?? []).map(({ quantities, count }) => {
        const amounts = Object.entries(quantities ?? {}).map(([name, amount]) => `${name}:${amount.value}`);
        return `${count} × ${amounts.join(';')}`;
      }),
    ]),
  );

const task = (id: string, cpus = 1): Task => ({ id, command: 'true', resources: { cpus, mem: 64 } });

test('tasks of one size count together, whatever their form', (t) => {
  const shared = { cpus: 1, mem: 64 };
  const queue: Wanted[] = [
    task('a'),
    { resources: { mem: 64, cpus: 1 }, count: 3 },
    { resources: resources(shared) },
    { resources: { cpus: 2 }, count: 2 },
    { resources: shared, count: 0 },
  ];
  t.deepEqual(textOf(demandOf(queue, ['ads'])), { ads: ['5 × cpus:1;mem:64', '2 × cpus:2'] });
});

test('ports and other ranges and sets count by how many', (t) => {
  const wanted = [{ resources: { cpus: 0.1, ports: [[31_000, 31_002]] as const, disks: '{a,b}' } }];
  t.deepEqual(textOf(demandOf(wanted, ['*'])), { '*': ['1 × cpus:0.1;disks:2;ports:3'] });
});

test('of each role it is said what is wanted, and that nothing is', (t) => {
  const wanted = [{ resources: { cpus: 1 }, role: 'eng' }];
  t.deepEqual(textOf(demandOf(wanted, ['ads', 'eng'])), { ads: [], eng: ['1 × cpus:1'] });
});

test('the leader is told of 64 sizes at most, those that have waited longest', (t) => {
  const wanted = Array.from({ length: 100 }, (_, i) => ({ resources: { cpus: i + 1 } }));
  const [told] = demandOf([...wanted, { resources: { cpus: 64 }, count: 9 }], ['*']);
  t.is(told?.shapes?.length, 64);
  t.is(told?.shapes?.at(-1)?.count, 10);
});

const unusable: readonly (readonly [Wanted, readonly string[], RegExp])[] = [
  [{ resources: { cpus: 1 }, role: 'x' }, ['ads', 'eng'], /in role 'x': the framework has ads, eng/],
  [{ resources: { cpus: 1 } }, ['ads', 'eng'], /in which role something is wanted: name one of ads, eng/],
  [{ resources: { cpus: 1 }, count: -1 }, ['*'], /Cannot want -1 tasks: give a whole number/],
  [{ resources: { cpus: 1 }, count: 0.5 }, ['*'], /Cannot want 0.5 tasks/],
  [{ resources: {} }, ['*'], /a task that takes nothing: say how much/],
  [{ resources: { cpus: -1 } }, ['*'], /negative/],
];
for (const [wanted, roles, message] of unusable) {
  test(`a demand like ${JSON.stringify(wanted)} in ${roles} is refused`, (t) => {
    t.throws(() => demandOf([wanted], roles), { message });
  });
}

/** A scheduler with a queue of tasks, and a leader that answers when time passes. */
function setUp(
  t: ExecutionContext,
  own: SchedulerCallbacks = {},
  framework: Partial<FrameworkSettings> = {},
  demand?: () => readonly Wanted[],
) {
  const clock = new ManualClock();
  const network = createMemoryNetwork({ clock });
  const leader = new FakeLeader(network);
  const queue: Task[] = [];
  const errors: Error[] = [];
  const scheduler = new Scheduler(
    {
      bus: network.connect('scheduler'),
      clock,
      random: () => 0.5,
      framework: { name: 'test', user: 'nobody', roles: ['ads'], ...framework },
      demand: demand ?? (() => queue),
    },
    { error: (error) => void errors.push(error), ...own },
  );
  const pass = passerOf(clock, network);
  stopWith(t, scheduler, pass);
  const start = async (): Promise<void> => {
    void scheduler.start();
    await network.settle();
    await pass(100);
  };
  /** What the leader was told, in the order in which it came. */
  const told = () => leader.calls.flatMap(({ demand: said }) => (said ? [textOf(said.roles)] : []));
  return { leader, queue, errors, scheduler, pass, start, told, network };
}

test('what waits is said with SUBSCRIBE, and again when the subscription stands', async (t) => {
  const { leader, queue, start, told } = setUp(t);
  queue.push(task('a'), task('b'));
  await start();
  t.deepEqual(told(), [{ ads: ['2 × cpus:1;mem:64'] }, { ads: ['2 × cpus:1;mem:64'] }]);
  t.truthy(leader.callsOf('SUBSCRIBE')[0]?.demand);
  const numbers = leader.calls.flatMap(({ demand }) => (demand ? [demand.number] : []));
  t.deepEqual(numbers, [1, 2]);
  t.is(leader.calls.at(-1)?.demand?.frameworkId, 'F-1');
});

test('a scheduler that does not say what it wants says nothing', async (t) => {
  const network = createMemoryNetwork();
  const leader = new FakeLeader(network);
  const framework = { name: 'test', user: 'nobody' };
  const scheduler = new Scheduler({ bus: network.connect('scheduler'), framework }, {});
  await scheduler.start();
  await scheduler.revive();
  t.true(leader.calls.every(({ demand }) => demand === null));
  await scheduler.stop();
  leader.stop();
});

test('what changes is said once, with the next event or by itself soon', async (t) => {
  const { leader, queue, start, told, pass } = setUp(t);
  await start();
  const before = told().length;
  queue.push(task('a'));
  await pass(1_000);
  t.is(told().length, before, 'nobody has looked yet');
  queue.push(task('b'));
  sayBeat(leader.bus, 1);
  await pass(100);
  t.deepEqual(told().slice(before), [{ ads: ['2 × cpus:1;mem:64'] }]);
  queue.push(task('c', 2));
  leader.send(update('x', 'TASK_RUNNING'));
  await pass(100);
  t.deepEqual(told().at(-1), { ads: ['2 × cpus:1;mem:64', '1 × cpus:2;mem:64'] });
  const after = told().length;
  for (let i = 0; i < 5; i += 1) sayBeat(leader.bus, 1);
  await pass(1_000);
  t.is(told().length, after, 'what is known is not said again');
});

test('whoever cannot wait for the next look says that something has changed', async (t) => {
  const { queue, scheduler, start, told, pass } = setUp(t);
  scheduler.demandChanged(); // there is nobody to tell yet
  await start();
  queue.push(task('a'));
  scheduler.demandChanged();
  await pass(50);
  t.deepEqual(told().at(-1), { ads: ['1 × cpus:1;mem:64'] });
});

test('what is launched is wanted no more, and that is said in the same breath', async (t) => {
  const place = (): Task[] => queue.splice(0, 2);
  const { leader, queue, start, told, pass } = setUp(t, { place });
  queue.push(task('a'), task('b'), task('c'));
  await start();
  const batches = leader.batches.length;
  leader.send(offers('o1'));
  await pass(100);
  t.deepEqual(leader.batches.slice(batches), [2], 'ACCEPT and demand come as one message');
  const [accept, demand] = leader.calls.slice(-2);
  t.deepEqual(
    accept?.call?.accept?.operations[0]?.launch?.taskInfos.map(({ taskId }) => taskId.value),
    ['a', 'b'],
  );
  t.deepEqual(textOf(demand?.demand?.roles ?? []), { ads: ['1 × cpus:1;mem:64'] });
  t.deepEqual(told().at(-1), { ads: ['1 × cpus:1;mem:64'] });
});

test('while one word is under way, the next waits and says what is wanted then', async (t) => {
  const { leader, queue, start, told, pass } = setUp(t);
  await start();
  leader.answer = () => 'silence';
  const before = told().length;
  for (const id of ['a', 'b', 'c']) {
    queue.push(task(id));
    sayBeat(leader.bus, 1);
    await pass(200);
  }
  t.deepEqual(told().slice(before), [{ ads: ['1 × cpus:1;mem:64'] }]);
  leader.answer = () => ({});
  for (let i = 0; i < 12; i += 1) {
    sayBeat(leader.bus, 1);
    await pass(1_000);
  }
  t.deepEqual(told().slice(before), [{ ads: ['1 × cpus:1;mem:64'] }, { ads: ['3 × cpus:1;mem:64'] }]);
  const numbers = leader.calls.flatMap(({ demand }) => (demand ? [demand.number] : []));
  t.deepEqual(
    numbers,
    [...numbers].sort((a, b) => a - b),
  );
  t.is(new Set(numbers).size, numbers.length);
});

test('a fresh subscription is told what is wanted', async (t) => {
  const { leader, queue, start, told, pass, network } = setUp(t);
  queue.push(task('a'));
  await start();
  leader.stop();
  const next = new FakeLeader(network, 2, 1);
  sayBeat(next.bus, 1);
  await pass(3_000);
  t.is(next.callsOf('SUBSCRIBE').length, 1);
  t.deepEqual(
    next.calls.flatMap(({ demand }) => (demand ? [textOf(demand.roles)] : [])),
    [{ ads: ['1 × cpus:1;mem:64'] }, { ads: ['1 × cpus:1;mem:64'] }],
  );
  t.is(told().length, 2);
});

test('what the leader refuses is told to the author once, and said again only when it has changed', async (t) => {
  const { leader, queue, errors, start, pass } = setUp(t);
  await start();
  leader.answer = ({ demand }) => (demand ? new RefusedError('call_invalid', 'demand', 'it is too much') : {});
  const before = leader.calls.length;
  queue.push(task('a'));
  for (let i = 0; i < 5; i += 1) {
    sayBeat(leader.bus, 1);
    await pass(300);
  }
  t.is(leader.calls.length, before + 1);
  t.deepEqual(
    errors.map(({ message }) => message.includes('it is too much')),
    [true],
  );
  queue.push(task('b'));
  sayBeat(leader.bus, 1);
  await pass(300);
  t.is(leader.calls.length, before + 2);
});

test('what is refused is what was said, and not what was to be said first: it is not said again', async (t) => {
  const { leader, queue, start, told, pass } = setUp(t);
  await start();
  leader.answer = () => 'silence';
  queue.push(task('a'));
  sayBeat(leader.bus, 1);
  await pass(200);
  queue.push(task('b'));
  leader.answer = ({ demand }) => (demand ? new RefusedError('call_invalid', 'demand', 'it is too much') : {});
  const before = told().length;
  for (let i = 0; i < 15; i += 1) {
    sayBeat(leader.bus, 1);
    await pass(1_000);
  }
  t.deepEqual(told().slice(before), [{ ads: ['2 × cpus:1;mem:64'] }]);
});

test('a demand that cannot be read is told to the author once, and what was said before stands', async (t) => {
  let broken = false;
  const demand = (): Wanted[] => [{ resources: { cpus: broken ? -1 : 1 } }];
  const { leader, errors, start, told, pass } = setUp(t, {}, {}, demand);
  await start();
  const before = told().length;
  broken = true;
  for (let i = 0; i < 5; i += 1) {
    sayBeat(leader.bus, 1);
    await pass(300);
  }
  t.is(told().length, before);
  t.is(errors.length, 1);
});

test('the roles of a demand follow those of the framework', async (t) => {
  const { scheduler, start, told, pass } = setUp(t);
  await start();
  void scheduler.updateFramework({ roles: ['ads', 'eng'] });
  await pass(100);
  t.deepEqual(told().at(-1), { ads: [], eng: [] });
});

test('an offer on which nothing is placed is declined, and one whose placing fails too', async (t) => {
  const place = ({ id }: Offer): Task[] => {
    if (id === 'o2') throw new Error('no idea');
    if (id === 'o3') return [{ ...task(''), id: '' }];
    return id === 'o4' ? [task('t')] : [];
  };
  const { leader, errors, start, pass } = setUp(t, { place });
  await start();
  leader.send(offers('o1', 'o2', 'o3', 'o4'));
  await pass(100);
  const declined = leader
    .callsOf('DECLINE')
    .flatMap(({ call }) => call?.decline?.offerIds.map(({ value }) => value) ?? []);
  t.deepEqual(declined.sort(), ['o1', 'o2', 'o3']);
  t.deepEqual(
    leader.callsOf('ACCEPT').map(({ call }) => call?.accept?.offerIds[0]?.value),
    ['o4'],
  );
  t.deepEqual(
    errors.map(({ message }) => message),
    ['no idea'],
  );
});

test('offers are answered in one way', (t) => {
  const callbacks: SchedulerCallbacks = { place: () => [], resourceOffers: () => {} };
  t.throws(() => new Scheduler({ framework: { name: 'test', user: 'nobody' } }, callbacks), { instanceOf: TypeError });
});
