import { mesos } from '@mesobus/protos';
import { createMemoryNetwork, ManualClock, type MemoryNetwork } from '@mesobus/sdk/bus';
import { RefusedError } from '@mesobus/sdk/errors';
import {
  type Offer,
  Scheduler,
  type SchedulerCallbacks,
  SchedulerEndedError,
  type SchedulerOptions,
  type TaskStatus,
} from '@mesobus/sdk/scheduler';
import test, { type ExecutionContext } from 'ava';
import { errorEvent, FakeLeader, offers, passerOf, rescind, sayBeat, stopWith, until, update } from './fake-leader.ts';

interface Set {
  readonly network: MemoryNetwork;
  readonly leader: FakeLeader;
  readonly scheduler: Scheduler;
  readonly clock: ManualClock;
  /** What the author was told, in short. */
  readonly told: string[];
  readonly offered: Offer[];
  readonly errors: Error[];
  /** Lets time pass in small steps, with everything that follows from it. */
  pass(ms: number): Promise<void>;
}

/** A scheduler and a leader on one network, whose time only passes when told to. */
function setUp(
  t: ExecutionContext,
  options: Partial<SchedulerOptions> = {},
  own: SchedulerCallbacks = {},
  maxFrameBytes?: number,
): Set {
  const clock = new ManualClock();
  const network = createMemoryNetwork({ clock, ...(maxFrameBytes !== undefined && { maxFrameBytes }) });
  const told: string[] = [];
  const offered: Offer[] = [];
  const errors: Error[] = [];
  const callbacks: SchedulerCallbacks = {
    registered: (id) => void told.push(`registered ${id}`),
    reregistered: () => void told.push('reregistered'),
    disconnected: () => void told.push('disconnected'),
    resourceOffers: (list) => {
      told.push(`offers ${list.map(({ id }) => id)}`);
      offered.push(...list);
    },
    offerRescinded: (id) => void told.push(`rescinded ${id}`),
    statusUpdate: ({ taskId, state }) => void told.push(`${taskId} ${state}`),
    error: (error) => void errors.push(error),
    ...own,
  };
  const bus = network.connect('scheduler');
  const framework = { name: 'test', user: 'nobody', roles: ['ads'] };
  const scheduler = new Scheduler({ bus, clock, random: () => 0.5, framework, ...options }, callbacks);
  const pass = passerOf(clock, network);
  stopWith(t, scheduler, pass);
  return { network, leader: new FakeLeader(network), scheduler, clock, told, offered, errors, pass };
}

const task = (id: string) => ({ id, command: 'true', resources: { cpus: 0.1, mem: 16 } });

test('start gives the id under which the master has registered the framework', async (t) => {
  const { scheduler, leader, told } = setUp(t);
  t.is(await scheduler.start(), 'F-1');
  await until(() => told.length > 0);
  t.deepEqual(told, ['registered F-1']);
  const [call] = leader.callsOf('SUBSCRIBE');
  t.like(call?.call?.subscribe?.frameworkInfo, { name: 'test', user: 'nobody', roles: ['ads'], principal: 'default' });
});

test('a framework with an id is told that it is registered again', async (t) => {
  const { scheduler, leader, told } = setUp(t, { framework: { name: 'test', id: 'F-1' } });
  await scheduler.start();
  await until(() => told.length > 0);
  t.deepEqual(told, ['reregistered']);
  t.is(leader.callsOf('SUBSCRIBE')[0]?.call?.frameworkId?.value, 'F-1');
});

test('an offer reads as plain amounts and its resources hold what a task asks for', async (t) => {
  const { scheduler, leader, offered } = setUp(t);
  await scheduler.start();
  leader.send(offers('o1'));
  await until(() => offered.length > 0);
  const [offer] = offered as [Offer];
  t.like(offer.amounts, { cpus: 4, mem: 1024 });
  t.is(offer.role, 'ads');
  t.true(offer.holds({ cpus: 4, mem: 1000 }));
  t.false(offer.holds({ cpus: 5 }));
});

test('tasks are launched on the agent of their offer and the call says where it is written', async (t) => {
  const { scheduler, leader, offered } = setUp(t);
  await scheduler.start();
  leader.send(offers('o1'));
  await until(() => offered.length > 0);
  const result = await scheduler.launch(offered[0] as Offer, [task('t1'), task('t2')], { refuseSeconds: 1 });
  t.is(result.logIndex, 7);
  const accept = leader.callsOf('ACCEPT')[0]?.call?.accept;
  t.deepEqual(
    accept?.operations[0]?.launch?.taskInfos.map(({ taskId, agentId }) => [taskId.value, agentId.value]),
    [
      ['t1', 'agent-of-o1'],
      ['t2', 'agent-of-o1'],
    ],
  );
  t.is(accept?.filters?.refuseSeconds, 1);
});

test('an offer may be answered by its id alone while it is open', async (t) => {
  const { scheduler, leader, offered } = setUp(t);
  await scheduler.start();
  leader.send(offers('o1', 'o2'), rescind('o2'));
  await until(() => offered.length > 0);
  await scheduler.launch('o1', [task('t1')]);
  await t.throwsAsync(scheduler.launch('o1', [task('t2')]), { instanceOf: RefusedError, message: /offer 'o1'/ });
});

test('calls of one turn travel together and in order', async (t) => {
  const { scheduler, leader } = setUp(t);
  await scheduler.start();
  await Promise.all([scheduler.suppress(), scheduler.kill('t1'), scheduler.revive()]);
  t.deepEqual(leader.batches, [1, 3]);
  t.deepEqual(
    leader.calls.slice(1).map(({ call }) => call?.type),
    [12, 6, 5],
  );
});

test('a task is paused and resumed by calls of its framework, in order with the others', async (t) => {
  const { scheduler, leader } = setUp(t);
  await scheduler.start();
  await Promise.all([scheduler.pause('t1'), scheduler.resume('t1'), scheduler.kill('t1')]);
  const [pause, resume, kill] = leader.calls.slice(1);
  t.like(pause, { call: null, pauseTask: { task: { frameworkId: 'F-1', taskId: 't1' } }, resumeTask: null });
  t.like(resume, { call: null, resumeTask: { task: { frameworkId: 'F-1', taskId: 't1' } }, pauseTask: null });
  t.truthy(kill?.call?.kill);
});

test('a call whose reply is lost is sent again under the same id', async (t) => {
  const { scheduler, leader, pass } = setUp(t);
  await scheduler.start();
  leader.answer = () => (leader.callsOf('KILL').length === 1 ? 'silence' : { logIndex: 9 });
  const killed = scheduler.kill('t1');
  for (let i = 0; i < 40; i += 1) {
    leader.beat();
    await pass(300);
  }
  t.is((await killed).logIndex, 9);
  const ids = leader.callsOf('KILL').map(({ callId }) => callId);
  t.is(ids.length, 2);
  t.is(new Set(ids).size, 1);
});

test('a call waits while nobody serves the master and is sent when one is back', async (t) => {
  const { scheduler, leader, network, pass } = setUp(t);
  await scheduler.start();
  leader.stop();
  const killed = scheduler.kill('t1');
  await pass(1000);
  const next = new FakeLeader(network, 2, leader.generation);
  next.beat();
  await pass(3000);
  await killed;
  t.is(next.callsOf('KILL').length, 1);
  t.is(next.callsOf('KILL')[0]?.generation, next.generation);
});

test('of many schedulers each subscribes with a new leader at its own moment, a single one at once', async (t) => {
  const { scheduler, leader, network, pass } = setUp(t);
  await scheduler.start();
  leader.stop();
  const second = new FakeLeader(network, 2, leader.generation);
  second.beat(1000);
  await network.settle();
  await pass(499);
  t.is(second.callsOf('SUBSCRIBE').length, 0);
  await pass(1);
  t.is(second.callsOf('SUBSCRIBE').length, 1);
  second.stop();
  const third = new FakeLeader(network, 3, second.generation);
  third.beat(1);
  await network.settle();
  await pass(1);
  t.is(third.callsOf('SUBSCRIBE').length, 1);
});

test('a call that is refused for the moment is repeated, one that is refused for good rejects', async (t) => {
  const { scheduler, leader, pass } = setUp(t);
  await scheduler.start();
  leader.answer = ({ call }) => {
    if (call?.kill) return new RefusedError('call_invalid', 't1');
    return leader.callsOf('REVIVE').length === 1 ? new RefusedError('overloaded', 'm') : {};
  };
  const revived = scheduler.revive();
  const killed = t.throwsAsync(scheduler.kill('t1'), { instanceOf: RefusedError, message: /carry out the call 't1'/ });
  await pass(500);
  await Promise.all([revived, killed]);
  t.is(leader.callsOf('REVIVE').length, 2);
});

test('a call that cannot be encoded rejects and leaves the others alone', async (t) => {
  const { scheduler, leader } = setUp(t);
  await scheduler.start();
  const bad = t.throwsAsync(scheduler.kill(5 as unknown as string), { instanceOf: TypeError });
  await Promise.all([scheduler.revive(), bad, scheduler.kill('t1')]);
  t.is(leader.callsOf('KILL').length, 1);
});

test('a first SUBSCRIBE is repeated as the same call until it is answered', async (t) => {
  const { scheduler, leader, pass } = setUp(t);
  leader.onSubscribe = () => (leader.callsOf('SUBSCRIBE').length < 3 ? 'silence' : 'accept');
  const started = scheduler.start();
  await pass(15_000);
  t.is(await started, 'F-1');
  t.is(new Set(leader.callsOf('SUBSCRIBE').map(({ callId }) => callId)).size, 1);
});

test('a newer master makes the scheduler subscribe again with its id as another call', async (t) => {
  const { scheduler, leader, network, told, pass } = setUp(t);
  await scheduler.start();
  leader.beat();
  await network.settle();
  leader.stop();
  const next = new FakeLeader(network, 2, leader.generation);
  next.beat();
  await pass(600);
  t.deepEqual(told, ['registered F-1', 'disconnected', 'reregistered']);
  t.is(next.callsOf('SUBSCRIBE')[0]?.call?.subscribe?.frameworkInfo.id?.value, 'F-1');
  t.not(next.callsOf('SUBSCRIBE')[0]?.callId, leader.callsOf('SUBSCRIBE')[0]?.callId);
});

/** The answer of a reconciliation. */
function answerOf(taskId: string, state: Parameters<typeof update>[1]): ReturnType<typeof update> {
  const event = update(taskId, state);
  Object.assign(event.update?.status ?? {}, { reason: mesos.v1.TaskStatus.Reason.REASON_RECONCILIATION });
  return event;
}
const askedOf = (leader: FakeLeader) =>
  leader.callsOf('RECONCILE').map(({ call }) => call?.reconcile?.tasks.map(({ taskId }) => taskId.value));

test('a new leader is asked about launches of which nothing was heard, until it answers', async (t) => {
  const { scheduler, leader, network, told, offered, pass } = setUp(t);
  await scheduler.start();
  leader.send(offers('o1', 'o2'));
  await until(() => offered.length > 1);
  await scheduler.launch('o1', [task('t1'), task('t2'), task('t3'), task('t4')]);
  leader.answer = (call) => new RefusedError('call_invalid', call.callId);
  await t.throwsAsync(scheduler.launch('o2', [task('refused')]));
  leader.send(update('t1', 'TASK_RUNNING', 1));
  await until(() => told.includes('t1 TASK_RUNNING'));
  leader.stop();

  const next = new FakeLeader(network, 2, leader.generation);
  next.beat(0);
  await pass(150);
  t.deepEqual(askedOf(next), [['t2', 't3', 't4']]);
  t.is(next.callsOf('RECONCILE')[0]?.call?.reconcile?.tasks[0]?.agentId?.value, 'agent-of-o1');
  told.length = 0;
  next.send(answerOf('t2', 'TASK_DROPPED'), answerOf('t3', 'TASK_STAGING'));
  await pass(50);
  t.deepEqual(told, ['t2 TASK_DROPPED'], 'that t3 is alive its agent will say');
  for (let seconds = 0; seconds < 8; seconds += 1) {
    next.beat(0);
    await pass(1_000);
  }
  t.deepEqual(askedOf(next).slice(1), [['t4'], ['t4']]);
  next.send(update('t4', 'TASK_FINISHED', 4), update('t3', 'TASK_FINISHED', 3));
  await pass(50);
  t.deepEqual(told.slice(1), ['t4 TASK_FINISHED', 't3 TASK_FINISHED']);
});

test('a launch that the next leader answers is asked about: the one before may have dropped it', async (t) => {
  const { scheduler, leader, network, offered, told, pass } = setUp(t);
  await scheduler.start();
  leader.send(offers('o1'));
  await until(() => offered.length > 0);
  leader.answer = () => 'silence';
  const launched = scheduler.launch('o1', [task('t1')]);
  await until(() => leader.callsOf('ACCEPT').length > 0);
  leader.stop();
  const next = new FakeLeader(network, 2, leader.generation);
  next.beat(0);
  await pass(150);
  await launched;
  await until(() => askedOf(next).length > 0);
  t.deepEqual(askedOf(next), [['t1']]);
  told.length = 0;
  await scheduler.reconcile([{ taskId: 't1' }]);
  next.send(answerOf('t1', 'TASK_STAGING'));
  await pass(50);
  t.deepEqual(told, ['t1 TASK_STAGING'], 'the author has asked himself');
});

test('an answer that nobody waits for is not told: the end of the task has come first', async (t) => {
  const { scheduler, leader, network, offered, told, pass } = setUp(t);
  await scheduler.start();
  leader.send(offers('o1'));
  await until(() => offered.length > 0);
  await scheduler.launch('o1', [task('t1'), task('t2')]);
  leader.stop();
  const next = new FakeLeader(network, 2, leader.generation);
  next.beat(0);
  await pass(150);
  t.deepEqual(askedOf(next), [['t1', 't2']]);
  told.length = 0;
  next.send(update('t1', 'TASK_DROPPED'), update('t2', 'TASK_DROPPED'), answerOf('t1', 'TASK_GONE'), offers('o2'));
  await until(() => offered.length > 1);
  await scheduler.launch('o2', [task('t2')]);
  next.send(answerOf('t2', 'TASK_GONE'));
  await pass(50);
  t.deepEqual(told, ['t1 TASK_DROPPED', 't2 TASK_DROPPED', 'offers o2']);
  next.beat(0);
  for (let seconds = 0; seconds < 5 && askedOf(next).length < 2; seconds += 1) {
    next.beat(0);
    await pass(1_000);
  }
  t.deepEqual(askedOf(next).slice(1), [['t2']], 'nothing has been heard of the second launch');
  next.send(answerOf('t2', 'TASK_GONE'));
  await pass(50);
  t.deepEqual(told.slice(3), ['t2 TASK_GONE']);
});

test('a scheduler that waits for a leader that loads subscribes as soon as it serves', async (t) => {
  const { scheduler, leader, network, told, pass } = setUp(t);
  await scheduler.start();
  leader.stop();
  const loading = network.connect('loading');
  loading.setEpoch({ incarnation: 1, epoch: 2 });
  for (let beats = 0; beats < 20; beats += 1) {
    sayBeat(loading, 0);
    await pass(300);
  }
  const next = new FakeLeader(network, 2, leader.generation);
  next.beat();
  await pass(150);
  t.true(told.includes('reregistered'));
  t.is(next.callsOf('SUBSCRIBE').length, 1);
});

test('SUBSCRIBE says the highest epoch that the scheduler has heard of', async (t) => {
  const { scheduler, leader, network } = setUp(t);
  await scheduler.start();
  leader.bus.setEpoch({ incarnation: 2, epoch: 5 });
  leader.beat(0);
  await network.settle();
  await until(() => leader.callsOf('SUBSCRIBE').length > 1);
  t.deepEqual(
    leader.callsOf('SUBSCRIBE').map((call) => [call.highestClusterIncarnation, call.highestEpoch]),
    [
      [0, 0],
      [2, 5],
    ],
  );
});

test('the beat of a deposed master changes nothing', async (t) => {
  const { scheduler, network, told, pass } = setUp(t);
  await scheduler.start();
  const old = new FakeLeader(network, 0);
  old.beat();
  await pass(1000);
  t.deepEqual(told, ['registered F-1']);
});

test('lost events make the scheduler subscribe again', async (t) => {
  const { scheduler, leader, network, told, pass } = setUp(t);
  await scheduler.start();
  const heal = network.drop(({ subject }) => subject.includes('.scheduler.default.'));
  leader.send(offers('o1'));
  heal();
  leader.send(offers('o2'));
  await pass(100);
  t.deepEqual(told, ['registered F-1', 'disconnected', 'reregistered']);
  leader.send(offers('o3'));
  await until(() => told.length === 4);
  t.is(told[3], 'offers o3');
});

test('silence of the master for five seconds counts as lost contact', async (t) => {
  const { scheduler, leader, told, pass } = setUp(t);
  await scheduler.start();
  for (let i = 0; i < 20; i += 1) {
    leader.beat();
    await pass(300);
  }
  t.deepEqual(told, ['registered F-1']);
  await pass(5100);
  t.deepEqual(told, ['registered F-1', 'disconnected', 'reregistered']);
});

test('a lost connection is told at once and repaired when it is back', async (t) => {
  const clock = new ManualClock();
  const network = createMemoryNetwork({ clock });
  const bus = network.connect('scheduler');
  const { scheduler, told, pass } = setUpOn(t, network, clock, bus);
  new FakeLeader(network);
  await scheduler.start();
  network.disconnect(bus);
  await pass(50);
  t.deepEqual(told, ['registered', 'disconnected']);
  network.reconnect(bus);
  await pass(50);
  t.deepEqual(told, ['registered', 'disconnected', 'reregistered']);
});

function setUpOn(
  t: ExecutionContext,
  network: MemoryNetwork,
  clock: ManualClock,
  bus: SchedulerOptions['bus'] & object,
) {
  const told: string[] = [];
  const scheduler = new Scheduler(
    { bus, clock, framework: { name: 'test' } },
    {
      registered: () => void told.push('registered'),
      reregistered: () => void told.push('reregistered'),
      disconnected: () => void told.push('disconnected'),
    },
  );
  const pass = async (ms: number) => {
    clock.advance(ms);
    await network.settle();
  };
  t.teardown(() => scheduler.stop({ failover: true }));
  return { scheduler, told, pass };
}

test('offers that waited for the author are not handed over once contact is lost', async (t) => {
  let release: () => void = () => {};
  const blocked = new Promise<void>((resolve) => {
    release = resolve;
  });
  const { scheduler, leader, network, told, pass } = setUp(t, {}, { frameworkMessage: () => blocked });
  await scheduler.start();
  const ids = { agentId: { value: 'a' }, executorId: { value: 'e' } };
  leader.send({ type: 5, message: { ...ids, data: new Uint8Array() } }, offers('o1'), update('t1', 'TASK_RUNNING', 1));
  await network.settle();
  const next = new FakeLeader(network, 2, leader.generation);
  leader.stop();
  next.beat();
  await pass(600);
  release();
  await until(() => told.includes('reregistered'));
  t.deepEqual(told, ['registered F-1', 't1 TASK_RUNNING', 'disconnected', 'reregistered']);
});

test('a stream that begins anew without SUBSCRIBED has lost events: the scheduler subscribes again', async (t) => {
  const { scheduler, leader, told, pass } = setUp(t);
  await scheduler.start();
  leader.restartStream();
  leader.send(offers('o2'));
  await pass(1000);
  t.is(leader.callsOf('SUBSCRIBE').length, 2);
  t.deepEqual(told, ['registered F-1', 'disconnected', 'reregistered']);
});

test('events of an older generation are dropped', async (t) => {
  const { scheduler, leader, told, network } = setUp(t);
  await scheduler.start();
  leader.sendAs(0, offers('o1'));
  leader.send(offers('o2'));
  await network.settle();
  t.deepEqual(told, ['registered F-1', 'offers o2']);
});

test('a superseded scheduler stops for good and says so', async (t) => {
  const { scheduler, leader, errors } = setUp(t);
  const running = scheduler.run();
  await scheduler.start();
  leader.send(errorEvent('Framework failed over'));
  const error = await t.throwsAsync(running, { instanceOf: SchedulerEndedError });
  t.is((error as SchedulerEndedError).reason, 'superseded');
  t.deepEqual(errors, [error]);
  await t.throwsAsync(scheduler.kill('t1'), { is: error });
});

test('a call refused because another scheduler took over ends this one', async (t) => {
  const { scheduler, leader } = setUp(t);
  const running = scheduler.run();
  await scheduler.start();
  leader.answer = () => new RefusedError('instance_superseded', 'F-1');
  await t.throwsAsync(scheduler.kill('t1'));
  await t.throwsAsync(running, { instanceOf: SchedulerEndedError, message: /another scheduler/ });
});

test('a scheduler that subscribes again says its generation, so that a master that never knew it can refuse it', async (t) => {
  const { scheduler, leader, network, pass } = setUp(t);
  const running = scheduler.run();
  await scheduler.start();
  const known = leader.generation;
  leader.stop();
  const next = new FakeLeader(network, 2, known + 1); // another scheduler has taken over under the master before
  next.onSubscribe = ({ generation }) =>
    generation > 0 && generation < next.generation ? new RefusedError('instance_superseded', 'F-1') : 'accept';
  next.beat();
  await pass(3000);
  await t.throwsAsync(running, { instanceOf: SchedulerEndedError, message: /another scheduler/ });
  t.is(leader.callsOf('SUBSCRIBE')[0]?.generation, 0);
  t.is(next.callsOf('SUBSCRIBE')[0]?.generation, known);
});

test('a refused SUBSCRIBE rejects start with what the master said', async (t) => {
  const { scheduler, leader } = setUp(t);
  leader.onSubscribe = () => new RefusedError('not_authorized', 'role ads');
  const error = await t.throwsAsync(scheduler.start(), { instanceOf: SchedulerEndedError, message: /role ads/ });
  t.is((error as SchedulerEndedError).reason, 'refused');
});

test('a status update is acknowledged when the callback is done, not before', async (t) => {
  const waiting = Promise.withResolvers<void>();
  const { scheduler, leader, network } = setUp(t, {}, { statusUpdate: () => waiting.promise });
  await scheduler.start();
  leader.send(update('t1', 'TASK_RUNNING', 1));
  await network.settle();
  t.is(leader.callsOf('ACKNOWLEDGE').length, 0);
  waiting.resolve();
  await until(() => leader.callsOf('ACKNOWLEDGE').length === 1);
  t.deepEqual(leader.callsOf('ACKNOWLEDGE')[0]?.call?.acknowledge?.uuid, new Uint8Array(16).fill(1));
});

test('an update that comes twice is handed over once and acknowledged twice', async (t) => {
  const { scheduler, leader, network, told } = setUp(t);
  await scheduler.start();
  leader.send(update('t1', 'TASK_RUNNING', 1));
  await until(() => leader.callsOf('ACKNOWLEDGE').length === 1);
  await network.settle();
  leader.send(update('t1', 'TASK_RUNNING', 1));
  await until(() => leader.callsOf('ACKNOWLEDGE').length === 2);
  t.deepEqual(told, ['registered F-1', 't1 TASK_RUNNING']);
});

test('an update without a uuid is not acknowledged', async (t) => {
  const { scheduler, leader, network, told } = setUp(t);
  await scheduler.start();
  leader.send(update('t1', 'TASK_LOST'));
  await until(() => told.length === 2);
  await network.settle();
  t.is(leader.callsOf('ACKNOWLEDGE').length, 0);
});

test('an update whose callback throws is not acknowledged, is reported, and comes again', async (t) => {
  let failures = 1;
  const seen: string[] = [];
  const statusUpdate = ({ taskId }: TaskStatus) => {
    seen.push(taskId);
    if (failures-- > 0) throw new Error('disk full');
  };
  const { scheduler, leader, errors, network } = setUp(t, {}, { statusUpdate });
  await scheduler.start();
  leader.send(update('t1', 'TASK_RUNNING', 1));
  await network.settle();
  t.deepEqual(
    errors.map(({ message }) => message),
    ['disk full'],
  );
  t.is(leader.callsOf('ACKNOWLEDGE').length, 0);
  leader.send(update('t1', 'TASK_RUNNING', 1));
  await until(() => leader.callsOf('ACKNOWLEDGE').length === 1);
  t.deepEqual(seen, ['t1', 't1']);
});

test('with manual acknowledgement nothing is acknowledged until the author does', async (t) => {
  const statuses: TaskStatus[] = [];
  const own = { statusUpdate: (status: TaskStatus) => void statuses.push(status) };
  const { scheduler, leader, network } = setUp(t, { acknowledge: 'manual' }, own);
  await scheduler.start();
  leader.send(update('t1', 'TASK_RUNNING', 1), update('t1', 'TASK_RUNNING', 1));
  await network.settle();
  t.is(statuses.length, 1);
  t.is(leader.callsOf('ACKNOWLEDGE').length, 0);
  await scheduler.acknowledge(statuses[0] as TaskStatus);
  t.is(leader.callsOf('ACKNOWLEDGE').length, 1);
});

test('callbacks run one after the other in the order of the events', async (t) => {
  const steps: string[] = [];
  const statusUpdate = async ({ taskId }: TaskStatus) => {
    steps.push(`${taskId} begins`);
    await new Promise((resolve) => setImmediate(resolve));
    steps.push(`${taskId} ends`);
  };
  const { scheduler, leader } = setUp(t, {}, { statusUpdate });
  await scheduler.start();
  leader.send(update('t1', 'TASK_RUNNING', 1), update('t2', 'TASK_RUNNING', 2));
  await until(() => steps.length === 4);
  t.deepEqual(steps, ['t1 begins', 't1 ends', 't2 begins', 't2 ends']);
});

test('one accept launches five thousand tasks through a bus with small frames', async (t) => {
  const { scheduler, leader, offered } = setUp(t, {}, {}, 64 * 1024);
  await scheduler.start();
  leader.send(offers('o1'));
  await until(() => offered.length > 0);
  const tasks = Array.from({ length: 5000 }, (_, i) => task(`t${i}`));
  await scheduler.launch(offered[0] as Offer, tasks);
  t.is(leader.callsOf('ACCEPT')[0]?.call?.accept?.operations[0]?.launch?.taskInfos.length, 5000);
});

test('stop tears the framework down, also from inside a callback', async (t) => {
  const { scheduler, leader } = setUp(t, {}, { statusUpdate: () => scheduler.stop() });
  const running = scheduler.run();
  await scheduler.start();
  leader.send(update('t1', 'TASK_FINISHED', 1));
  await running;
  t.is(leader.callsOf('TEARDOWN').length, 1);
});

test('stop with failover leaves the framework to a successor', async (t) => {
  const { scheduler, leader } = setUp(t);
  await scheduler.start();
  await scheduler.stop({ failover: true });
  await scheduler.run();
  t.is(leader.callsOf('TEARDOWN').length, 0);
});

test('suppressed roles are still suppressed after subscribing again', async (t) => {
  const { scheduler, leader, network, pass } = setUp(t);
  await scheduler.start();
  await scheduler.suppress();
  leader.stop();
  const next = new FakeLeader(network, 2, leader.generation);
  next.beat();
  await pass(600);
  t.deepEqual(next.callsOf('SUBSCRIBE')[0]?.call?.subscribe?.suppressedRoles, ['ads']);
});
