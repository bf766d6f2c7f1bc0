import test from 'ava';
import { maxUpdateRequests, maxUpdatesPerRequest } from '../src/core/flush-updates.ts';
import { acknowledge, ofKind, run, statesIn, TaskState, updatesIn, World } from './world.ts';

test('updates are sent in order without waiting for the acknowledgement of the one before', (t) => {
  const world = new World().ready();
  const effects = [
    ...world.taken(run(1, 't1')),
    ...world.started(world.containerId),
    ...world.exited(world.containerId, 0),
  ];
  t.deepEqual(statesIn(effects), ['TASK_STARTING 1', 'TASK_RUNNING 2', 'TASK_FINISHED 3']);
});

test('everything that is due at one time travels in one request', (t) => {
  const world = new World().ready();
  const effects = world.taken(run(1, 't1'), run(2, 't2'), run(3, 't3'));
  t.is(ofKind(effects, 'send').length, 1);
  t.is(updatesIn(effects).length, 3);
});

test('a request holds a bounded number of updates, and a bounded number of requests is under way', (t) => {
  const world = new World().ready();
  const count = maxUpdatesPerRequest * (maxUpdateRequests + 1);
  const effects = world.taken(...Array.from({ length: count }, (_, index) => run(index + 1, `t${index}`)));
  const requests = ofKind(effects, 'send');
  t.is(requests.length, maxUpdateRequests);
  t.true(requests.every(({ request }) => request.taskUpdates?.updates?.length === maxUpdatesPerRequest));
  t.is(updatesIn(world.answer({ taskUpdatesTaken: {} })).length, maxUpdatesPerRequest);
});

test('a repeated update says also what the task has become since', (t) => {
  const world = new World().ready();
  const [first] = updatesIn(world.taken(run(1, 't1')));
  t.is(first?.latestState, TaskState.TASK_STARTING);
  world.started(world.containerId);
  world.exited(world.containerId, 0);
  const repeated = updatesIn(world.tick(1_000));
  t.deepEqual(
    repeated.map(({ latestState }) => latestState),
    [TaskState.TASK_FINISHED, TaskState.TASK_FINISHED, TaskState.TASK_FINISHED],
  );
});

test('an update is not sent before it is durable', (t) => {
  const world = new World().ready();
  world.taken(run(1, 't1'));
  const event = { kind: 'started', containerId: world.containerId, commandPid: 2, supervisorPid: 1 } as const;
  t.deepEqual(updatesIn(world.input({ kind: 'container_events', events: [event] })), []);
  t.deepEqual(statesIn(world.sync()), ['TASK_RUNNING 2']);
});

test('an unacknowledged update is repeated after 1 s, then 2, 4 and so on up to a minute', (t) => {
  const world = new World().ready();
  world.taken(run(1, 't1'));
  const waits: number[] = [];
  let waited = 0;
  while (waits.length < 9) {
    waited += 100;
    if (statesIn(world.tick(100)).length === 0) continue;
    waits.push(waited / 1000);
    waited = 0;
    // The leader lives: otherwise the agent would register anew.
    world.commands([]);
    while (world.sent.length > 0) {
      if (world.sent[0]?.request.taskUpdates) world.answer({ taskUpdatesTaken: {} });
      else world.registered();
    }
  }
  t.deepEqual(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
});

test('an acknowledgement removes the oldest update alone, and any other uuid changes nothing', (t) => {
  const world = new World().ready();
  const made = updatesIn([...world.taken(run(1, 't1')), ...world.started(world.containerId)]);
  const [starting, now] = made.map(({ status }) => status?.uuid);
  world.commands([acknowledge('t1', now)]);
  world.commands([acknowledge('t1', new Uint8Array(16))]);
  t.deepEqual(statesIn(world.tick(1_000)), ['TASK_STARTING 1', 'TASK_RUNNING 2']);
  world.commands([acknowledge('t1', starting)]);
  world.commands([acknowledge('t1', starting)]);
  t.deepEqual(statesIn(world.tick(1_000)), ['TASK_RUNNING 2']);
});

test('a task is forgotten when its last update is acknowledged: its container goes, its sandbox stays', (t) => {
  const world = new World().ready();
  const taken = world.taken(run(1, 't1'));
  const { containerId } = world;
  const made = updatesIn([...taken, ...world.exited(containerId, 0)]);
  for (const { status } of made) world.commands([acknowledge('t1', status?.uuid)]);
  t.is(world.state.launches.size, 0);
  t.false(world.removed.has(containerId));
  world.sync();
  t.true(world.removed.has(containerId));
});

test('a gap is filled at once, and the same gap again only by the next repetition', (t) => {
  const world = new World().ready();
  world.taken(run(1, 't1'));
  world.started(world.containerId);
  const gaps = [{ launch: { frameworkId: 'F', taskId: 't1', commandNumber: 1 }, expectedNumber: 1 }];
  t.deepEqual(statesIn(world.answer({ taskUpdatesTaken: { gaps } })), ['TASK_STARTING 1', 'TASK_RUNNING 2']);
  t.deepEqual(statesIn(world.answer({ taskUpdatesTaken: { gaps } })), []);
  t.deepEqual(statesIn(world.tick(1_000)), ['TASK_STARTING 1', 'TASK_RUNNING 2']);
});

test('everything unacknowledged is sent again after a registration', (t) => {
  const world = new World().ready();
  world.taken(run(1, 't1'));
  world.started(world.containerId);
  world.sent = [];
  world.epoch = { incarnation: 1, epoch: 2 };
  world.input({ kind: 'beat', epoch: world.epoch, message: { phase: 1 } });
  world.tick(500);
  t.deepEqual(statesIn(world.registered()), ['TASK_STARTING 1', 'TASK_RUNNING 2']);
});

test('nothing is sent while the agent is not registered', (t) => {
  const world = new World().ready();
  world.epoch = { incarnation: 1, epoch: 2 };
  world.input({ kind: 'beat', epoch: world.epoch, message: { phase: 1 } });
  t.deepEqual(statesIn(world.taken(run(1, 't1'))), []);
});

test('a task whose framework the leader does not know is killed and forgotten once the leader has its end', (t) => {
  const world = new World().ready();
  world.taken(run(1, 't1'));
  world.started(world.containerId);
  world.restart();
  world.registered({ unknownTasks: [{ frameworkId: 'F', taskId: 't1', commandNumber: 1 }] });
  world.answer({ taskUpdatesTaken: {} });
  t.is(ofKind(world.sync(), 'control').length, 1);
  t.deepEqual(statesIn(world.exited(world.containerId, 15, true)), ['TASK_KILLED 3']);
  world.answer({ taskUpdatesTaken: {} });
  t.is(world.state.launches.size, 0);
});

test('a leader that does not know an old launch of a task leaves the new one of the same id alone', (t) => {
  const world = new World().ready();
  world.taken(run(1, 't1'));
  world.started(world.containerId);
  world.exited(world.containerId, 0);
  world.taken(run(2, 't1'));
  world.restart();
  world.registered({ unknownTasks: [{ frameworkId: 'F', taskId: 't1', commandNumber: 1 }] });
  t.deepEqual(ofKind(world.sync(), 'control'), []);
});
