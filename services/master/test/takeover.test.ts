// Schedulers as the SDK has them and real allocators, over masters and allocators that die: all on one simulated network.
import { Allocator } from '@mesobus/allocator/shell/allocator';
import { mesobus, mesos } from '@mesobus/protos';
import { type Bus, EpochGate, ManualClock } from '@mesobus/sdk/bus';
import { type Offer, Scheduler, type SchedulerCallbacks, type TaskStatus } from '@mesobus/sdk/scheduler';
import { createLogger, createMetrics } from '@mesobus/sdk/service';
import test, { type ExecutionContext } from 'ava';
import { resources } from './harness.ts';
import { Masters, subjects } from './masters.ts';

interface AllocatorProcess {
  readonly id: string;
  readonly bus: Bus;
  readonly clock: ManualClock;
  readonly allocator: Allocator;
  state: 'runs' | 'hangs' | 'dead';
}

/** An agent whose tasks run until they are told to end; it starts each launch once and repeats its updates. */
class Agent {
  readonly started: string[] = [];
  readonly #bus: Bus;
  readonly #gate = new EpochGate();
  readonly #updates: mesobus.v1.TaskUpdate.$Properties[] = [];
  #agentId = '';
  #cursor = 0;
  #epoch = 0;

  constructor(bus: Bus) {
    this.#bus = bus;
    bus.serve(subjects.agent.of('a1'), ({ message, epoch, reply }) => {
      if (this.#gate.observe(epoch) === 'stale') return;
      for (const command of message.commands) this.#obey(command);
      reply({ cursor: this.#cursor });
    });
    bus.serve(subjects.leader, ({ epoch, message }) => {
      if (this.#gate.observe(epoch) === 'stale' || message.phase !== mesobus.v1.LeaderBeat.Phase.LEADING) return;
      if (this.#epoch === epoch.epoch) this.#beat();
      else void this.#register();
    });
  }

  #obey({ number, runTask, acknowledgeUpdate }: mesobus.v1.AgentCommand): void {
    if (acknowledgeUpdate) {
      const at = this.#updates.findIndex(({ status }) => same(status?.uuid, acknowledgeUpdate.uuid));
      if (at >= 0) this.#updates.splice(at, 1);
    }
    if (number !== this.#cursor + 1) return;
    this.#cursor = number;
    if (!runTask?.task || !runTask.framework?.id) return;
    const taskId = runTask.task.taskId.value;
    this.started.push(taskId);
    const { TASK_FINISHED } = mesos.v1.TaskState;
    const uuid = new Uint8Array(16).fill(number);
    const status = { taskId: { value: taskId }, agentId: { value: this.#agentId }, state: TASK_FINISHED, uuid };
    const whose = { frameworkId: runTask.framework.id.value, commandNumber: number };
    this.#updates.push({ ...whose, status, number: 1, latestState: TASK_FINISHED });
    this.#tell();
  }

  #beat(): void {
    const { epoch: highestEpoch, incarnation: highestClusterIncarnation } = this.#gate.highest;
    const beat = { agentId: this.#agentId, incarnation: 'n1', cursor: this.#cursor };
    this.#bus.publish(subjects.heartbeat.of('a1'), { ...beat, highestEpoch, highestClusterIncarnation });
    this.#tell();
  }

  #tell(): void {
    if (this.#updates.length === 0) return;
    this.#ask({ agentId: this.#agentId, incarnation: 'n1', taskUpdates: { updates: [...this.#updates] } });
  }

  async #register(): Promise<void> {
    const { epoch: highestEpoch, incarnation: highestClusterIncarnation } = this.#gate.highest;
    const info = { hostname: 'a1', resources: resources('cpus:4;mem:4096') };
    const tasks = this.#updates.map(({ frameworkId, status, commandNumber }) => {
      const { taskId, state } = status as mesos.v1.TaskStatus.$Properties;
      return { frameworkId, taskId: taskId?.value, state, commandNumber, updateNumber: 1 };
    });
    const capabilities = [{ type: mesos.v1.AgentInfo.Capability.Type.MULTI_ROLE }];
    const about = { agentName: 'a1', registrationKey: 'k', info, capabilities, cursor: this.#cursor, tasks };
    const obeys = { highestEpoch, highestClusterIncarnation };
    const reply = await this.#ask({
      agentId: this.#agentId,
      incarnation: 'n1',
      register: { ...about, ...obeys } as mesobus.v1.RegisterAgent.$Properties,
    });
    if (!reply?.message.registered) return;
    this.#agentId = reply.message.registered.agentId;
    this.#epoch = reply.epoch.epoch;
  }

  #ask(request: mesobus.v1.AgentRequest.$Properties) {
    return this.#bus.request(subjects.masterAgent.of('a1'), request, { timeoutMs: 2_000 }).catch(() => undefined);
  }
}

const same = (a: Uint8Array | null | undefined, b: Uint8Array): boolean =>
  Buffer.compare(a ?? new Uint8Array(), b) === 0;

class World extends Masters {
  readonly allocators: AllocatorProcess[] = [];
  readonly agent: Agent = new Agent(this.network.connect('agent'));

  constructor(t: ExecutionContext) {
    super();
    this.network.drop(({ to }) => this.allocators.find(({ bus }) => bus === to)?.state === 'hangs');
    t.teardown(async () => {
      for (const { allocator } of this.allocators) allocator.stop();
      await this.stop();
    });
  }

  startAllocator(id: string): AllocatorProcess {
    const clock = new ManualClock();
    const bus = this.network.connect(id);
    const allocator = new Allocator({
      bus,
      subjects,
      allocatorId: id,
      incarnation: `${id}-${this.allocators.length}`,
      seed: 1,
      clock,
      now: () => clock.now(),
      log: createLogger('allocator', { level: 'silent', secrets: [] }),
      metrics: createMetrics(),
      gatherMs: 5,
    });
    allocator.start();
    const started: AllocatorProcess = { id, bus, clock, allocator, state: 'runs' };
    this.allocators.push(started);
    return started;
  }

  killAllocator(process: AllocatorProcess): void {
    process.state = 'dead';
    process.allocator.stop();
    this.network.disconnect(process.bus);
  }

  override async pass(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += 20) {
      for (const { clock, state } of this.allocators) if (state === 'runs') clock.advance(20);
      await super.pass(20);
    }
  }

  async scheduler(
    t: ExecutionContext,
    { callbacks, use }: Launcher,
    instanceId = 'i1',
    id?: string,
  ): Promise<Scheduler> {
    const scheduler = new Scheduler(
      {
        bus: this.network.connect(instanceId),
        cluster: 'test',
        principal: 'p1',
        clock: this.clock,
        now: () => this.clock.now(),
        random: () => 0.5,
        instanceId,
        framework: { name: 'test', user: 'u', failoverTimeoutMs: 3_600_000, ...(id !== undefined && { id }) },
      },
      callbacks,
    );
    use(scheduler);
    let started = false;
    void scheduler.start().then(() => {
      started = true;
    });
    await this.until(() => started);
    t.teardown(() => scheduler.stop({ failover: true, timeoutMs: 1 }).catch(() => undefined));
    return scheduler;
  }

  get appointed(): string {
    return this.leader?.contender.state?.allocators.appointedId ?? '';
  }

  /** Allocators that the leader takes for able to be appointed. */
  get ready(): number {
    const feeds = this.leader?.contender.state?.allocators.feeds.values() ?? [];
    return [...feeds].filter(({ snapshotEnd, digested }) => snapshotEnd > 0 && digested >= snapshotEnd).length;
  }
}

type Launcher = Pick<ReturnType<typeof launcher>, 'callbacks' | 'use'>;

/** Launches one task on each offer, so many in all, and declines the rest. */
function launcher(count: number) {
  const ended: TaskStatus[] = [];
  const launches: Promise<unknown>[] = [];
  let scheduler: Scheduler | undefined;
  const callbacks: SchedulerCallbacks = {
    resourceOffers(offers: readonly Offer[]) {
      for (const offer of offers) {
        if (launches.length === count) void scheduler?.decline(offer, { refuseSeconds: 3600 }).catch(() => undefined);
        else {
          const task = { id: `t${launches.length}`, command: 'true', resources: { cpus: 1, mem: 64 } };
          launches.push(scheduler?.launch(offer, [task], { refuseSeconds: 0 }) ?? Promise.resolve());
        }
      }
    },
    statusUpdate: (status) => {
      if (status.ended) ended.push(status);
    },
  };
  const use = (one: Scheduler): void => {
    scheduler = one;
  };
  return { callbacks, ended, launches, use };
}

const taskIds = (count: number): string[] => Array.from({ length: count }, (_, i) => `t${i}`);

test('a launch whose answer is lost with its leader is answered by the next one, and carried out once', async (t) => {
  const world = new World(t);
  const first = world.start('m1');
  await world.untilLed();
  world.start('m2');
  world.startAllocator('al1');
  const launching = launcher(1);
  const { ended, launches } = launching;
  const losing = world.network.drop(
    ({ from, subject }) => from === first.bus && subject.startsWith('_INBOX.i1') && launches.length > 0,
  );
  await world.scheduler(t, launching);
  await world.until(() => world.agent.started.length === 1);
  let answered = false;
  void launches[0]?.then(() => {
    answered = true;
  });
  await world.pass(200);
  t.false(answered);
  world.kill(first);
  losing();
  await world.until(() => answered && ended.length === 1);
  t.is(world.leader?.name, 'm2');
  await world.pass(5_000);
  t.deepEqual(world.agent.started, ['t0']);
  t.deepEqual(
    ended.map(({ taskId, state }) => [taskId, state]),
    [['t0', 'TASK_FINISHED']],
  );
});

test('what a leader says once of a launch and dies is heard from the next one', async (t) => {
  const world = new World(t);
  const first = world.start('m1');
  await world.untilLed();
  world.start('m2');
  const launching = launcher(0);
  const scheduler = await world.scheduler(t, launching);
  await world.until(() => first.contender.state?.agents.size === 1);
  const undo = world.network.drop(({ from, subject }) => from === first.bus && subject.includes('.scheduler.p1.i1'));
  const dropped = { id: 't0', command: 'true', resources: { cpus: 1, mem: 64 }, agentId: 'm1-S0' };
  const alive = world.sent.length;
  let accepted = false;
  void scheduler.launch('an offer that was rescinded', [dropped]).then(() => {
    accepted = true;
  });
  await world.until(() => accepted);
  t.true(
    world.sent.slice(alive).some(({ subject }) => subject.includes('.scheduler.p1.i1')),
    'it was said',
  );
  t.deepEqual(launching.ended, []);
  world.kill(first);
  undo();
  await world.until(() => launching.ended.length === 1);
  t.like(launching.ended[0], { taskId: 't0', state: 'TASK_GONE', reason: 'REASON_RECONCILIATION' });
  t.is(world.leader?.name, 'm2');
});

/** A leader and two allocators, the first of them appointed, while twenty launches are under way. */
async function amidLaunches(t: ExecutionContext, ...standbys: string[]) {
  const world = new World(t);
  const first = world.start('m1');
  await world.untilLed();
  for (const name of standbys) world.start(name);
  const one = world.startAllocator('al1');
  await world.until(() => world.appointed === 'al1');
  world.startAllocator('al2');
  await world.until(() => world.ready === 2);
  const launching = launcher(20);
  const { ended } = launching;
  await world.scheduler(t, launching);
  await world.until(() => ended.length >= 5);
  return { world, first, one, ended };
}

type Fault = (world: World, one: AllocatorProcess) => void;
const losses: [how: string, lose: Fault, back?: Fault][] = [
  ['is killed', (world, one) => world.killAllocator(one)],
  [
    'hangs',
    (_world, one) => void Object.assign(one, { state: 'hangs' }),
    (_world, one) => void Object.assign(one, { state: 'runs' }),
  ],
  ['is cut off', (world, one) => world.network.disconnect(one.bus), (world, one) => world.network.reconnect(one.bus)],
];
for (const [how, lose, back] of losses) {
  test(`when the appointed allocator ${how} its successor goes on within a second, and everything runs once`, async (t) => {
    const { world, one, ended } = await amidLaunches(t);
    lose(world, one);
    const since = world.clock.now();
    await world.until(() => world.appointed === 'al2');
    t.true(world.clock.now() - since < 1_000);
    await world.until(() => ended.length === 20);
    t.deepEqual([...world.agent.started].sort(), taskIds(20).sort());
    if (back === undefined) return;
    back(world, one);
    await world.until(() => world.ready === 2);
    t.is(world.appointed, 'al2');
    t.is(world.leader?.contender.state?.allocators.appointment, 2);
  });
}

test('when the leader and the appointed allocator die together the next ones go on', async (t) => {
  const { world, first, one, ended } = await amidLaunches(t, 'm2');
  world.kill(first);
  world.killAllocator(one);
  await world.until(() => ended.length === 20);
  t.is(world.leader?.name, 'm2');
  t.is(world.appointed, 'al2');
  t.deepEqual([...world.agent.started].sort(), taskIds(20).sort());
});

test('another process takes a framework over with what was not acknowledged; the old one is refused, by the next leader too', async (t) => {
  const world = new World(t);
  const first = world.start('m1');
  await world.untilLed();
  world.start('m2');
  world.startAllocator('al1');
  const old = launcher(1);
  const ofOld: Error[] = [];
  // From its launch on it hears nothing any more.
  let isDeaf = false;
  const { resourceOffers } = old.callbacks;
  old.callbacks.resourceOffers = (offers) => {
    isDeaf = true;
    return resourceOffers?.(offers);
  };
  const undo = world.network.drop(({ subject }) => isDeaf && subject.includes('.scheduler.p1.i1'));
  old.callbacks.error = (error) => void ofOld.push(error);
  const before = await world.scheduler(t, old);
  await world.until(() => world.agent.started.length === 1);
  const next = launcher(0);
  const { frameworkId } = before;
  await world.scheduler(t, next, 'i2', frameworkId);
  await world.until(() => next.ended.length === 1);
  t.is(next.ended[0]?.taskId, 't0');
  world.kill(first);
  undo();
  await world.until(() => ofOld.length > 0);
  t.like(ofOld[0], { name: 'SchedulerEndedError', reason: 'superseded' });
  await world.until(() => world.leader?.name === 'm2');
  await world.pass(3_000);
  t.is(next.ended.length, 1);
});
