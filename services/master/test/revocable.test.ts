// What agents estimate to be allocated and idle: it is offered, taken back when it shrinks, and never anybody's by right.
import { mesobus, mesos } from '@mesobus/protos';
import { applyRecord } from '@mesobus/registry/core';
import { describeResources, fromWire, parseResources, resources, toRevocable, toWire } from '@mesobus/sdk/resources';
import test from 'ava';
import { answerQuery, availableOf } from '../src/core/index.ts';
import {
  agentRepliesIn,
  eventsIn,
  Harness,
  outcomeOf,
  Reason,
  rescinded,
  type Sent,
  statusesIn,
  TaskState,
  task,
} from './harness.ts';

const { REVOCABLE_RESOURCES, PARTITION_AWARE, MULTI_ROLE } = mesos.v1.FrameworkInfo.Capability.Type;
const capabilities = [REVOCABLE_RESOURCES, PARTITION_AWARE, MULTI_ROLE].map((type) => ({ type }));

const lent = (amounts: { cpus?: number; mem?: number }) => toWire(toRevocable(resources(amounts)));

/** An agent whose cpus are all held, and a framework that takes revocable ones. */
class Cluster extends Harness {
  readonly agentId: string;
  readonly frameworkId: string;
  #number = 0;

  constructor() {
    super();
    this.agentId = this.agent('a1', 'cpus:4;mem:4096');
    this.frameworkId = this.framework({ roles: ['*'], capabilities });
    const offer = this.offer(this.frameworkId, this.agentId, 'cpus:4;mem:1024');
    this.accept(this.frameworkId, [offer], [task('idle', this.agentId, { ask: 'cpus:4;mem:1024' })]);
  }

  estimate(amounts: { cpus?: number; mem?: number }, number = this.#number + 1, incarnation = 'n1'): Sent[] {
    this.#number = Math.max(number, this.#number);
    const revocableEstimate = { resources: lent(amounts), number };
    return this.request('a1', { agentId: this.agentId, incarnation, revocableEstimate });
  }

  /** Some of what is lent is offered. */
  offerLent(cpus: number): string {
    return this.offer(this.frameworkId, this.agentId, JSON.stringify(mesosJson(cpus)));
  }

  /** A task runs on what is lent. */
  launchLent(taskId: string, cpus: number): Sent[] {
    const info = { ...task(taskId, this.agentId), resources: lent({ cpus }) };
    return this.accept(this.frameworkId, [this.offerLent(cpus)], [info]);
  }

  get available(): string {
    const entry = this.state.ledger.agents.get(this.agentId);
    return entry === undefined ? '' : describeResources(availableOf(this.state, entry));
  }

  /** What allocators are told that the agent has. */
  get told(): string {
    if (this.state.allocators.feeds.get('al1') === undefined) this.appoint();
    const books = this.feedOf().flatMap(({ items }) => items.flatMap(({ agent }) => (agent ? [agent] : [])));
    return describeResources(fromWire(books.at(-1)?.total ?? []));
  }
}

const mesosJson = (cpus: number) => [{ name: 'cpus', type: 'SCALAR', scalar: { value: cpus }, revocable: {} }];

test('what an agent estimates to be idle is available revocably, and allocators are told', (t) => {
  const h = new Cluster();
  t.is(h.available, 'mem:3072');
  t.deepEqual(agentRepliesIn(h.estimate({ cpus: 2.5, mem: 100 })), [{ taken: {} }]);
  t.is(h.available, 'cpus{REV}:2.5;mem:3072;mem{REV}:100');
  t.is(h.told, 'cpus:4;cpus{REV}:2.5;mem:4096;mem{REV}:100');
  const answer = answerQuery(h.state, 'ops', new mesobus.v1.MasterQuery({ getConnections: {} }), 1, h.now);
  t.is(describeResources(fromWire(answer?.connections?.agents[0]?.revocable ?? [])), 'cpus{REV}:2.5;mem{REV}:100');
});

test('an estimate that is repeated changes nothing, and one that comes late is not heard', (t) => {
  const h = new Cluster();
  h.estimate({ cpus: 1 }, 1);
  h.estimate({ cpus: 2 }, 2);
  t.is(outcomeOf(h.estimate({ cpus: 1 }, 1)), 'no answer'); // no refusal
  t.is(h.available, 'cpus{REV}:2;mem:3072');
  const offerId = h.offerLent(2);
  t.deepEqual(rescinded(h.estimate({ cpus: 2 }, 2)), []);
  t.true(h.state.offers.has(offerId));
});

test('an agent that this leader does not know is asked to register first', (t) => {
  const h = new Cluster();
  const sent = h.estimate({ cpus: 1 }, 1, 'another process');
  t.deepEqual(agentRepliesIn(sent), [{ reregisterNeeded: {} }]);
  t.is(h.available, 'mem:3072');
});

const unfit: [title: string, resources: readonly mesos.v1.Resource.$Properties[]][] = [
  ['that is not revocable', toWire(parseResources('cpus:1'))],
  ['of ports', toWire(toRevocable(parseResources('ports:[1-2]')))],
  ['that is reserved', toWire(toRevocable(parseResources('cpus(ads):1')))],
  ['that is malformed', [{ name: 'cpus', type: 0, scalar: { value: -1 }, revocable: {} }]],
];
for (const [title, wire] of unfit) {
  test(`an estimate ${title} is refused`, (t) => {
    const h = new Cluster();
    const revocableEstimate = { resources: [...wire], number: 1 };
    t.is(outcomeOf(h.request('a1', { agentId: h.agentId, revocableEstimate })), 'call_invalid');
    t.is(h.available, 'mem:3072');
  });
}

test('an agent that has something revocable by configuration is refused', (t) => {
  const h = new Harness();
  t.is(outcomeOf(h.register('a1', { total: JSON.stringify(mesosJson(1)) } as never)), 'call_invalid');
});

test('of an estimate that shrinks, offers that do not fit any more are taken back, the youngest first, and only those', (t) => {
  const h = new Cluster();
  h.estimate({ cpus: 3 });
  const regular = h.offer(h.frameworkId, h.agentId, 'mem:100');
  const [first, second, third] = [h.offerLent(1), h.offerLent(1), h.offerLent(1)];
  t.deepEqual(rescinded(h.estimate({ cpus: 2.5 })), [third]);
  t.deepEqual(rescinded(h.estimate({ cpus: 1 })), [second]);
  t.deepEqual([...h.state.offers.keys()], [regular, first]);
  t.deepEqual(rescinded(h.estimate({ cpus: 4 })), []);
  t.is(h.available, 'cpus{REV}:3;mem:2972');
});

test('a task on what was taken back is dropped', (t) => {
  const h = new Cluster();
  h.estimate({ cpus: 2 });
  const offerId = h.offerLent(2);
  h.estimate({ cpus: 1 });
  const sent = h.accept(h.frameworkId, [offerId], [{ ...task('t1', h.agentId), resources: lent({ cpus: 2 }) }]);
  const [status] = statusesIn(sent);
  t.is(status?.state, TaskState.TASK_DROPPED);
  t.is(status?.reason, Reason.REASON_INVALID_OFFERS);
});

test('tasks keep what was lent to them when less is: the agent has at least that, and lends no more', (t) => {
  const h = new Cluster();
  h.estimate({ cpus: 2 });
  h.launchLent('t1', 1.5);
  t.is(h.available, 'cpus{REV}:0.5;mem:3072');
  h.estimate({});
  t.is(h.available, 'mem:3072', 'what is not revocable stays available');
  t.is(h.told, 'cpus:4;cpus{REV}:1.5;mem:4096');
  h.update('a1', h.frameworkId, 't1', 1, TaskState.TASK_GONE);
  t.is(h.available, 'mem:3072', 'what it gave back is not lent again');
  t.is(h.told, 'cpus:4;mem:4096');
});

test('what is lent counts for no quota', (t) => {
  const h = new Cluster();
  const quotaConfigs = [{ role: 'ads', limits: { cpus: { value: 1 } } }];
  const Type = mesos.v1.master.Call.Type;
  h.operatorCall({ callId: 'q', call: { type: Type.UPDATE_QUOTA, updateQuota: { force: true, quotaConfigs } } });
  const ads = h.framework({ roles: ['ads'], capabilities }, { instanceId: 'i2' });
  h.estimate({ cpus: 3 });
  const offerId = h.offer(ads, h.agentId, JSON.stringify(mesosJson(3)), 'ads');
  t.true(h.state.offers.has(offerId));
  h.update('a1', h.frameworkId, 'idle', 1, TaskState.TASK_FINISHED);
  h.offer(ads, h.agentId, 'cpus:2', 'ads');
  t.deepEqual([...h.state.offers.keys()], [offerId], 'what is not lent is limited as before');
  h.offer(ads, h.agentId, 'cpus:1', 'ads');
  t.is(h.state.offers.size, 2);
});

test('a process that takes over from another has estimated nothing yet', (t) => {
  const h = new Cluster();
  h.estimate({ cpus: 2 });
  const offerId = h.offerLent(2);
  const sent = h.register('a1', { tasks: [] }, 'n2');
  t.deepEqual(rescinded(sent), [offerId]);
  t.is(h.told.includes('REV'), false);
  h.estimate({ cpus: 1 }, 1, 'n2');
  t.true(h.available.includes('cpus{REV}:1'), 'its numbers begin anew');
});

test('an agent that registers again with the same leader keeps its estimate, and its offers', (t) => {
  const h = new Cluster();
  h.estimate({ cpus: 2 });
  const offerId = h.offerLent(2);
  const tasks = [{ frameworkId: h.frameworkId, taskId: 'idle', commandNumber: 1, state: TaskState.TASK_RUNNING }];
  t.deepEqual(rescinded(h.register('a1', { tasks })), []);
  t.true(h.state.offers.has(offerId));
});

test('the next leader lends nothing until the agent says what is idle, and knows what tasks hold', (t) => {
  const h = new Cluster();
  h.estimate({ cpus: 2 });
  h.launchLent('t1', 1);
  const next = Harness.after(h, 'm2', (ledger) => {
    for (const record of h.records) applyRecord(ledger, record);
  });
  const entry = next.state.ledger.agents.get(h.agentId);
  t.is(entry && describeResources(availableOf(next.state, entry)), 'mem:3072');
  const tasks = ['idle', 't1'].map((taskId, i) => {
    return { frameworkId: h.frameworkId, taskId, commandNumber: i + 1, state: TaskState.TASK_RUNNING };
  });
  next.register('a1', { tasks, cursor: 2 });
  next.request('a1', { agentId: h.agentId, revocableEstimate: { resources: lent({ cpus: 1.5 }), number: 7 } });
  t.is(entry && describeResources(availableOf(next.state, entry)), 'cpus{REV}:0.5;mem:3072');
  t.deepEqual(eventsIn(next.sent), []);
});
