import test from 'ava';
import { EventPump } from '../../src/scheduler/event-pump.ts';

/** A pump whose handler is done with an item when told to. */
function setUp(limit: number) {
  const handled: number[] = [];
  const waiting: (() => void)[] = [];
  let drained = 0;
  const pump = new EventPump<number>(
    limit,
    (item) => {
      handled.push(item);
      return new Promise((resolve) => waiting.push(resolve));
    },
    () => {
      drained += 1;
    },
  );
  const finish = async (count: number) => {
    for (let i = 0; i < count; i += 1) {
      waiting.shift()?.();
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  return { pump, handled, finish, drained: () => drained };
}

test('items are handled in order, one at a time', async (t) => {
  const { pump, handled, finish } = setUp(10);
  for (const item of [1, 2, 3]) pump.push(item);
  t.deepEqual(handled, [1]);
  await finish(2);
  t.deepEqual(handled, [1, 2, 3]);
});

test('once too many wait, items are lost until half are done, and then it says so', async (t) => {
  const { pump, handled, finish, drained } = setUp(4);
  for (const item of [0, 1, 2, 3, 4]) pump.push(item); // the first is being handled
  pump.push(5);
  await finish(2);
  pump.push(6);
  t.is(drained(), 0);
  await finish(1);
  t.is(drained(), 1);
  pump.push(7);
  await finish(5);
  t.deepEqual(handled, [0, 1, 2, 3, 4, 7]);
});

test('what must not be lost is taken also when too many wait', async (t) => {
  const { pump, handled, finish } = setUp(1);
  for (const item of [0, 1, 2]) pump.push(item);
  pump.push(3, true);
  await finish(5);
  t.deepEqual(handled, [0, 1, 3]);
});

test('what is discarded is not handled', async (t) => {
  const { pump, handled, finish } = setUp(10);
  for (const item of [0, 1, 2, 3]) pump.push(item);
  pump.discard((item) => item % 2 === 1);
  await finish(5);
  t.deepEqual(handled, [0, 2]);
});
