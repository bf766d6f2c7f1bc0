import { mesos } from '@mesobus/protos';
import { parseResources, toWire } from '@mesobus/sdk/resources';
import test from 'ava';
import type { Effect } from '../src/core/index.ts';
import {
  acknowledge,
  type Command,
  kill,
  ofKind,
  Reason,
  run,
  statesIn,
  TaskState,
  updatesIn,
  World,
} from './world.ts';

const wire = (text: string) => toWire(parseResources(text));

/** A command that launches tasks together. @param runNumber - of the launch that their executor came with */
function group(number: number, taskIds: readonly string[], runNumber = number): Command {
  const tasks = taskIds.map((taskId) => run(number, taskId, { task: { resources: wire('cpus:1') } }).runTask?.task);
  return {
    number,
    runTaskGroup: {
      framework: run(number, '').runTask?.framework ?? null,
      executor: { type: mesos.v1.ExecutorInfo.Type.DEFAULT, executorId: { value: 'e' }, resources: wire('cpus:0.1') },
      group: { tasks: tasks.filter((task) => task != null) },
      run: { number: runNumber, role: 'ads' },
    },
  };
}

class GroupWorld extends World {
  containerOf(taskId: string): string {
    const launch = [...this.state.launches.values()].find((one) => one.taskId === taskId);
    return launch?.containerId ?? '';
  }

  startedAll(...taskIds: string[]): this {
    for (const taskId of taskIds) this.started(this.containerOf(taskId));
    return this;
  }
}

const world = (): GroupWorld => new GroupWorld().ready();

const exitsIn = (effects: readonly Effect[]) =>
  ofKind(effects, 'send').flatMap(({ request }) => request.executorExits?.exits ?? []);

/** `t1 TASK_KILLED` for every update in some effects. */
const saidIn = (effects: readonly Effect[]): string[] =>
  updatesIn(effects).map(({ status }) => `${status?.taskId.value} ${TaskState[status?.state ?? 0]}`);

test('every task of a group is a container of its own, beside the others in one parent', (t) => {
  const one = world();
  const effects = one.taken(group(1, ['t1', 't2']));
  const [first, second] = ofKind(effects, 'start');
  t.like(first, { taskId: 't1', executorId: 'e', sandbox: `F/t1/${one.containerOf('t1')}` });
  t.deepEqual(first?.parent, second?.parent);
  t.regex(first?.parent?.sandbox ?? '', /^F\/e\//);
  t.deepEqual(saidIn(effects), ['t1 TASK_STARTING', 't2 TASK_STARTING']);
  t.is(updatesIn(effects)[0]?.status?.executorId?.value, 'e');
});

for (const [what, status] of [
  ['fails', 256],
  ['is killed by a signal', 9],
] as const) {
  test(`one task of a group ${what}: the others are killed, with the grace of each; another group goes on`, (t) => {
    const one = world();
    one.taken(group(1, ['t1', 't2']), group(2, ['t3'], 1));
    one.startedAll('t1', 't2', 't3');
    const effects = one.exited(one.containerOf('t1'), status);
    t.deepEqual(saidIn(effects), ['t1 TASK_FAILED']);
    const controls = ofKind(effects, 'control');
    t.deepEqual(controls, [
      { kind: 'control', containerId: one.containerOf('t2'), control: { kind: 'term', graceMs: 3_000 } },
    ]);
    t.deepEqual(saidIn(one.exited(one.containerOf('t2'), 15, true)), ['t2 TASK_KILLED']);
  });
}

test('one task of a group finishes: the others go on', (t) => {
  const one = world();
  one.taken(group(1, ['t1', 't2']));
  one.startedAll('t1', 't2');
  t.deepEqual(ofKind(one.exited(one.containerOf('t1'), 0), 'control'), []);
});

test('the kill of one task is the kill of its group', (t) => {
  const one = world();
  one.taken(group(1, ['t1', 't2']));
  one.startedAll('t1', 't2');
  t.is(ofKind(one.taken(kill(2, 't1', 100)), 'control').length, 2);
});

test('a group that is killed before it is started is never started', (t) => {
  const one = world();
  const effects = [...one.commands([group(1, ['t1', 't2']), kill(2, 't2')]), ...one.sync()];
  t.deepEqual(ofKind(effects, 'start'), []);
  const reasons = updatesIn(effects)
    .filter(({ status }) => status?.state === TaskState.TASK_KILLED)
    .map(({ status }) => status?.reason);
  t.deepEqual(reasons, [Reason.REASON_TASK_KILLED_DURING_LAUNCH, Reason.REASON_TASK_KILLED_DURING_LAUNCH]);
  t.like(exitsIn(effects), [{ unstarted: true, asOf: 2 }]);
});

test('a group of which one task cannot be run is refused as a whole', (t) => {
  const one = world();
  const command = group(1, ['t1', 't2']);
  const second = command.runTaskGroup?.group?.tasks?.[1];
  if (second) second.command = { value: '' };
  const effects = one.taken(command);
  t.deepEqual(ofKind(effects, 'start'), []);
  t.deepEqual(saidIn(effects), ['t1 TASK_ERROR', 't2 TASK_ERROR']);
  t.is(updatesIn(effects)[0]?.status?.reason, Reason.REASON_TASK_GROUP_INVALID);
  t.regex(updatesIn(effects)[0]?.status?.message ?? '', /'t2'/);
});

test('a group that was ended before the agent had it is reported as the leader says', (t) => {
  const one = world();
  const command = group(1, ['t1', 't2']);
  const unlaunched = { state: TaskState.TASK_DROPPED, reason: Reason.REASON_AGENT_REMOVED, message: 'away' };
  const effects = one.taken({ number: 1, runTaskGroup: { ...command.runTaskGroup, unlaunched } });
  t.deepEqual(saidIn(effects), ['t1 TASK_DROPPED', 't2 TASK_DROPPED']);
  t.deepEqual(ofKind(effects, 'start'), []);
});

test('when the last group has ended the executor has; a group that comes later starts it again', (t) => {
  const one = world();
  one.taken(group(1, ['t1']));
  one.startedAll('t1');
  const effects = one.exited(one.containerOf('t1'), 0);
  t.deepEqual(exitsIn(effects), [{ frameworkId: 'F', executorId: 'e', runNumber: 1, status: 0, asOf: 1 }]);
  t.is(ofKind(one.taken(group(2, ['t2'], 1)), 'start').length, 1);
});

test('the parent goes when all of its tasks are forgotten', (t) => {
  const one = world();
  const [start] = ofKind(one.taken(group(1, ['t1'])), 'start');
  one.startedAll('t1');
  one.exited(one.containerOf('t1'), 0);
  while (one.sent.length > 0) {
    const exits = one.sent[0]?.request.executorExits;
    one.answer(exits ? { executorExitsTaken: { lastCommand: 1 } } : { taskUpdatesTaken: {} });
  }
  for (const launch of [...one.state.launches.values()]) {
    for (const { status } of [...launch.pending]) one.commands([acknowledge('t1', status.uuid)]);
  }
  const removed = ofKind(one.sync(), 'remove').map(({ containerId }) => containerId);
  t.is(removed.at(-1), start?.parent?.containerId);
  t.is(one.state.executors.size, 0);
});

test('wherever the agent dies in the life of a group, its tasks start once, and one that failed takes the others along', (t) => {
  const life: ((one: GroupWorld) => void)[] = [
    (one) => one.commands([group(1, ['t1', 't2'])]),
    (one) => one.sync(),
    (one) => one.startedAll('t1'),
    (one) => one.startedAll('t2'),
    (one) => one.exited(one.containerOf('t1'), 256),
    (one) => one.exited(one.containerOf('t2'), 15, true),
  ];
  for (let steps = 1; steps <= life.length; steps += 1) {
    for (let survivors = 0; survivors <= 6; survivors += 1) {
      const one = world();
      for (const step of life.slice(0, steps)) step(one);
      one.start({}, survivors);
      one.sync();
      one.tick(0);
      one.registered({ lastCommand: 1 });
      one.commands([group(1, ['t1', 't2'])]);
      one.sync();
      const states = (): string[] =>
        [...one.state.launches.values()].map(({ taskId, state }) => `${taskId} ${TaskState[state]}`);
      for (const taskId of ['t1', 't2']) {
        const container = one.containers.get(one.containerOf(taskId));
        if (container?.running) one.started(one.containerOf(taskId));
      }
      const t1 = one.containers.get(one.containerOf('t1'));
      if (t1?.running) one.exited(one.containerOf('t1'), 256);
      const t2 = one.containers.get(one.containerOf('t2'));
      if (t2?.running) {
        t.true(t2.stopped, `${steps} steps, ${survivors} records: t2 is told to end`);
        one.exited(one.containerOf('t2'), 15, true);
      }
      t.deepEqual(states(), ['t1 TASK_FAILED', 't2 TASK_KILLED'], `${steps} steps, ${survivors} records`);
      t.deepEqual([...one.startedTasks].sort(), ['t1', 't2']);
      t.is([...one.state.executors.values()].filter(({ end }) => end === undefined).length, 0);
    }
  }
});

test('states come in order also for tasks of groups', (t) => {
  const one = world();
  const effects = [...one.taken(group(1, ['t1'])), ...one.started(one.containerOf('t1'))];
  t.deepEqual(statesIn(effects), ['TASK_STARTING 1', 'TASK_RUNNING 2']);
});
