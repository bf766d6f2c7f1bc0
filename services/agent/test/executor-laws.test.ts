import assert from 'node:assert/strict';
import { type mesobus, mesos } from '@mesobus/protos';
import { parseResources, toWire } from '@mesobus/sdk/resources';
import test from 'ava';
import fc from 'fast-check';
import type { Effect } from '../src/core/index.ts';
import { isTerminal } from '../src/core/task-state.ts';
import { acknowledge, type Command, kill, run, TaskState, World } from './world.ts';

const { CUSTOM, DEFAULT } = mesos.v1.ExecutorInfo.Type;
const { SOURCE_EXECUTOR } = mesos.v1.TaskStatus.Source;
const EventType = mesos.v1.executor.Event.Type;
const CallType = mesos.v1.executor.Call.Type;

type Status = mesos.v1.TaskStatus.$Properties;
type Plain = 'delegate' | 'group' | 'shutdown' | 'sync' | 'answer' | 'lose' | 'compact' | 'reboot';
type Indexed = 'kill' | 'start_event' | 'exit' | 'lose_supervisor' | 'subscribe' | 'break' | 'say' | 'acknowledge';

type Action =
  | { readonly kind: Plain }
  | { readonly kind: Indexed; readonly which: number }
  | { readonly kind: 'deliver'; readonly back: number; readonly count: number }
  | { readonly kind: 'tick'; readonly ms: number }
  | { readonly kind: 'crash'; readonly survivors: number; readonly lostStarts: number; readonly withFolder: boolean };

const plain = (weight: number, kind: Plain) => ({ weight, arbitrary: fc.constant<Action>({ kind }) });
const indexed = (weight: number, kind: Indexed) => ({
  weight,
  arbitrary: fc.nat(9).map((which): Action => ({ kind, which })),
});

const action: fc.Arbitrary<Action> = fc.oneof(
  plain(4, 'delegate'),
  plain(2, 'group'),
  plain(1, 'shutdown'),
  plain(8, 'sync'),
  plain(6, 'answer'),
  plain(2, 'lose'),
  plain(1, 'compact'),
  plain(1, 'reboot'),
  indexed(2, 'kill'),
  indexed(5, 'start_event'),
  indexed(1, 'exit'),
  indexed(1, 'lose_supervisor'),
  indexed(6, 'subscribe'),
  indexed(2, 'break'),
  indexed(6, 'say'),
  indexed(4, 'acknowledge'),
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('deliver' as const),
      back: fc.nat(3),
      count: fc.integer({ min: 1, max: 4 }),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant('tick' as const), ms: fc.constantFrom(10, 500, 2_000, 60_000) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('crash' as const),
      survivors: fc.nat(8),
      lostStarts: fc.nat(2),
      withFolder: fc.boolean(),
    }),
  },
);

/** A process that was written for Mesos' executor API, and does what that asks for. */
interface Process {
  readonly containerId: string;
  /** By task id: those it was told of, and what of them was not acknowledged. */
  readonly tasks: Map<string, { unacknowledged: Status[]; heardOf: boolean; over: boolean }>;
  connected: boolean;
  shutDown: boolean;
}

class ExecutorWorld extends World {
  readonly processes = new Map<string, Process>();
  /** Every task that a process was ever told to start. */
  readonly told: string[] = [];
  #uuids = 0;

  override carryOut(effect: Effect): void {
    super.carryOut(effect);
    if (effect.kind === 'start' && effect.executor !== undefined) {
      const { containerId } = effect;
      this.processes.set(containerId, { containerId, tasks: new Map(), connected: false, shutDown: false });
    } else if (effect.kind === 'executor_event') this.#hear(effect.containerId, effect.event);
    else if (effect.kind === 'resize') assert(this.containers.has(effect.containerId), 'only what is there is resized');
  }

  #hear(containerId: string, event: mesos.v1.executor.Event.$Properties): void {
    const process = this.processes.get(containerId);
    if (process?.connected !== true || !this.runs(containerId)) return; // lost on its way
    const { launch, launchGroup, acknowledged } = event;
    for (const { taskId } of [...(launch ? [launch.task] : []), ...(launchGroup?.taskGroup.tasks ?? [])]) {
      this.told.push(taskId.value);
      process.tasks.set(taskId.value, { unacknowledged: [], heardOf: false, over: false });
    }
    if (event.type === EventType.SHUTDOWN) process.shutDown = true;
    if (event.kill) this.say(process, event.kill.taskId.value, TaskState.TASK_KILLED);
    const task = acknowledged && process.tasks.get(acknowledged.taskId.value);
    if (!task) return;
    const uuid = String(acknowledged.uuid);
    task.unacknowledged = task.unacknowledged.filter((status) => String(status.uuid) !== uuid);
    task.heardOf = true;
  }

  /** It says so now if it is heard, or when it subscribes the next time. */
  say(process: Process, taskId: string, state: mesos.v1.TaskState): void {
    const task = process.tasks.get(taskId);
    if (task === undefined || task.over) return;
    task.over = isTerminal(state);
    const uuid = new Uint8Array(16).fill(++this.#uuids % 256);
    uuid[0] = this.#uuids >> 8;
    const status = { taskId: { value: taskId }, state, source: SOURCE_EXECUTOR, uuid };
    task.unacknowledged.push(status);
    this.spoken.push({ containerId: process.containerId, status });
  }

  runs(containerId: string): boolean {
    return this.containers.get(containerId)?.running ?? false;
  }

  /** Said, and not yet read by the agent. */
  spoken: { containerId: string; status: Status }[] = [];

  speak(): void {
    for (const { containerId, status } of this.spoken.splice(0)) {
      if (this.processes.get(containerId)?.connected !== true || !this.runs(containerId)) continue;
      const ids = { executorId: { value: 'e' }, frameworkId: { value: 'F' } };
      const call = { ...ids, type: CallType.UPDATE, update: { status } };
      const effects = this.input({ kind: 'executor_call', containerId, call });
      assert(!effects.some(({ kind }) => kind === 'executor_refused'), 'what a process says is in order');
    }
  }

  subscribe(process: Process): void {
    const { containerId } = process;
    if (!this.runs(containerId)) return;
    this.unheard.delete(containerId);
    process.connected = true;
    const tasks = [...process.tasks];
    const agentId = { value: 'm1-S0' };
    this.spoken = this.spoken.filter((one) => one.containerId !== containerId);
    const effects = this.input({
      kind: 'executor_subscribed',
      containerId,
      subscribe: {
        unacknowledgedTasks: tasks
          .filter(([, { heardOf }]) => !heardOf)
          .map(([value]) => ({ name: value, taskId: { value }, agentId })),
        unacknowledgedUpdates: tasks.flatMap(([, { unacknowledged }]) => unacknowledged.map((status) => ({ status }))),
      },
    });
    if (effects.some(({ kind }) => kind === 'executor_refused')) process.connected = false;
  }

  break(process: Process): void {
    if (!process.connected) return;
    process.connected = false;
    this.input({ kind: 'executor_disconnected', containerId: process.containerId });
  }

  /** With the agent go all streams. */
  die(survivors: number): void {
    for (const process of this.processes.values()) process.connected = false;
    this.start({}, survivors);
  }
}

/** A leader that knows which run of an executor it counts on, and checks what the agent says. */
class Cluster {
  readonly world = new ExecutorWorld();
  readonly log: Command[] = [];
  readonly killed = new Set<string>();
  /** Number of the run, by executor id. */
  readonly runs = new Map<string, number>();
  readonly updates = new Map<string, Map<number, mesobus.v1.TaskUpdate.$Properties>>();
  readonly acknowledged = new Map<string, number>();
  cursor = 0;
  tasks = 0;

  constructor() {
    this.world.start();
  }

  do(action: Action): void {
    const { world } = this;
    switch (action.kind) {
      case 'delegate':
        this.launch(CUSTOM, 1);
        break;
      case 'group':
        this.launch(DEFAULT, 2);
        break;
      case 'shutdown':
        this.command({ shutdownExecutor: { frameworkId: 'F', executorId: 'e' } });
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
        const failure = { kind: 'no_answer', message: 'lost' } as const;
        if (lost) world.input({ kind: 'request_failed', requestId: lost.requestId, failure });
        break;
      }
      case 'reboot':
        world.bootId += '+';
        for (const container of world.containers.values()) container.running = false;
        world.die(0);
        break;
      case 'crash':
        world.loseStarts(action.lostStarts, action.withFolder);
        world.die(action.survivors);
        break;
      case 'kill':
        if (this.tasks > 0) this.kill(`t${(action.which % this.tasks) + 1}`);
        break;
      case 'deliver':
        this.deliver(Math.max(0, this.cursor - action.back), action.count);
        break;
      case 'tick':
        world.tick(action.ms);
        break;
      default:
        this.act(action.kind, action.which);
    }
    world.speak();
  }

  act(kind: Indexed, which: number): void {
    const { world } = this;
    const chosen = <T>(from: readonly T[]): T | undefined => from[which % Math.max(1, from.length)];
    const running = chosen([...world.containers].filter(([, { running }]) => running).map(([id]) => id));
    const process = chosen([...world.processes.values()]);
    if (kind === 'acknowledge') this.acknowledgeOne(which);
    else if (kind === 'subscribe' && process) world.subscribe(process);
    else if (kind === 'break' && process) world.break(process);
    else if (kind === 'say' && process) {
      const taskId = chosen([...process.tasks.keys()]);
      const state = which > 6 ? TaskState.TASK_FINISHED : TaskState.TASK_RUNNING;
      if (taskId !== undefined) world.say(process, taskId, state);
    } else if (running === undefined) return;
    else if (kind === 'start_event') {
      const event = { kind: 'started', containerId: running, commandPid: 2, supervisorPid: 1 } as const;
      world.input({ kind: 'container_events', events: [event] });
    } else if (kind === 'exit') this.end(running);
    else if (kind === 'lose_supervisor') {
      world.containers.set(running, { running: false, stopped: false, end: undefined });
      world.input({ kind: 'container_events', events: [{ kind: 'lost', containerId: running }] });
    }
  }

  command(what: Command): number {
    const number = this.log.length + 1;
    this.log.push({ number, ...what });
    return number;
  }

  launch(type: mesos.v1.ExecutorInfo.Type, count: number): void {
    const executorId = type === DEFAULT ? 'g' : 'e';
    const number = this.log.length + 1;
    const runNumber = this.runs.get(executorId) ?? number;
    this.runs.set(executorId, runNumber);
    const { framework } = run(number, '').runTask ?? {};
    const common = { framework: framework ?? null, run: { number: runNumber, role: 'ads' } };
    const executor: mesos.v1.ExecutorInfo.$Properties = { type, executorId: { value: executorId } };
    if (type === CUSTOM) executor.command = { value: './executor' };
    const tasks = Array.from({ length: count }, (): mesos.v1.TaskInfo.$Properties => {
      const value = `t${++this.tasks}`;
      const base = { name: value, taskId: { value }, agentId: { value: 'm1-S0' } };
      const resources = toWire(parseResources('cpus:1'));
      return type === DEFAULT ? { ...base, resources, command: { value: 'true' } } : { ...base, resources, executor };
    });
    const [task] = tasks;
    if (type === CUSTOM && task) this.command({ runTask: { ...common, task } });
    else this.command({ runTaskGroup: { ...common, executor, group: { tasks } } });
  }

  /** Those of a launch. */
  tasksOf({ runTask, runTaskGroup }: Command): string[] {
    const tasks = runTask?.task ? [runTask.task] : (runTaskGroup?.group?.tasks ?? []);
    return tasks.map(({ taskId }) => taskId.value);
  }

  isOver(taskId: string): boolean {
    return [...(this.updates.get(taskId)?.values() ?? [])].some(({ status }) => isTerminal(status?.state ?? 0));
  }

  kill(taskId: string): void {
    if (this.isOver(taskId)) return;
    this.killed.add(taskId);
    this.command(kill(0, taskId, 3_000));
    const last = this.log.at(-1);
    if (last) last.number = this.log.length;
  }

  /** What is killed before the agent is known to have it goes out as ended. */
  deliver(from: number, count: number): void {
    const batch = this.log.slice(from, from + count).map((command): Command => {
      if (!this.tasksOf(command).some((taskId) => this.killed.has(taskId))) return command;
      const { runTask, runTaskGroup } = command;
      return {
        ...command,
        ...(runTask && { runTask: { ...runTask, unlaunched: {} } }),
        ...(runTaskGroup && { runTaskGroup: { ...runTaskGroup, unlaunched: {} } }),
      };
    });
    this.hear(this.world.commands(batch));
  }

  hear(effects: readonly Effect[]): void {
    for (const effect of effects)
      if (effect.kind === 'reply') this.cursor = Math.max(this.cursor, effect.message.cursor ?? 0);
  }

  answer(): void {
    const { world } = this;
    const request = world.sent[0]?.request;
    const lastCommand = this.log.length;
    if (request?.register) {
      this.cursor = Math.max(this.cursor, request.register.cursor ?? 0);
      world.registered({ lastCommand, unknownExecutors: this.compare(request.register) });
    } else if (request?.executorExits) {
      for (const exit of request.executorExits.exits ?? []) this.onExit(exit);
      world.answer({ executorExitsTaken: { lastCommand } });
    } else if (request?.taskUpdates) {
      for (const update of request.taskUpdates.updates ?? []) this.take(update);
      world.answer({ taskUpdatesTaken: {} });
    }
  }

  /** As the master does. @returns the runs that it does not know */
  compare({ executors, cursor }: mesobus.v1.RegisterAgent.$Properties): number[] {
    const reported = new Set((executors ?? []).map(({ run }) => run?.number ?? 0));
    for (const [id, number] of this.runs) {
      if (!reported.has(number) && !this.isNamedAbove(number, cursor ?? 0)) this.runs.delete(id);
    }
    return (executors ?? [])
      .filter(({ ended, info, run }) => !ended && this.runs.get(info?.executorId.value ?? '') !== run?.number)
      .map(({ run }) => run?.number ?? 0);
  }

  isNamedAbove(runNumber: number, above: number): boolean {
    return this.log.slice(above).some((command) => {
      const { number } = command.runTask?.run ?? command.runTaskGroup?.run ?? {};
      return number === runNumber && this.tasksOf(command).some((taskId) => !this.isOver(taskId));
    });
  }

  onExit({ executorId, runNumber, asOf }: mesobus.v1.ExecutorExit.$Properties): void {
    if (this.runs.get(executorId ?? '') !== runNumber) return;
    if (asOf && this.isNamedAbove(runNumber ?? 0, asOf)) return;
    this.runs.delete(executorId ?? '');
  }

  take(update: mesobus.v1.TaskUpdate.$Properties): void {
    const taskId = update.status?.taskId.value ?? '';
    const number = update.number ?? 0;
    // A kill that comes after all is over is answered once more, as a launch of its own that never was.
    if (!this.tasksOf(this.log[(update.commandNumber ?? 0) - 1] ?? {}).includes(taskId)) return;
    const mine = this.updates.get(taskId) ?? new Map<number, mesobus.v1.TaskUpdate.$Properties>();
    this.updates.set(taskId, mine);
    const before = mine.get(number);
    if (before) assert.deepEqual(before.status?.uuid, update.status?.uuid, 'an update keeps its number');
    mine.set(number, update);
    const uuids = [...mine.values()].map(({ status }) => String(status?.uuid));
    assert.equal(new Set(uuids).size, uuids.length, 'no update is taken twice');
    const terminal = [...mine.values()].filter(({ status }) => isTerminal(status?.state ?? 0));
    assert(terminal.length <= 1, 'a task ends once');
    if (terminal[0]) assert.equal(terminal[0].number, Math.max(...mine.keys()), 'nothing follows the end of a task');
  }

  acknowledgeOne(which: number): void {
    const taskIds = [...this.updates.keys()];
    const taskId = taskIds[which % Math.max(1, taskIds.length)];
    if (taskId === undefined) return;
    const next = (this.acknowledged.get(taskId) ?? 0) + 1;
    const update = this.updates.get(taskId)?.get(next);
    if (update === undefined) return;
    this.world.commands([acknowledge(taskId, update.status?.uuid)]);
    if (!this.pending(taskId).includes(next)) this.acknowledged.set(taskId, next);
  }

  pending(taskId: string): number[] {
    const found = [...this.world.state.launches.values()].find((launch) => launch.taskId === taskId);
    return found?.pending.map(({ number }) => number) ?? [];
  }

  end(containerId: string): void {
    const { world } = this;
    const stopped = world.containers.get(containerId)?.stopped ?? false;
    const end = { kind: 'exited', containerId, status: stopped ? 15 : 0, stopped, exitedAtMs: world.at } as const;
    world.containers.set(containerId, { running: false, stopped, end });
    world.input({ kind: 'container_events', events: [end] });
  }

  /** No fault any more: everything must come to its end. */
  heal(): void {
    const { world } = this;
    this.command({ shutdownExecutor: { frameworkId: 'F', executorId: 'e' } });
    for (let round = 0; round < 20; round += 1) {
      world.sync();
      for (const process of world.processes.values()) world.subscribe(process);
      world.sync();
      while (world.sent.length > 0) this.answer();
      this.deliver(this.cursor, this.log.length);
      this.hear(world.sync());
      for (const process of world.processes.values()) {
        for (const taskId of process.tasks.keys()) world.say(process, taskId, TaskState.TASK_FINISHED);
      }
      world.speak();
      world.sync();
      for (const [containerId, { running, stopped }] of world.containers) {
        const process = world.processes.get(containerId);
        const isWanted = process !== undefined && !process.shutDown && !stopped;
        if (running && !isWanted) this.end(containerId);
      }
      world.sync();
      while (world.sent.length > 0) this.answer();
      for (const { taskId, pending, commandNumber } of [...world.state.launches.values()]) {
        const isForeign = !this.tasksOf(this.log[commandNumber - 1] ?? {}).includes(taskId);
        for (const { status, number } of [...pending]) {
          if (isForeign || this.updates.get(taskId)?.has(number)) world.commands([acknowledge(taskId, status.uuid)]);
        }
      }
      world.sync();
      this.hear(world.tick(61_000));
    }
    world.sync();
  }

  check(): void {
    const { world } = this;
    const started = [...world.startedTasks.filter((taskId) => taskId !== ''), ...world.told];
    assert.equal(new Set(started).size, started.length, 'no task is started twice');
    for (const command of this.log) {
      for (const taskId of this.tasksOf(command)) {
        const numbers = [...(this.updates.get(taskId)?.keys() ?? [])].sort((a, b) => a - b);
        assert(this.isOver(taskId), `${taskId} has ended`);
        assert.deepEqual(
          numbers,
          numbers.map((_, at) => at + 1),
          'updates are without gaps',
        );
      }
    }
    assert.equal(world.state.launches.size, 0, 'everything acknowledged is forgotten');
    assert.equal(this.runs.size, 0, 'the leader counts on no executor that has ended');
    assert.equal(world.state.executors.size, 0, 'no executor is left');
    assert.equal(world.state.byExecutor.size, 0);
    assert.equal(world.containers.size, 0, 'no container is left behind');
    assert.equal(world.state.deferred.length, 0);
  }
}

test('whatever crashes, breaks or is lost, a task is told to one executor once and ends once, and every executor ends', (t) => {
  const law = fc.property(fc.array(action, { maxLength: 120, size: 'max' }), (actions) => {
    const cluster = new Cluster();
    for (const one of actions) cluster.do(one);
    cluster.heal();
    cluster.check();
  });
  t.notThrows(() => fc.assert(law, { numRuns: 300, includeErrorInReport: true }));
});
