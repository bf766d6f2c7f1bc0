import { mesobus, mesos } from '@mesobus/protos';
import { createLedger } from '@mesobus/registry/core';
import {
  type Bus,
  type Clock,
  createMemoryNetwork,
  ManualClock,
  type MemoryNetwork,
  silentLogger,
  subjectsOf,
  systemClock,
} from '@mesobus/sdk/bus';
import { RefusedError } from '@mesobus/sdk/errors';
import test, { type ExecutionContext } from 'ava';
import { defaultConfig } from '../src/core/index.ts';
import { type LeadershipInUse, type RunningMaster, run } from '../src/shell/run.ts';
import { CallType, launchOf, masterInfo, resources, task } from './harness.ts';

const subjects = subjectsOf('test');

/** A log that commits when told to, or at once. */
class FakeLeadership implements LeadershipInUse {
  readonly epoch = 7;
  readonly incarnation = 1;
  readonly ledger = createLedger();
  lastIndex = 0;
  lease: LeadershipInUse['lease'] = 'fresh';
  lagging = false;
  autoCommit = true;
  failing: Error | undefined;
  position = 0;
  readonly #leaseListeners: ((lease: LeadershipInUse['lease']) => void)[] = [];
  readonly #listeners: ((position: number, index: number) => void)[] = [];

  submit(records: readonly object[]): number {
    if (this.failing !== undefined) throw this.failing;
    this.position += records.length;
    this.#soon();
    return this.position;
  }

  barrier(): number {
    this.position += 1;
    this.#soon();
    return this.position;
  }

  onCommitted(listener: (position: number, index: number) => void): void {
    this.#listeners.push(listener);
  }

  #soon(): void {
    if (this.autoCommit) queueMicrotask(() => this.commit());
  }

  onLease(listener: (lease: LeadershipInUse['lease']) => void): void {
    this.#leaseListeners.push(listener);
  }

  freeze(): void {
    this.lease = 'frozen';
    for (const listener of this.#leaseListeners) listener('frozen');
  }

  commit(): void {
    this.lastIndex += 1;
    for (const listener of this.#listeners) listener(this.position, this.lastIndex);
  }
}

interface Setup {
  network: MemoryNetwork;
  leadership: FakeLeadership;
  master: RunningMaster;
  bus: Bus;
  fatal: unknown[];
  /** The epochs that it was told somebody obeys. */
  outranked: number[];
}

function setup(t: ExecutionContext, clock: Clock = systemClock): Setup {
  const network = createMemoryNetwork({ clock });
  const leadership = new FakeLeadership();
  const fatal: unknown[] = [];
  const outranked: number[] = [];
  const master = run({
    bus: network.connect('master'),
    subjects,
    leadership,
    config: { ...defaultConfig, masterId: 'm1', masterInfo },
    clock,
    now: () => Date.now(),
    log: silentLogger,
    onFatal: (error) => fatal.push(error),
    onOutranked: (epoch) => outranked.push(epoch),
  });
  t.teardown(() => master.stop());
  return { network, leadership, master, bus: network.connect('other'), fatal, outranked };
}

type CallBody = Omit<mesos.v1.scheduler.Call.$Properties, 'type'> & { type: mesos.v1.scheduler.Call.Type };

function schedulerCall(bus: Bus, callId: string, body: CallBody, generation = 1) {
  const calls = [{ callId, instanceId: 'i1', generation, call: body }];
  return bus.request(subjects.masterScheduler.of('p1'), { calls }, { timeoutMs: 2_000 });
}

const subscribe = (bus: Bus) =>
  schedulerCall(bus, 'c0', { type: CallType.SUBSCRIBE, subscribe: { frameworkInfo: { user: 'u', name: 'n' } } }, 0);

/** A scheduler's events, each to be awaited. */
function eventsOf(
  t: ExecutionContext,
  bus: Bus,
): (type: mesos.v1.scheduler.Event.Type) => Promise<mesobus.v1.SchedulerEvent> {
  const seen: mesobus.v1.SchedulerEvent[] = [];
  let wake = (): void => {};
  const following = bus.followStream(subjects.schedulerEvents('p1', 'i1'), {
    onMessage: ({ events }) => {
      seen.push(...events);
      wake();
    },
    onGap: () => {},
  });
  t.teardown(() => following.stop());
  return async (type) => {
    for (;;) {
      const at = seen.findIndex(({ event }) => event?.type === type);
      if (at >= 0) return seen.splice(at, 1)[0] as mesobus.v1.SchedulerEvent;
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  };
}

const { SUBSCRIBED, OFFERS, UPDATE, RESCIND } = mesos.v1.scheduler.Event.Type;

/** An agent, a framework, and an offer of the one to the other. */
async function offering(t: ExecutionContext, bus: Bus) {
  const next = eventsOf(t, bus);
  const info = { hostname: 'a1', resources: resources('cpus:2;mem:100') };
  const register = { agentName: 'a1', registrationKey: 'k', info };
  const asAgent = (request: mesobus.v1.AgentRequest.$Properties) =>
    bus.request(subjects.masterAgent.of('a1'), { incarnation: 'n1', ...request }, { timeoutMs: 2_000 });
  const agentId = (await asAgent({ register })).message.registered?.agentId ?? '';

  const [accepted] = (await subscribe(bus)).message.replies;
  const frameworkId = accepted?.accepted?.frameworkId ?? '';
  t.is((await next(SUBSCRIBED)).event?.subscribed?.frameworkId.value, frameworkId);

  const books = Promise.withResolvers<mesobus.v1.FeedBatch>();
  const feed = subjects.allocatorFeed('al', 'x');
  bus.followStream(feed, { onMessage: (batch) => books.resolve(batch), onGap: () => {} });
  const asAllocator = (request: mesobus.v1.AllocatorRequest.$Properties) =>
    bus.request(subjects.masterAllocator.of('al'), request, { timeoutMs: 2_000 });
  await asAllocator({ hello: { incarnation: 'x', losses: 1 } });
  const { masterId, feed: number, snapshotBegins, snapshotEnds } = await books.promise;
  t.true(snapshotBegins && snapshotEnds);
  const digested = await asAllocator({ hello: { incarnation: 'x', losses: 1, feed: number, digested: 1 } });
  const { appointment } = digested.message;
  const allocation = { number: 1, agentId, frameworkId, role: '*', resources: resources('cpus:2;mem:100') };
  await asAllocator({ allocations: { masterId, appointment, incarnation: 'x', allocations: [allocation] } });

  const offered = await next(OFFERS);
  return { next, asAgent, agentId, frameworkId, offered };
}

test('a task goes from offer to run command to update to acknowledgement', async (t) => {
  const { bus } = setup(t);
  const commands: mesobus.v1.AgentCommand[] = [];
  const acknowledged = Promise.withResolvers<Uint8Array>();
  bus.serve(subjects.agent.of('a1'), ({ message, reply }) => {
    for (const command of message.commands) {
      commands.push(command);
      if (command.acknowledgeUpdate) acknowledged.resolve(command.acknowledgeUpdate.uuid);
    }
    reply({ cursor: Math.max(0, ...commands.map(({ number }) => number)) });
  });
  const { next, asAgent, agentId, frameworkId, offered } = await offering(t, bus);
  const offerId = offered.event?.offers?.offers[0]?.id.value ?? '';
  t.regex(offered.offerTraces[offerId] ?? '', /^00-[\da-f]{32}-[\da-f]{16}-0[01]$/);
  const accept = { offerIds: [{ value: offerId }], operations: [launchOf([task('t1', agentId)])] };
  const about = { frameworkId: { value: frameworkId } };
  const [answer] = (await schedulerCall(bus, 'c1', { ...about, type: CallType.ACCEPT, accept })).message.replies;
  t.true((answer?.accepted?.logIndex ?? 0) > 0);

  const uuid = new Uint8Array(16).fill(5);
  const status = { taskId: { value: 't1' }, state: mesos.v1.TaskState.TASK_RUNNING, uuid };
  const update = { frameworkId, status, number: 1, latestState: status.state, commandNumber: 1 };
  await asAgent({ agentId, taskUpdates: { updates: [update] } });
  t.is((await next(UPDATE)).event?.update?.status.state, mesos.v1.TaskState.TASK_RUNNING);
  const acknowledge = { agentId: { value: agentId }, taskId: { value: 't1' }, uuid };
  await schedulerCall(bus, 'c2', { ...about, type: CallType.ACKNOWLEDGE, acknowledge });
  t.deepEqual(await acknowledged.promise, uuid);
  t.is(commands[0]?.runTask?.task?.taskId.value, 't1');
});

test('the calls of one request are answered together, in their order', async (t) => {
  const { bus } = setup(t);
  const ids = ['x1', 'x2', 'x3'];
  const calls = ids.map((callId) => ({ callId, instanceId: 'i1', generation: 1, call: { type: CallType.REVIVE } }));
  const { message } = await bus.request(subjects.masterScheduler.of('p1'), { calls }, { timeoutMs: 2_000 });
  t.deepEqual(
    message.replies.map(({ callId, refusal }) => [callId, refusal?.code]),
    ids.map((id) => [id, 'framework_unknown']),
  );
});

test('nothing is answered while the log commits nothing', async (t) => {
  const { bus, leadership, network } = setup(t);
  leadership.autoCommit = false;
  let answered = false;
  const asked = subscribe(bus).then(() => {
    answered = true;
  });
  await network.settle();
  t.false(answered);
  leadership.commit();
  await asked;
  t.true(answered);
});

test('a leader whose writes are not confirmed takes nothing new', async (t) => {
  const { bus, leadership } = setup(t);
  leadership.freeze();
  const error = await t.throwsAsync(subscribe(bus), { instanceOf: RefusedError });
  t.is(error.code, 'not_leading');
});

test('a leader for whose log too much waits takes nothing new, and goes on when it has caught up', async (t) => {
  const { bus, leadership, fatal } = setup(t);
  leadership.lagging = true;
  const error = await t.throwsAsync(subscribe(bus), { instanceOf: RefusedError });
  t.is(error.code, 'overloaded');
  leadership.lagging = false;
  t.truthy((await subscribe(bus)).message.replies[0]?.accepted);
  t.deepEqual(fatal, []);
});

test('a log that refuses a record ends the leadership, and nothing more is served', async (t) => {
  const { bus, leadership, fatal } = setup(t);
  leadership.failing = new RefusedError('overloaded', 'log');
  await t.throwsAsync(subscribe(bus));
  t.deepEqual(fatal, [leadership.failing]);
  await t.throwsAsync(subscribe(bus), { name: 'NoRespondersError' });
});

test('a leadership that ends while something is decided is no fault of the state', async (t) => {
  const { bus, leadership, fatal } = setup(t);
  leadership.failing = new RefusedError('not_leading', 'log');
  await t.throwsAsync(subscribe(bus));
  t.deepEqual(fatal, []);
  await t.throwsAsync(subscribe(bus), { name: 'NoRespondersError' });
});

const register = (bus: Bus, highestEpoch: number, highestClusterIncarnation = 1) => {
  const info = { hostname: 'a1', resources: resources('cpus:2') };
  const about = { agentName: 'a1', registrationKey: 'k', info, highestEpoch, highestClusterIncarnation };
  return bus.request(subjects.masterAgent.of('a1'), { incarnation: 'n1', register: about }, { timeoutMs: 2_000 });
};

test('a leader learns from a registration, or a heartbeat, that an agent obeys a higher epoch', async (t) => {
  const { bus, outranked, network } = setup(t);
  t.truthy((await register(bus, 7)).message.registered);
  t.deepEqual(outranked, []);
  await t.throwsAsync(register(bus, 9), { code: 'not_leading' });
  bus.publish(subjects.heartbeat.of('a1'), { incarnation: 'n1', highestEpoch: 12, highestClusterIncarnation: 1 });
  await network.settle();
  t.deepEqual(outranked, [9, 12]);
});

test('a leader learns from a subscription that a scheduler obeys a higher epoch', async (t) => {
  const { bus, outranked } = setup(t);
  const body = { type: CallType.SUBSCRIBE, subscribe: { frameworkInfo: { user: 'u', name: 'n' } } };
  const obeying = (highestEpoch: number, highestClusterIncarnation = 1) => {
    const call = { callId: 'c0', instanceId: 'i1', highestEpoch, highestClusterIncarnation, call: body };
    return bus.request(subjects.masterScheduler.of('p1'), { calls: [call] }, { timeoutMs: 2_000 });
  };
  t.truthy((await obeying(7)).message.replies[0]?.accepted);
  t.deepEqual(outranked, []);
  await t.throwsAsync(obeying(8, 2), { code: 'not_leading' });
  t.deepEqual(outranked, []);
  await t.throwsAsync(obeying(9), { code: 'not_leading' });
  t.deepEqual(outranked, [9]);
});

test('an agent that obeys what never led here is refused, and moves no epoch', async (t) => {
  const { bus, outranked } = setup(t);
  await t.throwsAsync(register(bus, 2 ** 50), { code: 'not_leading' });
  await t.throwsAsync(register(bus, 3, 2), { code: 'not_leading' });
  t.deepEqual(outranked, []);
});

for (const [what, incarnation] of [
  ['no incarnation', ''],
  ['one that no subject can hold', 'x'.repeat(5_000)],
] as const) {
  test(`an allocator that names ${what} is refused, and the master goes on`, async (t) => {
    const { bus, fatal } = setup(t);
    const hello = { incarnation, losses: 1 };
    const error = await t.throwsAsync(
      bus.request(subjects.masterAllocator.of('al1'), { hello }, { timeoutMs: 2_000 }),
      { instanceOf: RefusedError },
    );
    t.is(error?.code, 'call_invalid');
    t.deepEqual(fatal, []);
    t.truthy((await subscribe(bus)).message.replies[0]?.accepted);
  });
}

test('what is on its way into the log is answered when the master takes nothing new', async (t) => {
  const { bus, leadership, master, network } = setup(t);
  leadership.autoCommit = false;
  const asked = subscribe(bus);
  await network.settle();
  master.close();
  await t.throwsAsync(subscribe(bus), { name: 'NoRespondersError' });
  leadership.commit();
  t.truthy((await asked).message.replies[0]?.accepted);
});

test('so is a scheduler that has asked about its tasks', async (t) => {
  const { bus, leadership, master, network } = setup(t);
  const next = eventsOf(t, bus);
  const frameworkId = (await subscribe(bus)).message.replies[0]?.accepted?.frameworkId ?? '';
  await next(SUBSCRIBED);
  leadership.autoCommit = false;
  const reconcile = { tasks: [{ taskId: { value: 'who' } }] };
  void schedulerCall(bus, 'c1', { frameworkId: { value: frameworkId }, type: CallType.RECONCILE, reconcile });
  await network.settle();
  master.close();
  leadership.commit();
  t.is((await next(UPDATE)).event?.update?.status.taskId.value, 'who');
});

test('a master that hands over rescinds its offers: nobody could accept them in time', async (t) => {
  const { bus, master } = setup(t);
  const { next, offered } = await offering(t, bus);
  t.is(master.state.offers.size, 1);
  master.close();
  t.is(master.state.offers.size, 0);
  const offerId = offered.event?.offers?.offers[0]?.id.value;
  t.is((await next(RESCIND)).event?.rescind?.offerId.value, offerId);
});

test('the leader says that it leads, with its epoch, and how many agents it expects', async (t) => {
  const { bus } = setup(t);
  await register(bus, 0);
  const beat = Promise.withResolvers<[string, number, number, number]>();
  bus.serve(subjects.leader, ({ message: { masterId, phase, agents }, epoch }) =>
    beat.resolve([masterId, phase, epoch.epoch, agents]),
  );
  t.deepEqual(await beat.promise, ['m1', mesobus.v1.LeaderBeat.Phase.LEADING, 7, 1]);
});

test('connections and offers may be asked for', async (t) => {
  const { bus } = setup(t);
  await subscribe(bus);
  const ask = (query: mesobus.v1.MasterQuery.$Properties) =>
    bus.request(subjects.masterQuery.of('ops'), query, { timeoutMs: 2_000 });
  const { connections } = (await ask({ getConnections: {} })).message;
  t.like(connections, { masterId: 'm1', epoch: 7, frameworks: [{ frameworkId: 'm1-0000', connected: true }] });
  t.deepEqual((await ask({ getOffers: {} })).message.offers?.offers, []);
});

test('a scheduler that nobody follows any more is disconnected', async (t) => {
  const clock = new ManualClock();
  const { bus, master, network } = setup(t, clock);
  const { message } = await subscribe(bus); // and never listens
  const framework = master.state.frameworks.get(message.replies[0]?.accepted?.frameworkId ?? '');
  t.true(framework?.connected);
  clock.advance(3_000);
  await network.settle();
  t.false(framework?.connected);
});
