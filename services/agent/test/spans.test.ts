import { childTraceparent } from '@mesobus/sdk/service';
import test from 'ava';
import { acknowledge, kill, ofKind, run, updatesIn, World } from './world.ts';

const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';

test('spans are written only when traces are on, each with its parent in the same trace', (t) => {
  const quiet = new World().ready();
  quiet.taken(run(1, 't1', { traceparent }));
  quiet.started(quiet.containerId);
  t.deepEqual(ofKind(quiet.effects, 'span'), []);
  const world = new World().ready({ childTraceparent });
  world.taken(run(1, 't1', { traceparent }));
  world.started(world.containerId);
  world.exited(world.containerId, 0);
  while (world.sent.length > 0) world.answer({ taskUpdatesTaken: {} });
  const spans = ofKind(world.effects, 'span');
  const launch = spans.find(({ name }) => name === 'run task');
  t.is(launch?.parent, traceparent);
  const others = spans.filter(({ name }) => name !== 'run task');
  t.deepEqual(others.map(({ name }) => name).sort(), [
    'start container',
    'status update',
    'status update',
    'status update',
  ]);
  for (const { parent } of others) t.is(parent, launch?.identity ?? '');
  const sent = updatesIn(world.effects).map((update) => update.traceparent);
  const updates = others.filter(({ name }) => name === 'status update');
  t.deepEqual(
    updates.map(({ identity }) => identity),
    sent,
  );
});

test('an update has its span even when its acknowledgement overtakes the answer to it', (t) => {
  const world = new World().ready({ childTraceparent });
  world.taken(run(1, 't1', { traceparent }));
  const [starting] = updatesIn(world.effects);
  world.commands([acknowledge('t1', starting?.status?.uuid)]);
  world.answer({ taskUpdatesTaken: {} });
  t.is(ofKind(world.effects, 'span').filter(({ name }) => name === 'status update').length, 1);
});

test('an agent that starts again goes on with the trace of a task where it was', (t) => {
  const world = new World().ready({ childTraceparent });
  world.taken(run(1, 't1', { traceparent }));
  world.started(world.containerId);
  const runs = () => ofKind(world.effects, 'span').filter(({ name }) => name === 'run task');
  const [before] = runs();
  world.ready({ childTraceparent });
  t.is(runs().length, 2, 'that it runs is not acknowledged: its span was perhaps never sent');
  t.deepEqual(runs()[1], before);
  world.exited(world.containerId, 0);
  const last = updatesIn(world.effects).at(-1);
  t.is(last?.traceparent, childTraceparent(before?.identity ?? '', `update ${last?.number}`));
  t.is(runs().length, 2);
});

test('a kill is in the trace of its launch, with a link to the span of the leader that sent it', (t) => {
  const world = new World().ready({ childTraceparent });
  world.taken(run(1, 't1', { traceparent }));
  world.started(world.containerId);
  const parent = childTraceparent(traceparent, 'the kill');
  world.taken({ ...kill(2, 't1'), traceparent: parent });
  const spans = ofKind(world.effects, 'span');
  const launch = spans.find(({ name }) => name === 'run task');
  const word = spans.find(({ name }) => name === 'kill task');
  t.like(word, { parent: launch?.identity, link: parent });
});
