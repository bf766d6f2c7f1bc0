import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { decode, mesobus, mesos } from '@mesobus/protos';
import { type Bus, EpochGate } from '@mesobus/sdk/bus';
import test, { type ExecutionContext } from 'ava';
import { CallType, launchOf, resources, task } from './harness.ts';
import { type MasterProcess, Masters, subjects } from './masters.ts';

function setup(t: ExecutionContext): Masters {
  const masters = new Masters();
  t.teardown(() => masters.stop());
  return masters;
}

/** As much of an agent as launches need: it obeys the highest epoch, applies commands once and in order, and registers. */
class Agent {
  readonly gate: EpochGate;
  readonly started: string[] = [];
  cursor = 0;
  agentId = '';
  registeredWith = 0;
  /** Commands that come are lost. */
  deaf = false;
  readonly #bus: Bus;

  constructor(bus: Bus, highest = { incarnation: 0, epoch: 0 }) {
    this.#bus = bus;
    this.gate = new EpochGate(highest);
    bus.serve(subjects.agent.of('a1'), ({ message, epoch, reply }) => {
      if (this.deaf || this.gate.observe(epoch) === 'stale') return;
      for (const { number, runTask } of message.commands) {
        if (number !== this.cursor + 1) continue;
        this.cursor = number;
        if (runTask?.task) this.started.push(runTask.task.taskId.value);
      }
      reply({ cursor: this.cursor });
    });
    bus.serve(subjects.leader, ({ epoch, message }) => {
      const seen = this.gate.observe(epoch);
      const leads = message.phase === mesobus.v1.LeaderBeat.Phase.LEADING;
      if (seen !== 'stale' && leads && this.registeredWith !== epoch.epoch) void this.register();
    });
  }

  beat(): void {
    const { epoch: highestEpoch, incarnation: highestClusterIncarnation } = this.gate.highest;
    const { agentId, cursor } = this;
    const beat = { agentId, incarnation: 'n1', cursor, highestEpoch, highestClusterIncarnation };
    this.#bus.publish(subjects.heartbeat.of('a1'), beat);
  }

  async register(): Promise<void> {
    const { epoch: highestEpoch, incarnation: highestClusterIncarnation } = this.gate.highest;
    const info = { hostname: 'a1', resources: resources('cpus:4;mem:4096') };
    const tasks = this.started.map((taskId, at) => ({
      frameworkId: 'm1-0000',
      taskId,
      state: mesos.v1.TaskState.TASK_RUNNING,
      commandNumber: at + 1,
    }));
    const { cursor } = this;
    const about = {
      agentName: 'a1',
      registrationKey: 'k',
      info,
      cursor,
      highestEpoch,
      highestClusterIncarnation,
      tasks,
    };
    const request = { agentId: this.agentId, incarnation: 'n1', register: about };
    const options = {
      timeoutMs: 5_000,
      accepts: (epoch: typeof this.gate.highest) => this.gate.observe(epoch) !== 'stale',
    };
    try {
      const answer = await this.#bus.request(subjects.masterAgent.of('a1'), request, options);
      this.agentId = answer.message.registered?.agentId ?? this.agentId;
      this.registeredWith = answer.epoch.epoch;
    } catch {
      // the next beat asks again
    }
  }
}

interface Answered {
  readonly reply: mesobus.v1.SchedulerReply;
  readonly epoch: number;
}

/** Calls made for one framework; what came back, in order. */
class Framework {
  readonly answers: Answered[] = [];
  readonly offers: string[] = [];
  frameworkId = '';
  readonly #bus: Bus;
  #generation = 0;

  constructor(bus: Bus) {
    this.#bus = bus;
    bus.followStream(subjects.schedulerEvents('p1', 'i1'), {
      onMessage: ({ events }) => {
        for (const { event } of events) this.offers.push(...(event?.offers?.offers ?? []).map(({ id }) => id.value));
      },
      onGap: () => {},
    });
  }

  async call(callId: string, call: mesos.v1.scheduler.Call.$Properties): Promise<void> {
    const about = this.frameworkId === '' ? {} : { frameworkId: { value: this.frameworkId } };
    const calls = [{ callId, instanceId: 'i1', generation: this.#generation, call: { ...about, ...call } }];
    const answer = await this.#bus
      .request(subjects.masterScheduler.of('p1'), { calls }, { timeoutMs: 120_000 })
      .catch(() => undefined);
    const reply = answer?.message.replies[0];
    if (answer === undefined || reply === undefined) return;
    this.answers.push({ reply, epoch: answer.epoch.epoch });
    this.frameworkId ||= reply.accepted?.frameworkId ?? '';
    this.#generation ||= reply.accepted?.generation ?? 0;
  }

  subscribe(callId: string): Promise<void> {
    const id = this.frameworkId === '' ? {} : { id: { value: this.frameworkId } };
    const frameworkInfo = { user: 'u', name: 'n', failoverTimeout: 600, ...id };
    return this.call(callId, { type: CallType.SUBSCRIBE, subscribe: { frameworkInfo } });
  }

  accept(callId: string, taskId: string, agentId: string): Promise<void> {
    const offerIds = [{ value: this.offers.shift() ?? '' }];
    const accept = { offerIds, operations: [launchOf([task(taskId, agentId)])] };
    return this.call(callId, { type: CallType.ACCEPT, accept });
  }
}

/** Allocates all of an agent to a framework, as an allocator that has digested its books. */
async function allocate(bus: Bus, agentId: string, frameworkId: string): Promise<void> {
  const books = Promise.withResolvers<mesobus.v1.FeedBatch>();
  bus.followStream(subjects.allocatorFeed('al', 'x'), { onMessage: books.resolve, onGap: () => {} });
  const ask = (request: mesobus.v1.AllocatorRequest.$Properties) =>
    bus.request(subjects.masterAllocator.of('al'), request, { timeoutMs: 5_000 });
  await ask({ hello: { incarnation: 'x', losses: 1 } });
  const { masterId, feed } = await books.promise;
  const { appointment } = (await ask({ hello: { incarnation: 'x', losses: 1, feed, digested: 1 } })).message;
  const allocation = { number: 1, agentId, frameworkId, role: '*', resources: resources('cpus:4;mem:4096') };
  await ask({ allocations: { masterId, appointment, incarnation: 'x', allocations: [allocation] } });
}

const epochOf = ({ contender }: MasterProcess): number => contender.leadership?.epoch ?? 0;

test('of several masters one leads, and the others stand by', async (t) => {
  const masters = setup(t);
  for (const name of ['m1', 'm2', 'm3']) masters.start(name);
  await masters.untilLed();
  await masters.pass(30_000);
  t.is(masters.processes.filter(({ contender }) => contender.leadership !== undefined).length, 1);
  t.is(epochOf(masters.leader as MasterProcess), 1);
});

test('a master of another region than the leader, or of none, is turned away; others take over', async (t) => {
  const masters = setup(t);
  const first = masters.start('m1', { region: 'here' });
  await masters.untilLed();
  const strangers = [masters.start('m2', { region: 'there' }), masters.start('m3')];
  const next = masters.start('m4', { region: 'here' });
  await masters.pass(1_000);
  for (const [at, what] of ["is of region 'there'", 'has no domain'].entries()) {
    const [failure, ...others] = strangers[at]?.failures ?? [];
    t.regex(
      String(failure),
      new RegExp(`this master ${what}, and 'm1', .* region 'here'; give all masters a --domain`),
    );
    t.deepEqual(others, []);
  }
  masters.kill(first);
  t.is(await masters.untilLed(), next);
  await masters.pass(30_000);
  t.deepEqual(
    [first, next].flatMap(({ failures }) => failures),
    [],
  );
});

test('a leader without a domain turns nobody away, so that masters can be given one in turn', async (t) => {
  const masters = setup(t);
  const first = masters.start('m1');
  await masters.untilLed();
  const second = masters.start('m2', { region: 'here' });
  await masters.pass(1_000);
  t.deepEqual(second.failures, []);
  masters.kill(first);
  t.is(await masters.untilLed(), second);
});

test('a leader that is killed is replaced within two seconds', async (t) => {
  const masters = setup(t);
  masters.start('m1');
  const first = await masters.untilLed();
  masters.start('m2');
  masters.start('m3');
  await masters.pass(1_000);
  masters.kill(first);
  const killedAt = masters.clock.now();
  const second = await masters.untilLed();
  t.log(`after ${masters.clock.now() - killedAt} ms`);
  t.true(masters.clock.now() - killedAt <= 2_000);
  t.is(epochOf(second), 2);
});

test('a lone master that is killed and started again leads within two seconds', async (t) => {
  const masters = setup(t);
  masters.start('m1');
  const first = await masters.untilLed();
  await masters.pass(1_000);
  masters.kill(first);
  const startedAt = masters.clock.now();
  masters.start('m2');
  t.is((await masters.untilLed()).name, 'm2');
  t.true(masters.clock.now() - startedAt <= 2_000);
});

test('a leader that stops hands over as soon as its record is read', async (t) => {
  const masters = setup(t);
  masters.start('m1');
  const first = await masters.untilLed();
  masters.start('m2');
  await masters.pass(1_000);
  const stopped = first.contender.stop();
  for (let turns = 0; masters.leader?.name !== 'm2' && turns < 100; turns += 1) await masters.network.settle();
  t.is(masters.leader?.name, 'm2', 'without any time passing');
  await stopped;
});

test('a leader that hangs costs a lease; on its return it says nothing that anybody obeys, and stands by', async (t) => {
  const masters = setup(t);
  const m1 = masters.start('m1');
  await masters.untilLed();
  const m2 = masters.start('m2');
  const framework = new Framework(masters.network.connect('framework'));
  void framework.subscribe('c1');
  await masters.until(() => framework.answers.length === 1);
  await masters.pass(1_000);

  masters.hang(m1);
  const hungAt = masters.clock.now();
  await masters.until(() => masters.leader === m2);
  const tookMs = masters.clock.now() - hungAt;
  t.true(tookMs >= 14_000 && tookMs <= 18_000, `it took ${tookMs} ms`);

  // It wakes up, its clock has yet to tell, and it is asked at once for what only a leader may say.
  const before = masters.sent.length;
  const answered = framework.answers.length;
  masters.resume(m1, { clock: 'stood still' });
  m1.store.away();
  void framework.call('c2', { type: CallType.KILL, kill: { taskId: { value: 't1' } } });
  await masters.network.settle();
  t.is(m1.contender.leadership?.lease, 'fresh', 'it still believes');
  m1.store.back();
  await masters.pass(5_000);
  const later = masters.sent.slice(before).filter(({ from }) => from === 'm1');
  t.true(later.every(({ epoch, subject }) => epoch === 1 || !subject.includes('master')));
  t.deepEqual(
    framework.answers.slice(answered).filter(({ epoch }) => epoch === 1),
    [],
  );
  t.is(m1.contender.leadership, undefined);
  t.deepEqual(m1.failures, []);
  t.is(masters.leader, m2);
});

test('a standby that slept does not replace a leader whose work it has yet to read', async (t) => {
  const masters = setup(t);
  const m1 = masters.start('m1');
  await masters.untilLed();
  const m2 = masters.start('m2');
  await masters.pass(1_000);
  masters.hang(m2);
  for (let passed = 0; passed < 20_000; passed += 200) {
    m1.contender.leadership?.submit([{ role: { role: 'r', weight: passed } }], { urgent: true }); // so that it never renews
    await masters.pass(200);
  }
  masters.resume(m2);
  await masters.pass(1_000);
  t.is(masters.leader, m1);
});

test('a master that was deposed waits before it replaces another, and then leads under another id', async (t) => {
  const masters = setup(t);
  const m1 = masters.start('m1');
  await masters.untilLed();
  const m2 = masters.start('m2');
  await masters.pass(1_000);
  masters.hang(m1);
  await masters.until(() => masters.leader === m2);
  masters.resume(m1);
  await masters.until(() => m1.contender.leadership === undefined);
  const deposedAt = masters.clock.now();
  await masters.pass(1_000);
  masters.kill(m2);
  await masters.until(() => masters.leader === m1);
  const waitedMs = masters.clock.now() - deposedAt;
  t.true(waitedMs >= 15_000 && waitedMs <= 16_000, `it waited ${waitedMs} ms`);
  t.is(epochOf(m1), 3);
  const last = masters.bucket.written.filter(({ key }) => key === 'leader').at(-1);
  t.is(last && decode(mesobus.v1.LeaderRecord, last.bytes).masterId, 'm1-2');
});

test('nothing is kept of a leadership that was lost', async (t) => {
  const masters = setup(t);
  const m1 = masters.start('m1');
  await masters.untilLed();
  masters.start('m2');
  await masters.pass(1_000);
  const ledger = (() => new WeakRef(m1.contender.leadership?.ledger ?? {}))();
  masters.hang(m1);
  await masters.until(() => masters.leader !== undefined);
  masters.resume(m1);
  await masters.pass(10_000);
  setFlagsFromString('--expose-gc');
  runInNewContext('gc')();
  t.is(ledger.deref(), undefined);
});

test('masters whose log is away freeze, end, and lead again when it is back', async (t) => {
  const masters = setup(t);
  const m1 = masters.start('m1');
  await masters.untilLed();
  const framework = new Framework(masters.network.connect('framework'));
  m1.store.away();
  await masters.until(() => m1.contender.leadership?.lease === 'frozen', 12_000);
  await framework.subscribe('c1');
  t.deepEqual(framework.answers, [], 'frozen: it takes nothing new');
  await masters.until(() => m1.contender.leadership === undefined, 8_000);
  await masters.pass(20_000);
  m1.store.back();
  await masters.until(() => masters.leader === m1, 20_000);
  t.is(epochOf(m1), 2);
});

test('an agent that obeys a higher epoch than the log knows gets a leader above it', async (t) => {
  const masters = setup(t);
  masters.start('m1');
  masters.start('m2');
  await masters.untilLed();
  const agent = new Agent(masters.network.connect('agent'), { incarnation: 1, epoch: 40 });
  await masters.pass(1_000);
  t.is(agent.registeredWith, 0, 'it does not even listen');
  agent.beat();
  await masters.until(() => agent.registeredWith > 0, 5_000);
  t.is(agent.registeredWith, 41);
  await masters.pass(20_000);
  t.is(epochOf(masters.leader as MasterProcess), 41);
});

/** A leader, a standby, and an agent that is offered to a framework. */
async function offering(t: ExecutionContext) {
  const masters = setup(t);
  const m1 = masters.start('m1');
  await masters.untilLed();
  masters.start('m2');
  const agent = new Agent(masters.network.connect('agent'));
  const bus = masters.network.connect('framework');
  const framework = new Framework(bus);
  void framework.subscribe('c1');
  await masters.until(() => framework.frameworkId !== '' && agent.agentId !== '');
  void allocate(bus, agent.agentId, framework.frameworkId);
  await masters.until(() => framework.offers.length > 0);
  return { masters, m1, agent, framework, bus };
}

test('a launch that was committed and not confirmed is sent again by the next leader, and started once', async (t) => {
  const { masters, m1, agent, framework } = await offering(t);
  agent.deaf = true;
  void framework.accept('c2', 't1', agent.agentId);
  await masters.until(() => framework.answers.length === 2);
  t.truthy(framework.answers[1]?.reply.accepted, 'the launch is in the log');
  masters.kill(m1);
  agent.deaf = false;
  await masters.until(() => agent.started.length > 0, 10_000);
  await masters.pass(30_000);
  t.deepEqual(agent.started, ['t1']);
  t.is(agent.gate.highest.epoch, 2);
});

test('a launch that was started and not confirmed is not started again', async (t) => {
  const { masters, m1, agent, framework, bus } = await offering(t);
  masters.network.drop(({ to, from }) => to === m1.bus && from !== bus && agent.started.length > 0);
  void framework.accept('c2', 't1', agent.agentId);
  await masters.until(() => agent.started.length > 0);
  masters.kill(m1);
  await masters.until(() => agent.registeredWith === 2, 10_000);
  await masters.pass(30_000);
  t.deepEqual(agent.started, ['t1']);
});
