import { mesobus } from '@mesobus/protos';
import test from 'ava';
import type { RequestFailure } from '../src/core/index.ts';
import { goneExitCode } from '../src/core/on-shutdown-asked.ts';
import { ofKind, run, statesIn, TaskState, World } from './world.ts';

const { LOADING, LEADING } = mesobus.v1.LeaderBeat.Phase;

/** Fails every try to register until `tries` were made; gives the waits between them, ms. */
function waitsAfter(failure: RequestFailure, tries: number, seed = 7): number[] {
  const world = new World();
  world.start({ seed });
  world.sync();
  const waits: number[] = [];
  let waited = 0;
  world.tick(0);
  while (waits.length < tries) {
    const next = world.sent.shift();
    if (next !== undefined) {
      world.input({ kind: 'request_failed', requestId: next.requestId, failure });
      waited = 0;
    }
    waited += 50;
    world.tick(50);
    if (world.sent.length > 0) waits.push(waited);
  }
  return waits;
}

test('the registration key is on the disk before anybody hears of it', (t) => {
  const world = new World();
  world.start();
  t.deepEqual(ofKind(world.tick(1_000), 'send'), []);
  world.sync();
  const [first] = ofKind(world.tick(0), 'send');
  t.is(first?.request.register?.registrationKey, 'key-1');
  t.is(first?.request.agentId, '');
});

test('a process that comes after keeps key and agent id, and has an incarnation of its own', (t) => {
  const world = new World().ready();
  world.taken(run(1, 't1'));
  world.start();
  world.sync();
  const [first] = ofKind(world.tick(0), 'send');
  t.like(first?.request, { agentId: 'm1-S0', incarnation: 'i2' });
  t.like(first?.request.register, { registrationKey: 'key-1', cursor: 1, bootId: 'boot-1', highestEpoch: 1 });
  const task = { frameworkId: 'F', taskId: 't1', state: TaskState.TASK_STARTING, updateNumber: 1, commandNumber: 1 };
  t.like(first?.request.register?.tasks?.[0], task);
});

test('without a leader it tries again after 200 to 500 ms, growing to 5 s at most', (t) => {
  const waits = waitsAfter({ kind: 'no_responders' }, 40);
  t.true((waits[0] ?? 0) >= 200 && (waits[0] ?? 0) <= 550);
  t.true(Math.max(...waits) > 2_000);
  t.true(Math.max(...waits) <= 5_050);
});

test('without an answer it tries again after up to 1 s, doubling to a minute at most', (t) => {
  const waits = waitsAfter({ kind: 'no_answer', message: 'late' }, 20);
  t.true((waits[0] ?? 0) <= 1_050);
  t.true(Math.max(...waits) > 20_000);
  t.true(Math.max(...waits) <= 60_050);
});

test('two agents do not try again at the same time', (t) => {
  const failure: RequestFailure = { kind: 'no_responders' };
  t.notDeepEqual(waitsAfter(failure, 3, 1), waitsAfter(failure, 3, 99));
});

test('a new leader is asked within half a second of its beat, not while it is loading', (t) => {
  const world = new World().ready();
  const epoch = { incarnation: 1, epoch: 2 };
  world.input({ kind: 'beat', epoch, message: { phase: LOADING } });
  t.deepEqual(ofKind(world.tick(600), 'send'), []);
  world.input({ kind: 'beat', epoch, message: { phase: LEADING } });
  t.like(ofKind(world.tick(500), 'send')[0]?.request.register, { highestEpoch: 2 });
});

test('many agents spread their registrations with a new leader, 2,500 a second, over 20 s at most', (t) => {
  /** When an agent registers after the first beat of a new leader, which is repeated every 300 ms. */
  const delayOf = (seed: number, agents: number): number => {
    const world = new World().ready({ seed });
    for (let waited = 0; ; waited += 100) {
      const message = { phase: LEADING, agents };
      if (waited % 300 === 0) world.input({ kind: 'beat', epoch: { incarnation: 1, epoch: 2 }, message });
      if (ofKind(world.tick(100), 'send').length > 0) return waited;
    }
  };
  const seeds = Array.from({ length: 40 }, (_, index) => 1 + index * 7_919_317);
  for (const [agents, spreadMs] of [
    [10, 500],
    [5_000, 2_000],
    [50_000, 20_000],
    [1_000_000, 20_000],
  ] as const) {
    const delays = seeds.map((seed) => delayOf(seed, agents));
    t.true(Math.max(...delays) <= spreadMs, `${agents} agents`);
    t.true(Math.max(...delays) > 0.7 * spreadMs, `${agents} agents`);
    t.true(Math.min(...delays) < 0.3 * spreadMs, `${agents} agents`);
  }
});

test('an agent that has chosen its moment keeps it when the new leader asks; one that was refused does not wait', (t) => {
  const world = new World().ready();
  const epoch = { incarnation: 1, epoch: 2 };
  world.input({ kind: 'beat', epoch, message: { phase: LEADING, agents: 50_000 } });
  world.epoch = epoch;
  world.commands([], { agentId: '' });
  t.deepEqual(ofKind(world.tick(0), 'send'), []);
  world.tick(20_000);
  for (let tries = 0; tries < 4; tries += 1) {
    const failure = { kind: 'no_answer', message: 'lost' } as const;
    const requestId = world.sent.shift()?.requestId ?? 0;
    world.input({ kind: 'request_failed', requestId, failure });
    world.commands([], { agentId: '' });
    t.is(ofKind(world.tick(0), 'send').length, 1);
  }
});

test('an agent that found nobody leading takes its own moment once somebody does', (t) => {
  const world = new World();
  world.restart();
  const failure = { kind: 'no_responders' } as const;
  world.input({ kind: 'request_failed', requestId: world.sent.shift()?.requestId ?? 0, failure });
  world.input({ kind: 'beat', epoch: world.epoch, message: { phase: LEADING, agents: 50_000 } });
  t.deepEqual(ofKind(world.tick(500), 'send'), []);
  t.is(ofKind(world.tick(19_500), 'send').length, 1);
});

test('the beat of a leader that has registered it already, or of an older one, changes nothing', (t) => {
  const world = new World().ready();
  world.input({ kind: 'beat', epoch: { incarnation: 1, epoch: 1 }, message: { phase: LEADING } });
  world.input({ kind: 'beat', epoch: { incarnation: 1, epoch: 0 }, message: { phase: LEADING } });
  t.deepEqual(ofKind(world.tick(600), 'send'), []);
});

test('a leader that asks for it is registered with again', (t) => {
  const world = new World().ready();
  world.taken(run(1, 't1'));
  world.answer({ reregisterNeeded: {} });
  t.truthy(ofKind(world.tick(0), 'send')[0]?.request.register);
});

test('an answer of a deposed leader does not count', (t) => {
  const world = new World();
  world.start();
  world.sync();
  world.input({ kind: 'beat', epoch: { incarnation: 1, epoch: 5 }, message: { phase: LOADING } });
  world.tick(0);
  world.registered();
  t.not(world.state.registration.kind, 'registered');
});

test('an agent to which nothing was addressed for the silence timeout registers again', (t) => {
  const world = new World().ready();
  for (let second = 0; second < 74; second += 1) world.tick(1_000);
  t.is(world.sent.length, 0);
  world.tick(1_000);
  t.truthy(world.sent[0]?.request.register);
});

test('a heartbeat says the cursor that is durable, every interval', (t) => {
  const world = new World().ready();
  world.tick(0);
  world.commands([run(1, 't1')]);
  t.is(ofKind(world.tick(5_000), 'heartbeat')[0]?.message.cursor, 0);
  world.sync();
  t.deepEqual(ofKind(world.tick(4_000), 'heartbeat'), []);
  t.like(ofKind(world.tick(1_000), 'heartbeat')[0]?.message, { cursor: 1, agentId: 'm1-S0', incarnation: 'i1' });
});

test('another agent id than before begins to count commands anew', (t) => {
  const world = new World().ready();
  world.taken(run(1, 't1'));
  world.restart();
  world.registered({ agentId: 'm2-S0' });
  world.sync();
  const effects = world.commands([run(1, 't2')], { agentId: 'm2-S0' });
  t.deepEqual(
    ofKind([...effects, ...world.sync()], 'start').map(({ taskId }) => taskId),
    ['t2'],
  );
});

test('an agent that is superseded stops and leaves its tasks alone', (t) => {
  const world = new World().ready();
  world.taken(run(1, 't1'));
  const failure = { kind: 'refused', code: 'incarnation_superseded', message: 'a newer one runs' } as const;
  const effects = world.input({ kind: 'request_failed', requestId: world.sent.shift()?.requestId ?? 0, failure });
  t.deepEqual(effects, [{ kind: 'stop', exitCode: 1, reason: 'a newer one runs' }]);
});

const ends = [
  ['was marked gone', 'agent_gone'],
  ['is on a machine that is down for maintenance', 'machine_down'],
] as const;
for (const [what, code] of ends) {
  test(`an agent that ${what} kills its tasks and stops; the next process is a new one`, (t) => {
    const world = new World().ready();
    world.taken(run(1, 't1'));
    world.started(world.containerId);
    world.restart();
    const failure = { kind: 'refused', code, message: 'gone' } as const;
    world.input({ kind: 'request_failed', requestId: world.sent.shift()?.requestId ?? 0, failure });
    t.is(ofKind(world.sync(), 'control').length, 1);
    world.exited(world.containerId, 15, true);
    t.is(ofKind(world.tick(60_000), 'stop')[0]?.exitCode, goneExitCode);
    t.is(rejoining(world)?.register?.registrationKey, 'key-3');
  });
}

/** What the process after one that was told to end says of itself. */
function rejoining(world: World) {
  world.sync();
  world.start();
  world.sync();
  return ofKind(world.tick(0), 'send')[0]?.request;
}

test('an agent that was marked gone comes back as a new one, even if it dies before it has ended', (t) => {
  const world = new World().ready();
  world.taken(run(1, 't1'), { number: 2, shutdownAgent: { message: 'gone' } });
  const request = rejoining(world);
  t.is(request?.agentId, '');
  t.like(request?.register, { registrationKey: 'key-2', cursor: 0 });
  world.registered({ agentId: 'm1-S1', unknownTasks: [{ frameworkId: 'F', taskId: 't1', commandNumber: 1 }] });
  world.sync();
  t.deepEqual(
    ofKind(world.taken(run(1, 't2')), 'refuse').map(({ code }) => code),
    ['agent_unknown'],
    'its old id is over',
  );
  t.is(ofKind([...world.commands([run(1, 't2')], { agentId: 'm1-S1' }), ...world.sync()], 'start').length, 1);
});

test('a new agent says nothing more of what ended under its old id: the same launch may come under the same number', (t) => {
  const world = new World().ready();
  world.taken(run(1, 't1'));
  world.started(world.containerId);
  world.exited(world.containerId, 0);
  world.commands([{ number: 2, shutdownAgent: { message: 'gone' } }]);
  t.is(rejoining(world)?.register?.tasks?.length, 1);
  const unknownTasks = [{ frameworkId: 'F', taskId: 't1', commandNumber: 1 }];
  const registered = [...world.registered({ agentId: 'm1-S1', unknownTasks }), ...world.sync()];
  t.deepEqual(statesIn(registered), []);
  t.is(ofKind(registered, 'remove').length, 1);

  const effects = [...world.commands([run(1, 't1')], { agentId: 'm1-S1' }), ...world.sync()];
  t.deepEqual(statesIn(effects), ['TASK_STARTING 1']);
  t.is(world.state.launches.size, 1);
  t.deepEqual([...world.state.unacknowledged], [...world.state.launches.values()]);
});

test('so does one that learns of it only when it registers', (t) => {
  const world = new World().ready();
  world.restart();
  const failure = { kind: 'refused', code: 'agent_gone', message: 'gone' } as const;
  world.input({ kind: 'request_failed', requestId: world.sent.shift()?.requestId ?? 0, failure });
  t.is(rejoining(world)?.register?.registrationKey, 'key-3');
});

test('an agent that has left comes back as a new one; one whose leaving nobody heard of does not', (t) => {
  const leave = (world: World): World => {
    world.input({ kind: 'shutdown_asked', why: 'now' });
    return world;
  };
  const left = leave(new World().ready());
  t.truthy(left.sent[0]?.request.unregister);
  left.answer({ taken: {} });
  t.is(rejoining(left)?.agentId, '');
  const unheard = leave(new World().ready());
  t.like(rejoining(unheard), { agentId: 'm1-S0', register: { registrationKey: 'key-1' } });
});

test('an agent whose work directory was wiped registers as a new one under its name', (t) => {
  const world = new World().ready();
  world.taken(run(1, 't1'));
  world.disk = [];
  world.containers.clear();
  const request = rejoining(world);
  t.is(request?.agentId, '');
  t.like(request?.register, { agentName: 'a', registrationKey: 'key-2', cursor: 0, tasks: [] });
});

test('a work directory of another agent is refused by name', (t) => {
  const world = new World().ready();
  const [stop] = ofKind(world.start({ agentName: 'b' }), 'stop');
  t.regex(stop?.reason ?? '', /belongs to agent 'a'/);
});

test('an agent that the leader does not know registers again at once when it is told', (t) => {
  const world = new World().ready();
  const effects = world.commands([], { agentId: '' });
  t.deepEqual(ofKind(effects, 'refuse'), []);
  world.tick(0);
  t.true(world.sent.some(({ request }) => request.register !== undefined));
});
