import test from 'ava';
import { acknowledge, kill, ofKind, Reason, run, statesIn, TaskState, updatesIn, World } from './world.ts';

/** The process that comes after, registered. Everything it has made known until then. */
function again(world: World) {
  const effects = [...world.start(), ...world.sync(), ...world.tick(0), ...world.registered(), ...world.sync()];
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

test('a launch that was taken and not started is never started, and ends', (t) => {
  const world = new World().ready();
  world.commands([run(1, 't1')]);
  world.disk.push(...world.volatile.splice(0)); // on the disk, but the process dies before it hears of it
  const effects = again(world);
  t.deepEqual(ofKind(effects, 'start'), []);
  t.like(updatesIn(effects).at(-1)?.status, {
    state: TaskState.TASK_FAILED,
    reason: Reason.REASON_CONTAINER_LAUNCH_FAILED,
  });
});

test('a launch whose folder was made and whose command was not started ends the same way', (t) => {
  const world = new World().ready();
  world.taken(run(1, 't1'));
  world.containers.set(world.containerId, { running: false, stopped: false, end: undefined });
  world.unbegun.add(world.containerId);
  t.like(updatesIn(again(world)).at(-1)?.status, {
    state: TaskState.TASK_FAILED,
    reason: Reason.REASON_CONTAINER_LAUNCH_FAILED,
    message: 'The agent restarted before the command was started',
  });
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

test('after a boot of the machine no task is alive', (t) => {
  const world = new World().ready();
  world.taken(run(1, 't1'));
  world.started(world.containerId);
  world.bootId = 'boot-2';
  const last = updatesIn(again(world)).at(-1);
  t.is(last?.status?.state, TaskState.TASK_FAILED);
  t.regex(last?.status?.message ?? '', /machine of the agent restarted/);
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
  t.deepEqual(ofKind(effects, 'remove'), [{ kind: 'remove', containerId: 'ended' }]);
});

test('what an earlier process started is looked after, for nobody reports the death of its supervisor', (t) => {
  const world = new World().ready();
  world.taken(run(1, 't1'));
  world.started(world.containerId);
  again(world);
  t.deepEqual(ofKind(world.tick(5_000), 'probe'), [{ kind: 'probe', containerIds: [world.containerId] }]);
  t.deepEqual(ofKind(world.tick(4_000), 'probe'), []);
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
