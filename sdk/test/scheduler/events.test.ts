import { createMemoryNetwork } from '@mesobus/sdk/bus';
import { Scheduler, SchedulerEndedError } from '@mesobus/sdk/scheduler';
import test, { type ExecutionContext } from 'ava';
import { errorEvent, FakeLeader, offers, until, update } from './fake-leader.ts';

function setUp(t: ExecutionContext) {
  const network = createMemoryNetwork();
  const leader = new FakeLeader(network);
  const scheduler = new Scheduler({ bus: network.connect('scheduler'), framework: { name: 'test' } });
  t.teardown(async () => {
    await scheduler.stop({ failover: true, timeoutMs: 100 });
    leader.stop();
  });
  return { network, leader, scheduler };
}

test('without callbacks every event waits for the loop, which ends when the scheduler stops', async (t) => {
  const { leader, scheduler } = setUp(t);
  await scheduler.start();
  leader.send(offers('o1'), update('t1', 'TASK_RUNNING', 1));
  const kinds: string[] = [];
  for await (const event of scheduler.events()) {
    kinds.push(event.kind);
    if (event.kind === 'update') void scheduler.stop();
  }
  t.deepEqual(kinds, ['registered', 'offers', 'update']);
});

test('an update is acknowledged when the loop asks for the next event', async (t) => {
  const { leader, scheduler, network } = setUp(t);
  await scheduler.start();
  leader.send(update('t1', 'TASK_RUNNING', 1));
  const events = scheduler.events();
  await events.next();
  t.like((await events.next()).value, { kind: 'update' });
  await network.settle();
  t.is(leader.callsOf('ACKNOWLEDGE').length, 0);
  const asked = events.next();
  await until(() => leader.callsOf('ACKNOWLEDGE').length === 1);
  await scheduler.stop();
  t.true((await asked).done);
});

test('an update in whose treatment the loop was left is not acknowledged and goes to the next loop', async (t) => {
  const { leader, scheduler, network } = setUp(t);
  await scheduler.start();
  leader.send(update('t1', 'TASK_RUNNING', 1));
  for await (const event of scheduler.events()) if (event.kind === 'update') break;
  await network.settle();
  t.is(leader.callsOf('ACKNOWLEDGE').length, 0);
  leader.send(update('t1', 'TASK_RUNNING', 1));
  t.like((await scheduler.events().next()).value, { kind: 'update', status: { taskId: 't1' } });
  await scheduler.stop();
});

test('the loop throws when the subscription has ended for good', async (t) => {
  const { leader, scheduler } = setUp(t);
  await scheduler.start();
  const events = scheduler.events();
  await events.next();
  leader.send(errorEvent('Framework failed over'));
  await t.throwsAsync(events.next(), { instanceOf: SchedulerEndedError });
});
