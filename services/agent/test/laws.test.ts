import assert from 'node:assert/strict';
import type { mesobus } from '@mesobus/protos';
import test from 'ava';
import fc from 'fast-check';
import type { Epoch } from '../src/core/index.ts';
import { compareEpochs } from '../src/core/state.ts';
import { isTerminal } from '../src/core/task-state.ts';
import { acknowledge, agentId, type Command, kill, run, World } from './world.ts';

type Plain =
  | 'launch'
  | 'kill_new'
  | 'sync'
  | 'answer'
  | 'lose'
  | 'elect'
  | 'restore'
  | 'compact'
  | 'reboot'
  | 'reactivate';

type Indexed = 'kill' | 'pause' | 'resume' | 'exit' | 'start_event' | 'acknowledge' | 'lose_supervisor';

type Action =
  | { readonly kind: Plain }
  | { readonly kind: 'drain'; readonly graceMs: number; readonly markGone: boolean }
  | { readonly kind: Indexed; readonly which: number }
  | { readonly kind: 'deliver'; readonly back: number; readonly count: number }
  | { readonly kind: 'tick'; readonly ms: number }
  | { readonly kind: 'crash'; readonly survivors: number; readonly lostStarts: number; readonly withFolder: boolean }
  | { readonly kind: 'stale'; readonly behind: number };

const plain = (kind: Plain) => fc.constant<Action>({ kind });
const indexed = (kind: Indexed) => fc.nat(9).map((which): Action => ({ kind, which }));

const action: fc.Arbitrary<Action> = fc.oneof(
  { weight: 5, arbitrary: plain('launch') },
  { weight: 1, arbitrary: plain('kill_new') },
  { weight: 8, arbitrary: plain('sync') },
  { weight: 6, arbitrary: plain('answer') },
  { weight: 2, arbitrary: plain('lose') },
  { weight: 1, arbitrary: plain('elect') },
  { weight: 1, arbitrary: plain('compact') },
  { weight: 1, arbitrary: plain('restore') },
  { weight: 1, arbitrary: plain('reboot') },
  { weight: 1, arbitrary: plain('reactivate') },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('drain' as const), graceMs: fc.nat(9), markGone: fc.boolean() }),
  },
  { weight: 2, arbitrary: fc.nat(3).map((behind): Action => ({ kind: 'stale', behind })) },
  { weight: 2, arbitrary: indexed('kill') },
  { weight: 3, arbitrary: indexed('pause') },
  { weight: 2, arbitrary: indexed('resume') },
  { weight: 4, arbitrary: indexed('exit') },
  { weight: 4, arbitrary: indexed('start_event') },
  { weight: 4, arbitrary: indexed('acknowledge') },
  { weight: 1, arbitrary: indexed('lose_supervisor') },
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('deliver' as const),
      back: fc.nat(3),
      count: fc.integer({ min: 1, max: 4 }),
    }),
  },
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('tick' as const), ms: fc.nat(2_000) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('crash' as const),
      survivors: fc.nat(6),
      lostStarts: fc.nat(3),
      withFolder: fc.boolean(),
    }),
  },
);

/** A leader that remembers everything, and checks what the agent says against it. */
class Cluster {
  readonly world = new World();
  readonly log: Command[] = [];
  cursor = 0;
  tasks = 0;
  /** Those before the present one. */
  readonly epochs: Epoch[] = [];
  /** Per command number, the updates by number. */
  readonly updates = new Map<number, Map<number, mesobus.v1.TaskUpdate.$Properties>>();
  readonly acknowledged = new Map<number, number>();

  constructor() {
    this.world.start();
  }

  do(action: Action): void {
    const { world } = this;
    switch (action.kind) {
      case 'launch':
        this.log.push(run(this.log.length + 1, `t${++this.tasks}`));
        break;
      case 'kill_new':
        this.log.push(kill(this.log.length + 1, `t${++this.tasks}`));
        break;
      case 'kill':
        if (this.tasks > 0) this.kill(`t${(action.which % this.tasks) + 1}`);
        break;
      case 'pause':
      case 'resume': {
        const which = { task: { frameworkId: 'F', taskId: `t${(action.which % Math.max(1, this.tasks)) + 1}` } };
        const pauses = action.kind === 'pause';
        this.log.push({ number: this.log.length + 1, ...(pauses ? { pauseTask: which } : { resumeTask: which }) });
        break;
      }
      case 'deliver':
        this.deliver(Math.max(0, this.cursor - action.back), action.count);
        break;
      case 'sync':
        world.sync();
        break;
      case 'compact':
        world.compact();
        break;
      case 'answer':
        this.answer();
        break;
      case 'lose': {
        const lost = world.sent.shift();
        if (lost === undefined) break;
        const failure = { kind: 'no_answer', message: 'lost' } as const;
        world.input({ kind: 'request_failed', requestId: lost.requestId, failure });
        break;
      }
      case 'elect':
        this.elect({ ...world.epoch, epoch: world.epoch.epoch + 1 });
        break;
      case 'restore': // from a backup: epochs begin anew, and outrank all before
        this.elect({ incarnation: world.epoch.incarnation + 1, epoch: 1 });
        break;
      case 'stale':
        this.sendStale(action.behind);
        break;
      case 'drain': {
        const { graceMs: maxGracePeriodMs, markGone } = action;
        this.log.push({ number: this.log.length + 1, drainAgent: { maxGracePeriodMs, markGone } });
        break;
      }
      case 'reactivate':
        this.log.push({ number: this.log.length + 1, reactivateAgent: {} });
        break;
      case 'tick':
        world.tick(action.ms);
        break;
      case 'crash':
        world.loseStarts(action.lostStarts, action.withFolder);
        world.start({}, action.survivors);
        break;
      case 'reboot':
        world.bootId += '+';
        for (const container of world.containers.values()) container.running = false;
        world.start();
        break;
      case 'start_event':
        this.container(action.which, (containerId) => {
          const event = { kind: 'started', containerId, commandPid: 2, supervisorPid: 1 } as const;
          world.input({ kind: 'container_events', events: [event] });
        });
        break;
      case 'exit':
        this.container(action.which, (containerId) => this.end(containerId));
        break;
      case 'lose_supervisor':
        this.container(action.which, (containerId) => {
          world.containers.set(containerId, { running: false, stopped: false, end: undefined });
          world.input({ kind: 'container_events', events: [{ kind: 'lost', containerId }] });
        });
        break;
      case 'acknowledge':
        this.acknowledgeOne(action.which);
        break;
    }
  }

  elect(epoch: Epoch): void {
    this.epochs.push(this.world.epoch);
    this.world.epoch = epoch;
    this.world.input({ kind: 'beat', epoch, message: { phase: 1, agents: 1_000 } });
  }

  /** A deposed master says what it would have done next. It counts once the agent has heard of a newer one. */
  sendStale(behind: number): void {
    const { world } = this;
    const epoch = this.epochs.at(-1 - behind);
    const { obeyed, cursor } = world.state;
    if (epoch === undefined || compareEpochs(epoch, obeyed) >= 0) return;
    const current = world.epoch;
    world.epoch = epoch;
    const effects = world.commands([run(cursor + 1, 'stale')]);
    world.epoch = current;
    assert.deepEqual(
      effects.map(({ kind }) => kind),
      ['refuse'],
      'a deposed master is not obeyed',
    );
    assert.deepEqual(world.state.obeyed, obeyed);
  }

  /** A framework kills only what it knows to be alive. */
  kill(taskId: string): void {
    const launch = this.log.findIndex(({ runTask }) => runTask?.task?.taskId.value === taskId) + 1;
    const known = [...(this.updates.get(launch)?.values() ?? [])];
    if (launch === 0 || known.some(({ status }) => isTerminal(status?.state ?? 0))) return;
    this.log.push(kill(this.log.length + 1, taskId));
  }

  deliver(from: number, count: number): void {
    const batch = this.log.slice(from, from + count);
    for (const effect of this.world.commands(batch)) if (effect.kind === 'reply') this.heard(effect.message.cursor);
  }

  heard(cursor: number | null | undefined): void {
    const journaled = this.world.disk.reduce(
      (most, { commandTaken, snapshot }) => Math.max(most, commandTaken?.command?.number ?? 0, snapshot?.cursor ?? 0),
      0,
    );
    assert((cursor ?? 0) <= journaled, 'the cursor says only what is on the disk');
    this.cursor = Math.max(this.cursor, cursor ?? 0);
  }

  container(which: number, act: (containerId: string) => void): void {
    const running = [...this.world.containers].filter(([, { running }]) => running).map(([id]) => id);
    const chosen = running[which % Math.max(1, running.length)];
    if (chosen !== undefined) act(chosen);
  }

  end(containerId: string): void {
    const stopped = this.world.containers.get(containerId)?.stopped ?? false;
    const end = { kind: 'exited', containerId, status: stopped ? 15 : 0, stopped, exitedAtMs: this.world.at } as const;
    this.world.containers.set(containerId, { running: false, stopped, end });
    this.world.input({ kind: 'container_events', events: [end] });
  }

  answer(): void {
    const { world } = this;
    const request = world.sent[0]?.request;
    if (request?.register) {
      this.heard(request.register.cursor);
      world.registered();
    } else if (request?.taskUpdates) {
      for (const update of request.taskUpdates.updates ?? []) this.take(update);
      world.answer({ taskUpdatesTaken: {} });
    }
  }

  take(update: mesobus.v1.TaskUpdate.$Properties): void {
    const launch = update.commandNumber ?? 0;
    const number = update.number ?? 0;
    const mine = this.updates.get(launch) ?? new Map<number, mesobus.v1.TaskUpdate.$Properties>();
    this.updates.set(launch, mine);
    const before = mine.get(number);
    if (before) assert.deepEqual(before.status?.uuid, update.status?.uuid, 'an update keeps its number');
    mine.set(number, update);
    const terminal = [...mine.values()].filter(({ status }) => isTerminal(status?.state ?? 0));
    assert(terminal.length <= 1, 'a task ends once');
    const last = terminal[0];
    if (last) assert.equal(last.number, Math.max(...mine.keys()), 'nothing follows the end of a task');
  }

  acknowledgeOne(which: number): void {
    const launches = [...this.updates.keys()];
    const launch = launches[which % Math.max(1, launches.length)];
    if (launch === undefined) return;
    const next = (this.acknowledged.get(launch) ?? 0) + 1;
    const update = this.updates.get(launch)?.get(next);
    if (update === undefined) return;
    this.world.commands([acknowledge(update.status?.taskId.value ?? '', update.status?.uuid)]);
    // It may be lost: the next time it is acknowledged again if the agent still sends it.
    if (!this.pending(launch).includes(next)) this.acknowledged.set(launch, next);
  }

  pending(launch: number): number[] {
    const found = [...this.world.state.launches.values()].find(({ commandNumber }) => commandNumber === launch);
    return found?.pending.map(({ number }) => number) ?? [];
  }

  /** No fault any more: what runs stands still if that was wanted last, and only then. */
  checkPauses(): void {
    const { world } = this;
    for (let round = 0; round < 10; round += 1) {
      world.sync();
      world.tick(61_000);
      world.sync();
      while (world.sent.length > 0) this.answer();
      this.deliver(this.cursor, this.log.length);
      for (const effect of world.sync()) if (effect.kind === 'reply') this.heard(effect.message.cursor);
    }
    for (const [containerId, { running }] of world.containers) if (running) world.started(containerId);
    const paused = new Map<string, boolean>();
    for (const { pauseTask, resumeTask, runTask } of this.log) {
      if (runTask) paused.set(runTask.task?.taskId.value ?? '', false);
      const task = (pauseTask ?? resumeTask)?.task?.taskId ?? '';
      if (paused.has(task)) paused.set(task, !!pauseTask);
    }
    for (const { containerId, taskId, kill: killed } of world.state.launches.values()) {
      const container = world.containers.get(containerId);
      if (!container?.running || killed !== undefined) continue;
      assert.equal(container.paused ?? false, paused.get(taskId), `'${taskId}' stands still as was wanted last`);
    }
  }

  /** No fault any more: everything must come to its end. */
  heal(): void {
    const { world } = this;
    for (let round = 0; round < 40; round += 1) {
      world.sync();
      world.tick(61_000);
      world.sync();
      while (world.sent.length > 0) this.answer();
      world.sync();
      this.deliver(this.cursor, this.log.length);
      for (const effect of world.sync()) if (effect.kind === 'reply') this.heard(effect.message.cursor);
      for (const [containerId, { running }] of world.containers) if (running) this.end(containerId);
      world.sync();
      while (world.sent.length > 0) this.answer();
      for (const launch of this.updates.keys()) {
        for (const number of this.pending(launch)) {
          const update = this.updates.get(launch)?.get(number);
          if (update) world.commands([acknowledge(update.status?.taskId.value ?? '', update.status?.uuid)]);
        }
      }
    }
    world.sync();
  }

  check(): void {
    const { world } = this;
    assert.equal(new Set(world.startedTasks).size, world.startedTasks.length, 'no task is started twice');
    assert.equal(world.state.launches.size, 0, 'everything acknowledged is forgotten');
    assert.equal(world.containers.size, 0, 'no container is left behind');
    assert.equal(world.state.deferred.length, 0);
    for (const [index, command] of this.log.entries()) {
      const number = index + 1;
      if (!command.runTask) continue;
      const mine = this.updates.get(number);
      assert(mine !== undefined, `launch ${number} was never heard of`);
      const numbers = [...mine.keys()].sort((a, b) => a - b);
      assert.deepEqual(
        numbers,
        numbers.map((_, at) => at + 1),
        'updates are without gaps',
      );
      assert(
        [...mine.values()].some(({ status }) => isTerminal(status?.state ?? 0)),
        `launch ${number} has ended`,
      );
    }
  }
}

test('under crashes, losses and repetitions every task starts at most once, ends once, and no update is lost', (t) => {
  const law = fc.property(fc.array(action, { maxLength: 120, size: 'max' }), (actions) => {
    const cluster = new Cluster();
    for (const one of actions) cluster.do(one);
    cluster.checkPauses();
    cluster.heal();
    cluster.check();
  });
  t.notThrows(() => fc.assert(law, { numRuns: 300 }));
});

test('wherever the agent is killed, its task runs exactly once, unless the machine goes too', (t) => {
  const life: readonly Action[] = [
    { kind: 'sync' },
    { kind: 'tick', ms: 0 },
    { kind: 'answer' },
    { kind: 'launch' },
    { kind: 'deliver', back: 0, count: 1 },
    { kind: 'sync' },
    { kind: 'answer' },
    { kind: 'start_event', which: 0 },
    { kind: 'sync' },
    { kind: 'answer' },
    { kind: 'acknowledge', which: 0 },
    { kind: 'exit', which: 0 },
    { kind: 'sync' },
  ];
  const ends = [true, false].flatMap((withFolder) => [0, 1].map((lostStarts) => ({ lostStarts, withFolder })));
  for (let steps = 0; steps <= life.length; steps += 1) {
    for (let survivors = 0; survivors <= 6; survivors += 1) {
      for (const end of ends) {
        const cluster = new Cluster();
        for (const action of life.slice(0, steps)) cluster.do(action);
        if (steps < 4) cluster.do({ kind: 'launch' });
        cluster.do({ kind: 'crash', survivors, ...end });
        cluster.heal();
        cluster.check();
        t.deepEqual(cluster.world.startedTasks, ['t1'], `${steps} steps, ${survivors} records of the last write`);
      }
    }
  }
});

test('a process that replays its journal knows what the one before knew', (t) => {
  const law = fc.property(fc.array(action, { maxLength: 60, size: 'max' }), (actions) => {
    const cluster = new Cluster();
    for (const one of actions) cluster.do(one);
    cluster.world.sync();
    const before = booksOf(cluster.world);
    const again = new World();
    again.disk = cluster.world.disk;
    again.bootId = cluster.world.bootId;
    for (const [id, container] of cluster.world.containers) again.containers.set(id, container);
    again.start();
    for (const [key, value] of before) {
      const after = booksOf(again).get(key);
      assert.deepEqual(after?.slice(0, value.length), value);
    }
    assert.equal(again.state.cursor, cluster.world.state.cursor);
  });
  t.notThrows(() => fc.assert(law, { numRuns: 100 }));
});

/** The updates that wait for an acknowledgement, by launch. */
function booksOf({ state }: World): Map<string, string[]> {
  const books = [...state.launches.values()].map(({ key, pending }): [string, string[]] => [
    key,
    pending.map(({ number, status }) => `${number} ${status.state} ${status.uuid?.join('.')}`),
  ]);
  return new Map(books);
}

test('the agent id of the tests is the one that the leader gives', (t) => {
  const world = new World().ready();
  t.is(world.state.identity?.agentId, agentId);
});
