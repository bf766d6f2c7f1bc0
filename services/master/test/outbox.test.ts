import test from 'ava';
import type { Effect, When } from '../src/core/index.ts';
import { Outbox } from '../src/shell/outbox.ts';

function setup() {
  const left: string[] = [];
  let position = 0;
  let commit: (position: number, index: number) => void = () => {};
  const log = {
    lastIndex: 0,
    submit: (records: readonly unknown[]) => {
      position += records.length;
      return position;
    },
    barrier: () => {
      position += 1;
      return position;
    },
    onCommitted: (listener: typeof commit) => {
      commit = listener;
    },
  };
  const outbox = new Outbox(log, (effect, index) => {
    if (effect.kind === 'log') left.push(`${effect.message} ${index}`);
  });
  return { left, outbox, commit: (to: number, index: number) => commit(to, index) };
}

const says = (message: string, when: When): Effect =>
  ({ kind: 'log', when, level: 'info', message, fields: {} }) as unknown as Effect;
const records = (count: number, urgent = true): Effect => ({ kind: 'commit', records: Array(count).fill({}), urgent });

test('effects leave with the records before them, not with those after', (t) => {
  const { left, outbox, commit } = setup();
  outbox.add([records(2), says('a', 'committed'), records(2), says('b', 'committed'), says('now', 'now')]);
  t.deepEqual(left, ['now 0']);
  commit(2, 5);
  t.deepEqual(left, ['now 0', 'a 5']);
  commit(4, 6);
  t.deepEqual(left, ['now 0', 'a 5', 'b 6']);
});

test('an effect without records of its own waits for those that are under way', (t) => {
  const { left, outbox, commit } = setup();
  outbox.add([records(1, false)]);
  outbox.add([says('a', 'committed')]);
  t.deepEqual(left, []);
  commit(1, 1);
  outbox.add([says('b', 'committed')]);
  t.deepEqual(left, ['a 1', 'b 0']);
});

test('what an effect leads to while others are carried out comes after them, in the log too', (t) => {
  const submitted: string[] = [];
  const log = {
    lastIndex: 0,
    submit: ([record]: readonly unknown[]) => submitted.push(String(record)),
    barrier: () => submitted.push('barrier'),
    onCommitted: () => {},
  };
  const commit = (name: string) => ({ kind: 'commit', records: [name], urgent: true }) as unknown as Effect;
  const outbox: Outbox = new Outbox(log, (effect) => {
    if (effect.kind === 'log' && effect.message === 'leads on') outbox.add([commit('later'), says('last', 'barrier')]);
  });
  outbox.add([says('leads on', 'committed'), commit('first'), says('leads on', 'now'), commit('second')]);
  t.deepEqual(submitted, ['first', 'second', 'later', 'barrier', 'later', 'barrier']);
});

test('an outbox whose log has refused a record keeps nothing of what came with it', (t) => {
  let refuses = true;
  const submitted: number[] = [];
  const log = {
    lastIndex: 0,
    submit: (taken: readonly unknown[]) => {
      if (refuses) throw new Error('refused');
      return submitted.push(taken.length);
    },
    barrier: () => 0,
    onCommitted: () => {},
  };
  const outbox = new Outbox(log, () => {});
  t.throws(() => outbox.add([records(2), records(3)]), { message: 'refused' });
  refuses = false;
  outbox.add([records(1)]);
  t.deepEqual(submitted, [1]);
});

test('a barrier waits for an append of its own, even where nothing is under way', (t) => {
  const { left, outbox, commit } = setup();
  outbox.add([says('a', 'barrier')]);
  t.deepEqual(left, []);
  t.is(outbox.waiting, 1);
  commit(1, 1);
  t.deepEqual(left, ['a 1']);
  t.is(outbox.waiting, 0);
});

test('many effects leave in order', (t) => {
  const { left, outbox, commit } = setup();
  const names = Array.from({ length: 5_000 }, (_, i) => `e${i}`);
  for (const name of names) outbox.add([records(1), says(name, 'committed')]);
  for (let position = 1; position <= names.length; position += 1) commit(position, 0);
  t.deepEqual(
    left,
    names.map((name) => `${name} 0`),
  );
});

test('the log stands when something waits for it and nothing was committed since it was asked before', (t) => {
  const { outbox, commit } = setup();
  t.false(outbox.stands(), 'nothing waits');
  outbox.add([records(1), says('a', 'committed')]);
  t.true(outbox.stands());
  commit(1, 1);
  outbox.add([records(1), says('b', 'committed')]);
  t.false(outbox.stands(), 'something was committed since');
  t.true(outbox.stands());
  commit(2, 2);
  t.false(outbox.stands());
});
