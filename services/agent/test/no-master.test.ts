// What an agent does while no master leads, or none is heard.
import test from 'ava';
import type { RequestFailure } from '../src/core/index.ts';
import { ofKind, run, statesIn, World } from './world.ts';

/** Lets time pass while every try to register fails; how many there were. */
function passUnheard(world: World, ms: number, failure: RequestFailure): number {
  let tries = 0;
  for (let passed = 0; passed < ms; passed += 100) {
    for (let next = world.sent.shift(); next !== undefined; next = world.sent.shift()) {
      world.input({ kind: 'request_failed', requestId: next.requestId, failure });
      tries += next.request.register ? 1 : 0;
    }
    world.tick(100);
  }
  return tries;
}

test('five minutes without a master: tasks run and end, and everything is told when one leads again', (t) => {
  const world = new World().ready();
  world.taken(run(1, 't1'), run(2, 't2'));
  const [first = '', second = ''] = world.containers.keys();
  world.started(first);
  world.started(second);
  world.sent = [];
  const from = world.effects.length;

  world.commands([], { agentId: '' }); // the last word of the last master: register again
  const tries = passUnheard(world, 150_000, { kind: 'no_responders' });
  world.exited(first, 0);
  const more = passUnheard(world, 150_000, { kind: 'no_responders' });
  t.true(tries >= 30 && more >= 30, 'it asks every 5 s at the latest');
  const meanwhile = world.effects.slice(from);
  t.deepEqual(statesIn(meanwhile), []);
  t.deepEqual(ofKind(meanwhile, 'control'), [], 'no task is ended');
  t.deepEqual(ofKind(meanwhile, 'stop'), []);

  world.epoch = { incarnation: 1, epoch: 2 };
  world.input({ kind: 'beat', epoch: world.epoch, message: { phase: 1 } });
  passUnheard(world, 100, { kind: 'no_responders' });
  while (world.sent.length === 0) world.tick(100);
  t.deepEqual(statesIn(world.registered()), [
    'TASK_STARTING 1',
    'TASK_RUNNING 2',
    'TASK_FINISHED 3',
    'TASK_STARTING 1',
    'TASK_RUNNING 2',
  ]);
});

test('an agent that starts before any master looks after what it finds, and tells it once one leads', (t) => {
  const world = new World().ready();
  world.taken(run(1, 't1'));
  world.started(world.containerId);
  world.restart();
  passUnheard(world, 60_000, { kind: 'no_responders' });
  t.true(ofKind(world.effects, 'probe').some(({ containerIds }) => containerIds.includes(world.containerId)));
  world.exited(world.containerId, 0);
  world.input({ kind: 'beat', epoch: world.epoch, message: { phase: 1 } });
  while (world.sent.length === 0) world.tick(100);
  t.deepEqual(statesIn(world.registered()), ['TASK_STARTING 1', 'TASK_RUNNING 2', 'TASK_FINISHED 3']);
});

test('an agent that hears nothing does not say that it is well: it asks to register until it is answered', (t) => {
  const world = new World().ready();
  world.taken(run(1, 't1'));
  world.started(world.containerId);
  passUnheard(world, 75_000, { kind: 'no_answer', message: 'lost' });
  const from = world.effects.length;
  const tries = passUnheard(world, 600_000, { kind: 'no_answer', message: 'lost' });
  t.true(tries >= 10, 'once a minute at the least');
  const meanwhile = world.effects.slice(from);
  t.deepEqual(ofKind(meanwhile, 'heartbeat'), [], 'the master shall find it silent');
  t.deepEqual(ofKind(meanwhile, 'control'), []);
  while (world.sent.length === 0) world.tick(100);
  t.deepEqual(statesIn(world.registered()), ['TASK_STARTING 1', 'TASK_RUNNING 2']);
  t.is(ofKind(world.tick(5_000), 'heartbeat').length, 1);
});
