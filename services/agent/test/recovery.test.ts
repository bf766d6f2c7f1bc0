import { mesos } from '@mesobus/protos';
import test from 'ava';
import { acknowledge, kill, ofKind, Reason, run, statesIn, TaskState, updatesIn, World } from './world.ts';

/** The process that comes after, registered. Everything it has made known until then. */
function again(world: World) {
  const effects = [...world.restart(), ...world.registered(), ...world.sync()];
  world.sent = [];
  return effects;
}

test('a task that runs is taken up again, without an update of its own', (t) => {
  const world = new World().ready();
  world.taken(run(1, 't1'));
  world.started(world.containerId);
  t.deepEqual(statesIn(again(world)), ['TASK_STARTING 1', 'TASK_RUNNING 2']);
  t.deepEqual(statesIn(world.exited(world.containerId, 0)), ['TASK_FINISHED 3']);
});

test('a task that ended meanwhile gets the end that its supervisor wrote down', (t) => {
  const world = new World().ready();
  world.taken(run(1, 't1'));
  world.started(world.containerId);
  const { containerId } = world;
  world.containers.set(containerId, {
    running: false,
    stopped: false,
    end: { kind: 'exited', containerId, status: 4 << 8, stopped: false, exitedAtMs: 999_500 },
  });
  const last = updatesIn(again(world)).at(-1);
  t.is(last?.status?.message, 'Command exited with status 4');
  t.is(last?.status?.timestamp, 999.5, 'the time is that of the exit, not of the restart');
});

test('a task without supervisor and without a word of it has failed', (t) => {
  const world = new World().ready();
  world.taken(run(1, 't1'));
  world.started(world.containerId);
  world.containers.set(world.containerId, { running: false, stopped: false, end: undefined });
  const last = updatesIn(again(world)).at(-1);
  t.like(last?.status, { state: TaskState.TASK_FAILED, reason: Reason.REASON_EXECUTOR_TERMINATED });
});

/** Taken and on the disk, but its process died before it heard of that. */
function taken(world: World): World {
  world.commands([run(1, 't1')]);
  world.disk.push(...world.volatile.splice(0));
  return world;
}

test('a launch that was taken and not begun is started by the next process, once the leader still wants it', (t) => {
  const world = taken(new World().ready());
  t.deepEqual(ofKind(world.restart(), 'start'), []);
  const effects = [...world.registered(), ...world.sync()];
  t.deepEqual(
    ofKind(effects, 'start').map(({ taskId }) => taskId),
    ['t1'],
  );
  t.deepEqual(statesIn(effects), ['TASK_STARTING 1']);
  t.deepEqual(statesIn(world.started(world.containerId)), ['TASK_RUNNING 2']);
  t.deepEqual(ofKind([...world.tick(80_000), ...world.registered(), ...world.sync()], 'start'), []);
});

for (const withFolder of [true, false]) {
  test(`so is one whose start got lost ${withFolder ? 'behind' : 'before'} the making of its folder`, (t) => {
    const world = new World().ready();
    world.taken(run(1, 't1'), run(2, 't2'));
    const [first = '', second] = world.containers.keys();
    world.started(first);
    world.loseStarts(1, withFolder);
    t.deepEqual(
      ofKind(again(world), 'start').map(({ containerId }) => containerId),
      [second],
    );
  });
}

test('a launch that was not begun and that the leader has given up is never started', (t) => {
  const world = taken(new World().ready());
  world.restart();
  const launch = { frameworkId: 'F', taskId: 't1', commandNumber: 1 };
  const effects = [...world.registered({ unknownTasks: [launch] }), ...world.sync()];
  t.deepEqual(ofKind(effects, 'start'), []);
  t.is(updatesIn(effects).at(-1)?.status?.state, TaskState.TASK_KILLED);
});

test('a launch that was not begun waits for what the leader decided while the agent was away: a kill comes first', (t) => {
  const world = taken(new World().ready());
  world.restart();
  const registered = [...world.registered({ lastCommand: 2 }), ...world.sync()];
  const effects = world.taken(kill(2, 't1'), run(3, 't2'));
  t.deepEqual(
    ofKind([...registered, ...effects], 'start').map(({ taskId }) => taskId),
    ['t2'],
  );
  t.is(updatesIn(effects)[0]?.status?.reason, Reason.REASON_TASK_KILLED_DURING_LAUNCH);
});

test('a launch that was not begun and that the leader closed while the agent was away ends as the leader says', (t) => {
  const world = taken(new World().ready());
  world.restart();
  world.registered({ lastCommand: 2 });
  world.sync();
  const unlaunched = { state: TaskState.TASK_DROPPED, reason: Reason.REASON_AGENT_REMOVED, message: 'away' };
  const [update] = updatesIn(world.taken({ number: 2, killTask: { ...kill(2, 't1').killTask, unlaunched } }));
  t.like(update?.status, { state: TaskState.TASK_DROPPED, reason: Reason.REASON_AGENT_REMOVED, message: 'away' });
});

test('with everything that the leader had decided a launch that was not begun is started', (t) => {
  const world = taken(new World().ready());
  world.restart();
  t.deepEqual(ofKind([...world.registered({ lastCommand: 3 }), ...world.sync()], 'start'), []);
  t.deepEqual(ofKind(world.taken(run(2, 't2')), 'start').length, 1);
  t.deepEqual(
    ofKind(world.taken(run(3, 't3')), 'start').map(({ taskId }) => taskId),
    ['t3', 't1'],
  );
});

test('a launch that was not begun is dropped where there is no room for new tasks', (t) => {
  const world = taken(new World().ready());
  world.start();
  world.input({ kind: 'disk', room: 'low' });
  world.sync();
  world.tick(0);
  const effects = [...world.registered(), ...world.sync()];
  t.deepEqual(ofKind(effects, 'start'), []);
  t.is(updatesIn(effects).at(-1)?.status?.reason, Reason.REASON_GC_ERROR);
});

test('a launch that was not begun and is killed before its process is registered is never started', (t) => {
  const world = taken(new World().ready());
  world.start();
  world.sync();
  world.taken(kill(2, 't1'));
  world.tick(0);
  const effects = [...world.registered(), ...world.sync()];
  t.deepEqual(ofKind(effects, 'start'), []);
  t.is(updatesIn(effects).at(-1)?.status?.reason, Reason.REASON_TASK_KILLED_DURING_LAUNCH);
});

test('a launch whose record did not reach the disk is as if it had never come', (t) => {
  const world = new World().ready();
  world.commands([run(1, 't1')]);
  t.deepEqual(statesIn(again(world)), []);
  t.deepEqual(ofKind(world.taken(run(1, 't1')), 'start').length, 1);
});

test('a container whose start was never heard of reports, and then its task is running', (t) => {
  const world = new World().ready();
  world.taken(run(1, 't1'));
  const effects = again(world);
  t.deepEqual(ofKind(effects, 'control')[0]?.control, { kind: 'report' });
  t.deepEqual(statesIn(world.started(world.containerId)), ['TASK_RUNNING 2']);
});

test('a kill that was taken is carried out by the next process', (t) => {
  const world = new World().ready();
  world.taken(run(1, 't1'));
  world.started(world.containerId);
  world.commands([kill(2, 't1', 500)]);
  world.disk.push(...world.volatile.splice(0));
  t.deepEqual(ofKind(again(world), 'control')[0]?.control, { kind: 'term', graceMs: 500 });
});

const { PARTITION_AWARE } = mesos.v1.FrameworkInfo.Capability.Type;
for (const [whose, capabilities, state] of [
  ['partition-aware', [PARTITION_AWARE], 'TASK_GONE'],
  ['other', [], 'TASK_LOST'],
] as const) {
  test(`after a boot of the machine a task of a ${whose} framework that ran is ${state}`, (t) => {
    const world = new World().ready();
    world.taken(run(1, 't1', { capabilities }));
    world.started(world.containerId);
    world.bootId = 'boot-2';
    const effects = again(world);
    const last = updatesIn(effects).at(-1);
    t.like(last?.status, { state: TaskState[state], reason: Reason.REASON_EXECUTOR_TERMINATED });
    t.regex(last?.status?.message ?? '', /machine of the agent restarted/);
    t.like(ofKind(effects, 'send')[0]?.request, { agentId: 'm1-S0', register: { bootId: 'boot-2', cursor: 1 } });
  });
}

test('after a boot nothing is adopted, even if somebody reads where its supervisor was', (t) => {
  const world = new World().ready();
  world.taken(run(1, 't1'));
  world.started(world.containerId);
  world.bootId = 'boot-2';
  t.deepEqual(ofKind(again(world), 'control'), [
    { kind: 'control', containerId: world.containerId, control: { kind: 'kill' } },
  ]);
  t.deepEqual(ofKind(world.tick(5_000), 'probe'), []);
});

test('after a boot nothing is started late: a power cut may have taken the trace of a command that ran', (t) => {
  const world = taken(new World().ready());
  world.bootId = 'boot-2';
  const effects = again(world);
  t.deepEqual(ofKind(effects, 'start'), []);
  t.is(updatesIn(effects).at(-1)?.status?.state, TaskState.TASK_LOST);
});

test('a task that had ended before the boot keeps its end', (t) => {
  const world = new World().ready();
  world.taken(run(1, 't1'));
  world.started(world.containerId);
  const { containerId } = world;
  const end = { kind: 'exited', containerId, status: 0, stopped: false, exitedAtMs: world.at } as const;
  world.containers.set(containerId, { running: false, stopped: false, end });
  world.bootId = 'boot-2';
  t.is(updatesIn(again(world)).at(-1)?.status?.state, TaskState.TASK_FINISHED);
});

test('what was acknowledged before is not sent again', (t) => {
  const world = new World().ready();
  const [first] = updatesIn(world.taken(run(1, 't1')));
  world.started(world.containerId);
  world.commands([acknowledge('t1', first?.status?.uuid)]);
  world.sync();
  t.deepEqual(statesIn(again(world)), ['TASK_RUNNING 2']);
});

test('a compacted journal stands for all records before it', (t) => {
  const world = new World().ready();
  const [first] = updatesIn(world.taken(run(1, 't1'), run(2, 't2'), kill(3, 't9')));
  world.started([...world.containers.keys()][0] ?? '');
  world.commands([acknowledge('t1', first?.status?.uuid)]);
  world.compact();
  t.is(world.disk.length, 1);
  t.deepEqual(statesIn(again(world)).sort(), ['TASK_KILLED 1', 'TASK_RUNNING 2', 'TASK_STARTING 1']);
  t.is(world.state.cursor, 3);
  t.is(world.state.identity?.registrationKey, 'key-1');
});

test('a container that the journal does not know is killed if it runs and removed if not', (t) => {
  const world = new World();
  world.containers.set('runs', { running: true, stopped: false, end: undefined });
  world.containers.set('ended', { running: false, stopped: false, end: undefined });
  const effects = world.start();
  t.deepEqual(ofKind(effects, 'control'), [{ kind: 'control', containerId: 'runs', control: { kind: 'kill' } }]);
  t.deepEqual(ofKind(effects, 'remove'), [{ kind: 'remove', containerId: 'ended', sandbox: '' }]);
});

test('what an earlier process started is looked after, for nobody reports the death of its supervisor', (t) => {
  const world = new World().ready();
  world.taken(run(1, 't1'));
  world.started(world.containerId);
  again(world);
  t.deepEqual(ofKind(world.tick(5_000), 'probe'), [{ kind: 'probe', containerIds: [world.containerId] }]);
  t.deepEqual(ofKind(world.tick(4_000), 'probe'), []);
});

test('so is what this process started: what its supervisor said may have been dropped', (t) => {
  const world = new World().ready();
  world.taken(run(1, 't1'));
  world.started(world.containerId);
  t.deepEqual(ofKind(world.tick(5_000), 'probe'), [{ kind: 'probe', containerIds: [world.containerId] }]);
  world.exited(world.containerId, 0);
  t.deepEqual(ofKind(world.tick(5_000), 'probe'), []);
});

test('so is what was told to start and not heard of since: it is to say so again', (t) => {
  const world = new World().ready();
  world.taken(run(1, 't1'));
  const { containerId } = world;
  const effects = world.tick(5_000);
  t.deepEqual(ofKind(effects, 'control'), [{ kind: 'control', containerId, control: { kind: 'report' } }]);
  t.deepEqual(ofKind(effects, 'probe'), [{ kind: 'probe', containerIds: [containerId] }]);
  world.started(containerId);
  t.deepEqual(ofKind(world.tick(5_000), 'control'), []);
});

test('a task whose end is found before its start is heard of has been running, and that is said', (t) => {
  const world = new World().ready();
  world.taken(run(1, 't1'));
  const { containerId } = world;
  t.deepEqual(statesIn(world.exited(containerId, 0)), ['TASK_RUNNING 2', 'TASK_FINISHED 3']);
  t.deepEqual(statesIn(world.started(containerId)), []);
});

test('after the death of the launcher what it may not have started is asked after', (t) => {
  const world = new World().ready();
  world.taken(run(1, 't1'), run(2, 't2'));
  const [first = '', second = ''] = world.containers.keys();
  world.started(first);
  const effects = world.input({ kind: 'launcher_restarted' });
  t.deepEqual(ofKind(effects, 'probe'), [{ kind: 'probe', containerIds: [second] }]);
  t.deepEqual(
    ofKind(effects, 'control').map(({ containerId, control }) => [containerId, control.kind]),
    [[second, 'report']],
  );
});
