// Several allocators over one master, core to core: what they decide may arrive late, twice or never, and each may die.
import assert from 'node:assert/strict';
import { availableOn, type State as Books, initialState, mayAllocate, step } from '@mesobus/allocator/core';
import { decode, encode, mesobus, mesos } from '@mesobus/protos';
import {
  add,
  equals,
  formatResources,
  noResources,
  type Resources,
  resources,
  revocable,
  toRevocable,
  toWire,
  trySubtract,
} from '@mesobus/sdk/resources';
import test from 'ava';
import fc from 'fast-check';
import { totalOf } from '../src/core/agents.ts';
import { sumConsumption } from '../src/core/consumption.ts';
import { availableOf, takeFeed, waitingFeeds } from '../src/core/index.ts';
import { CallType, Harness, launchOf, type Sent, TaskState, task } from './harness.ts';

const { FeedBatch } = mesobus.v1;
const { MULTI_ROLE, REVOCABLE_RESOURCES } = mesos.v1.FrameworkInfo.Capability.Type;
const { UPDATE_QUOTA } = mesos.v1.master.Call.Type;

/** An allocator's process, with what is on its way to it and from it. */
class Process {
  readonly id: string;
  incarnation = 0;
  books: Books;
  losses = 1;
  feed = 0;
  digested = 0;
  lost = false;
  inbox: Uint8Array[] = [];
  outbox: mesobus.v1.Allocations.$Properties[] = [];

  constructor(id: string) {
    this.id = id;
    this.books = initialState(id, 1);
  }

  /** kill -9, and started again. */
  restart(): void {
    this.incarnation += 1;
    this.books = initialState(this.id, this.incarnation);
    Object.assign(this, { losses: 1, feed: 0, digested: 0, lost: false, inbox: [], outbox: [] });
  }

  receive(at: number): void {
    const bytes = this.inbox.shift();
    if (bytes === undefined) return;
    const batch = decode(FeedBatch, bytes);
    if (batch.snapshotBegins) this.lost = false;
    if (this.lost) return;
    this.feed = batch.feed;
    this.digested = batch.number;
    step(this.books, at, { kind: 'feed', batch });
  }

  /** A batch is lost: the next one shows it. */
  lose(at: number): void {
    if (this.inbox.shift() === undefined) return;
    Object.assign(this, { lost: true, losses: this.losses + 1, feed: 0, digested: 0, outbox: [] });
    step(this.books, at, { kind: 'gap' });
  }

  round(at: number): void {
    for (const effect of step(this.books, at, { kind: 'round' })) {
      if (effect.kind !== 'allocated') continue;
      const { masterId, appointment, decisions } = effect;
      const allocations = decisions.map(({ resources, ...rest }) => ({
        ...rest,
        resources: toWire(resources),
        victims: [],
      }));
      this.outbox.push({ masterId, appointment, incarnation: `${this.incarnation}`, allocations });
    }
  }
}

class World {
  readonly h = new Harness({ offerTimeoutMs: 0 });
  readonly processes = ['al1', 'al2', 'al3'].map((id) => new Process(id));
  tasks = 0;
  /** Messages of allocators that were not appointed any more. */
  stale = 0;

  estimates = 0;

  /** @param roles - of both frameworks; the default role unless given */
  constructor(roles?: string[]) {
    const capabilities = [REVOCABLE_RESOURCES, ...(roles ? [MULTI_ROLE] : [])].map((type) => ({ type }));
    const info = { failoverTimeout: 1e6, capabilities, ...(roles && { roles }) };
    this.h.register('a1', { total: 'cpus:4;mem:4096' } as never);
    this.h.register('a2', { total: 'cpus:2;mem:1024' } as never);
    this.h.framework(info);
    this.h.framework(info, { instanceId: 'i2' });
  }

  /** The leader sends what waits; at most one batch for each. */
  send(): void {
    for (const { allocatorId } of [...waitingFeeds(this.h.state)]) {
      const batch = takeFeed(this.h.state, allocatorId);
      const process = this.processes.find(({ id }) => id === allocatorId);
      if (batch !== undefined) process?.inbox.push(encode(FeedBatch, batch));
    }
  }

  hello({ id, incarnation, losses, feed, digested }: Process): void {
    const hello = { incarnation: `${incarnation}`, losses, feed, digested };
    this.#seen(this.h.allocator(id, { hello }));
  }

  /** The usual course: it hears what there is, and says that it is there. */
  follow(process: Process): void {
    this.hello(process);
    this.send();
    while (process.inbox.length > 0) process.receive(this.h.now);
    this.hello(process);
  }

  /** @param again - the answer is lost, so that it will come again */
  tell(process: Process, again: boolean): void {
    const [allocations] = process.outbox;
    if (allocations === undefined) return;
    if (!again) process.outbox.shift();
    const { appointedId, appointment } = this.h.state.allocators;
    if (appointedId !== process.id || appointment !== allocations.appointment) this.stale += 1;
    this.#seen(this.h.allocator(process.id, { allocations }));
  }

  /** A fresh stream begins: what is still on its way on the one before counts for nothing. */
  #seen(sent: readonly Sent[]): void {
    for (const effect of sent) {
      if (effect.kind !== 'open_feed') continue;
      const process = this.processes.find(({ id }) => id === effect.allocatorId);
      if (process !== undefined) process.inbox = [];
    }
  }

  /** An agent estimates so much to be allocated and idle. */
  estimate(agentName: string, cpus: number): void {
    this.estimates += 1;
    const agentId = this.h.state.ledger.agentsByName.get(agentName)?.id ?? '';
    const lent = toWire(toRevocable(resources({ cpus })));
    this.h.request(agentName, { agentId, revocableEstimate: { resources: lent, number: this.estimates } });
  }

  /** A framework launches a task on its oldest offer: with half of what is in it, or with all that is lent. */
  accept(): void {
    const [offer] = this.h.state.offers.values();
    if (offer === undefined) return;
    this.tasks += 1;
    const lent = toWire(revocable(offer.resources));
    const regular = task(`t${this.tasks}`, offer.agentId, { ask: 'cpus:1;mem:64' });
    const tasks = [lent.length > 0 ? { ...regular, resources: lent } : regular];
    const accept = { offerIds: [{ value: offer.id }], operations: [launchOf(tasks)], filters: { refuseSeconds: 0 } };
    this.h.call(this.#who(offer.frameworkId), { type: CallType.ACCEPT, accept });
  }

  decline(refuseSeconds: number): void {
    const [offer] = this.h.state.offers.values();
    if (offer === undefined) return;
    const decline = { offerIds: [{ value: offer.id }], filters: { refuseSeconds } };
    this.h.call(this.#who(offer.frameworkId), { type: CallType.DECLINE, decline });
  }

  finish(): void {
    for (const [frameworkId, { tasks }] of this.h.state.ledger.frameworks) {
      for (const { taskId, agentId, state } of tasks.values()) {
        if (state === TaskState.TASK_FINISHED) continue;
        const name = this.h.state.ledger.agents.get(agentId)?.record.agentName ?? '';
        this.h.update(name, frameworkId, taskId, 1, TaskState.TASK_FINISHED);
        return;
      }
    }
  }

  #who(frameworkId: string) {
    const { instanceId = '', generation = 0 } = this.h.state.ledger.frameworks.get(frameworkId)?.record ?? {};
    return { frameworkId, instanceId, generation };
  }

  /** The faults are over: everything that is on its way arrives, until nothing moves any more. */
  settle(): void {
    for (let turn = 0; turn < 80; turn += 1) {
      for (const agentName of ['a1', 'a2']) this.h.heartbeat(agentName);
      this.h.tick(100);
      this.send();
      for (const process of this.processes) {
        while (process.inbox.length > 0) process.receive(this.h.now);
        this.hello(process);
        process.round(this.h.now);
        while (process.outbox.length > 0) this.tell(process, false);
      }
    }
  }
}

type Action = readonly [what: string, which: number];

const action = fc.tuple(
  fc.constantFrom(
    ...['follow', 'follow', 'follow', 'follow', 'send', 'receive', 'hello', 'lose', 'restart', 'tick', 'tick', 'pause'],
    ...['round', 'round', 'tell', 'tell', 'tell again', 'accept', 'accept', 'decline', 'filter', 'finish'],
  ),
  fc.nat({ max: 2 }),
);

function act(world: World, [what, which]: Action): void {
  const process = world.processes[which] as Process;
  const at = world.h.now;
  if (what === 'send') world.send();
  else if (what === 'receive') while (process.inbox.length > 0) process.receive(at);
  else if (what === 'lose') process.lose(at);
  else if (what === 'hello') world.hello(process);
  else if (what === 'follow') world.follow(process);
  else if (what === 'round') process.round(at);
  else if (what === 'tell') world.tell(process, false);
  else if (what === 'tell again') world.tell(process, true);
  else if (what === 'restart') process.restart();
  else if (what === 'tick') world.h.tick(100);
  else if (what === 'pause') for (let i = 0; i < 6; i += 1) world.h.tick(100);
  else if (what === 'accept') world.accept();
  else if (what === 'decline') world.decline(0);
  else if (what === 'filter') world.decline(1);
  else if (what === 'finish') world.finish();
}

/** Available, offered and allocated are the whole, and no offer holds what another one or a task does. */
function assertBalanced({ h }: World): void {
  for (const [id, agent] of h.state.ledger.agents) {
    let held: Resources = noResources;
    for (const { resources } of [...agent.holdings.values(), ...(h.state.agents.get(id)?.offers ?? [])]) {
      held = add(held, resources);
    }
    const total = totalOf(h.state, agent);
    assert.ok(trySubtract(total, held) !== undefined, `agent ${id} holds ${formatResources(held)}`);
    assert.ok(equals(add(availableOf(h.state, agent), held), total), `the books of agent ${id} do not balance`);
  }
}

/** Nothing is left that nobody is offered, and every allocator knows the same of every agent. */
function assertAtRest({ h, processes }: World): void {
  const appointed = processes.filter(({ books }) => mayAllocate(books));
  assert.deepEqual(
    appointed.map(({ id }) => id),
    [h.state.allocators.appointedId],
  );
  for (const [id, agent] of h.state.ledger.agents) {
    const available = availableOf(h.state, agent);
    assert.equal(formatResources(available), '', `of agent ${id} something is offered to nobody`);
    for (const { id: allocator, books } of processes) {
      assert.ok(books.synchronised, `${allocator} has no books`);
      const known = availableOn(books, id);
      assert.ok(equals(known, available), `${allocator} takes ${formatResources(known)} of ${id} for available`);
    }
  }
  for (const { books } of processes) assert.equal(books.open.size, 0);
}

test('whatever becomes of allocators and their messages, nothing is sold twice and nothing leaks', (t) => {
  let appointments = 0;
  let stale = 0;
  const law = fc.property(fc.array(action, { minLength: 80, maxLength: 250, size: 'max' }), (actions) => {
    const world = new World();
    for (const one of actions) {
      act(world, one);
      assertBalanced(world);
    }
    appointments += world.h.state.allocators.appointment;
    stale += world.stale;
    world.settle();
    assertBalanced(world);
    assertAtRest(world);
  });
  t.notThrows(() => fc.assert(law, { numRuns: 150 }));
  t.true(appointments > 150, 'successors were appointed');
  t.true(stale > 0, 'one that was replaced has spoken');
});

test('whatever agents estimate to be idle, no more of it is offered, and nothing else is withheld', (t) => {
  let lent = 0;
  let takenBack = 0;
  const anyEstimate = fc.tuple(fc.constantFrom('a1', 'a2'), fc.integer({ min: 0, max: 5 }));
  const anyAction = fc.tuple(action, fc.option(anyEstimate, { freq: 8, nil: undefined }));
  const law = fc.property(fc.array(anyAction, { minLength: 80, maxLength: 250, size: 'max' }), (actions) => {
    const world = new World();
    const { h } = world;
    for (const [one, estimate] of actions) {
      act(world, one);
      if (estimate !== undefined) {
        const before = h.state.offers.size;
        world.estimate(...estimate);
        takenBack += before - h.state.offers.size;
      }
      assertBalanced(world);
      for (const { holdings } of h.state.ledger.agents.values()) {
        for (const held of holdings.values()) lent += revocable(held.resources).length;
      }
    }
    world.settle();
    assertBalanced(world);
    assertAtRest(world);
  });
  t.notThrows(() => fc.assert(law, { numRuns: 100 }));
  t.true(lent > 0, 'tasks have run on it');
  t.true(takenBack > 0, 'offers of it were taken back');
});

const limitPassed = (sent: readonly Sent[]): number =>
  sent.filter((effect) => effect.kind === 'log' && /^the limit of role/.test(String(effect.fields['why']))).length;

test('whatever becomes of allocators and their messages, no limit is passed, however often it changes', (t) => {
  let dropped = 0;
  let offered = 0;
  const anyAction = fc.tuple(action, fc.option(fc.integer({ min: 0, max: 6 }), { freq: 12, nil: undefined }));
  const law = fc.property(fc.array(anyAction, { minLength: 80, maxLength: 250, size: 'max' }), (actions) => {
    const world = new World(['a/b', 'a']);
    const { h } = world;
    let limit = 6;
    for (const [one, cpus] of actions) {
      act(world, one);
      if (cpus !== undefined) {
        limit = cpus;
        const quotaConfigs = [{ role: 'a', limits: { cpus: { value: cpus } } }];
        h.operatorCall({ call: { type: UPDATE_QUOTA, updateQuota: { force: true, quotaConfigs } } });
      }
      const consumed = sumConsumption(h.state, { offers: true }).get('a')?.get('cpus') ?? 0;
      const used = sumConsumption(h.state, { offers: false }).get('a')?.get('cpus') ?? 0;
      assert.ok(consumed <= Math.max(used, limit * 1000), `${consumed} of ${limit * 1000}, ${used} in use`);
      offered = Math.max(offered, consumed);
    }
    dropped += limitPassed(h.sent);
  });
  t.notThrows(() => fc.assert(law, { numRuns: 100 }));
  t.true(dropped > 0, 'an allocation that came late would have passed one');
  t.true(offered > 0);
});
