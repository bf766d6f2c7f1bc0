import assert from 'node:assert/strict';
import { mesobus, mesos } from '@mesobus/protos';
import { applyRecord, createLedger, isCompleted, isTerminal, ledgerHash } from '@mesobus/registry/core';
import { add, equals, noResources, type Resources } from '@mesobus/sdk/resources';
import test from 'ava';
import fc from 'fast-check';
import { availableOf } from '../src/core/index.ts';
import { CallType, eventsIn, Harness, Reason, type Sent, TaskState, task } from './harness.ts';
import { ModelAgent } from './model-agent.ts';

const { ADMITTED, GONE } = mesobus.v1.AgentRecord.Lifecycle;
const { PARTITION_AWARE } = mesos.v1.FrameworkInfo.Capability.Type;
const infos: Partial<mesos.v1.FrameworkInfo.$Properties>[] = [
  { failoverTimeout: 1e9, capabilities: [{ type: PARTITION_AWARE }] },
  { failoverTimeout: 1e9 },
];
const config = { registryGcIntervalMs: 1e12, offerTimeoutMs: 0 };

/** A master, agents that keep to the protocol, and frameworks that acknowledge. */
class World {
  h = new Harness(config);
  readonly agents = ['a1', 'a2'].map((name) => new ModelAgent(name));
  readonly frameworks: string[] = [];
  readonly closed = new Set<string>();
  #tasks = 0;
  #read = 0;
  #committed = 0;

  constructor() {
    for (const agent of this.agents) agent.register(this.h);
    for (const [index, info] of infos.entries()) {
      this.frameworks.push(this.h.framework(info, { principal: `p${index}`, instanceId: `i${index}` }));
    }
    this.settle();
  }

  /** Carries everything that was sent to where it goes. */
  settle(): void {
    while (this.#read < this.h.sent.length) {
      const sent = this.h.sent.slice(this.#read);
      this.#read = this.h.sent.length;
      for (const agent of this.agents) agent.obey(this.h, sent);
      this.#acknowledge(sent);
    }
  }

  #acknowledge(sent: readonly Sent[]): void {
    for (const effect of sent) {
      if (effect.kind !== 'events') continue;
      for (const { update } of eventsIn([effect])) {
        const { uuid, taskId, agentId, reason } = update?.status ?? {};
        if (taskId && reason === Reason.REASON_AGENT_REMOVED) this.#noteLost(effect.to.frameworkId, taskId.value);
        if (!uuid?.length || !taskId || !agentId) continue;
        const acknowledge = { uuid, taskId, agentId };
        this.call(this.frameworks.indexOf(effect.to.frameworkId), { type: CallType.ACKNOWLEDGE, acknowledge });
      }
    }
  }

  /** What a framework has been told is lost before it was started must not start any more. */
  #noteLost(frameworkId: string, taskId: string): void {
    const key = `${frameworkId} ${taskId}`;
    if (!this.started().has(key)) this.closed.add(key);
  }

  started(): Set<string> {
    return new Set(this.agents.flatMap((agent) => [...agent.started].map((key) => key.slice(0, key.lastIndexOf(' ')))));
  }

  call(index: number, body: Parameters<Harness['call']>[1]): void {
    const who = { principal: `p${index}`, instanceId: `i${index}`, frameworkId: this.frameworks[index] ?? '' };
    this.h.call(who, body);
  }

  launch(index: number, agent: ModelAgent): void {
    const frameworkId = this.frameworks[index] as string;
    const offerId = this.h.offer(frameworkId, agent.agentId, 'cpus:1;mem:64');
    if (!this.h.state.offers.has(offerId)) return;
    this.#tasks += 1;
    const operations = [{ type: 1, launch: { taskInfos: [task(`t${this.#tasks}`, agent.agentId)] } }];
    this.call(index, { type: CallType.ACCEPT, accept: { offerIds: [{ value: offerId }], operations } });
  }

  pass(seconds: number): void {
    for (let second = 0; second < seconds; second += 1) {
      this.h.allocator('somebody', {});
      if (second % 5 === 0) for (const agent of this.agents) agent.beat(this.h);
      if (second % 5 === 2) for (const agent of this.agents) agent.tell(this.h);
      this.h.tick(1_000);
      this.settle();
    }
  }

  /** The log takes nothing for a while. */
  hold(): void {
    if (this.h.autoCommit) this.#committed = this.h.records.length;
    this.h.autoCommit = false;
  }

  release(): void {
    this.h.autoCommit = true;
    this.h.commit();
  }

  /** Another master leads, with what was committed, and a part of what was on its way to the log. */
  takeOver(part: number): void {
    const { records: all, autoCommit, transactions } = this.h;
    const most = autoCommit ? all.length : this.#committed + part * (all.length - this.#committed);
    const records = all.slice(0, Math.max(0, ...transactions.filter((end) => end <= most)));
    const next = Harness.after(this.h, 'm2', (ledger) => {
      for (const record of records) applyRecord(ledger, record);
    });
    next.records.push(...records);
    next.transactions.push(records.length);
    this.h = next;
    this.#read = 0;
    for (const [index, frameworkId] of this.frameworks.entries()) {
      this.h.subscribe(infos[index], { frameworkId, principal: `p${index}`, instanceId: `i${index}`, generation: 1 });
    }
  }

  operate(call: Omit<mesos.v1.master.Call.$Properties, 'type'>): void {
    const message = new mesobus.v1.OperatorCall({ callId: 'o', call: new mesos.v1.master.Call({ type: 0, ...call }) });
    this.h.step({ kind: 'operator_call', principal: 'ops', call: message, token: 'o' });
  }
}

const acts: Record<string, (world: World, agent: ModelAgent, n: number) => void> = {
  launch: (world, agent, n) => world.launch(n % 2, agent),
  'launch and cut': (world, agent, n) => {
    world.launch(n % 2, agent);
    agent.isCut = true; // before anything arrives
  },
  finish: (world, agent, n) => agent.finish(world.h, n),
  kill: (world, _, n) => world.call(n % 2, { type: CallType.KILL, kill: { taskId: { value: `t${n}` } } }),
  cut: (_, agent) => {
    agent.isCut = true;
  },
  join: (_, agent) => {
    agent.isCut = false;
  },
  restart: (_, agent) => agent.restart(),
  register: (world, agent) => agent.register(world.h),
  'a while': (world) => world.pass(7),
  'a long time': (world) => world.pass(40),
  'take over': (world, _, n) => world.takeOver(n / 11),
  hold: (world) => world.hold(),
  release: (world) => world.release(),
  drain: (world, { agentId }, n) => {
    const markGone = n > 10;
    world.operate({
      drainAgent: new mesos.v1.master.Call.DrainAgent({ agentId: { value: agentId } as never, markGone }),
    });
  },
  deactivate: (world, { agentId }) => world.operate({ deactivateAgent: { agentId: { value: agentId } } }),
  reactivate: (world, { agentId }) => world.operate({ reactivateAgent: { agentId: { value: agentId } } }),
  gone: (world, { agentId }, n) => {
    if (n > 10) world.operate({ markAgentGone: { agentId: { value: agentId } } });
  },
};

/** I1, and what stands beside a lifecycle. */
function assertBooks({ h }: World): void {
  for (const [id, agent] of h.state.ledger.agents) {
    const offers = h.state.agents.get(id)?.offers ?? new Set();
    let held: Resources = noResources;
    for (const { resources } of [...agent.holdings.values(), ...offers]) held = add(held, resources);
    assert.ok(equals(add(availableOf(h.state, agent), held), agent.total), `the books of agent ${id} do not balance`);
    if (agent.record.lifecycle !== ADMITTED)
      assert.ok(equals(held, noResources), `agent ${id} is away and holds something`);
    if (agent.record.deactivated) assert.equal(offers.size, 0, `agent ${id} takes no tasks and is offered`);
  }
  const replayed = createLedger();
  for (const record of h.records) applyRecord(replayed, record);
  assert.deepEqual(ledgerHash(replayed), ledgerHash(h.state.ledger));
}

/** The faults stop: every task has ended and is acknowledged, or runs once, where the log says. */
function assertRest(world: World): void {
  world.release();
  for (const agent of world.agents) {
    agent.isCut = false;
    agent.register(world.h);
  }
  world.pass(60);
  const { ledger } = world.h.state;
  const running: string[] = [];
  for (const frameworkId of world.frameworks) {
    for (const entry of ledger.frameworks.get(frameworkId)?.tasks.values() ?? []) {
      const said = `task ${entry.taskId} is ${TaskState[entry.state]}`;
      if (isTerminal(entry.state)) assert.ok(isCompleted(entry), `${said} and not acknowledged`);
      else {
        assert.equal(entry.state, TaskState.TASK_RUNNING, said);
        running.push(`${entry.agentId} ${entry.taskId} ${entry.commandNumber}`);
      }
    }
  }
  const live = world.agents.flatMap((agent) =>
    agent.live().map(({ taskId, commandNumber }) => `${agent.agentId} ${taskId} ${commandNumber}`),
  );
  assert.deepEqual(live.sort(), running.sort());
  const started = world.started();
  for (const key of world.closed) assert.ok(!started.has(key), `${key} was lost and has started`);
  for (const { record } of ledger.agents.values()) {
    assert.ok(record.lifecycle === GONE || record.lifecycle === ADMITTED, `agent ${record.agentId} is not back`);
    assert.ok(record.lifecycle === ADMITTED || !running.some((one) => one.startsWith(record.agentId)));
    if (record.drain) assert.ok(record.drained, `agent ${record.agentId} is not drained`);
  }
}

const often = ['launch', 'launch', 'launch', 'launch and cut', 'join', 'a while', 'a long time'];
const action = fc.tuple(fc.constantFrom(...Object.keys(acts), ...often), fc.nat({ max: 1 }), fc.nat({ max: 11 }));

test('agents that are cut off, drained, gone and back: books balance, and every task ends or runs once', (t) => {
  const law = fc.property(fc.array(action, { minLength: 20, maxLength: 60, size: 'max' }), (actions) => {
    const world = new World();
    for (const [what, which, n] of actions) {
      acts[what]?.(world, world.agents[which] as ModelAgent, n);
      world.settle();
      assertBooks(world);
    }
    assertRest(world);
  });
  t.notThrows(() => fc.assert(law, { numRuns: 60 }));
});
