import assert from 'node:assert/strict';
import test from 'ava';
import fc from 'fast-check';
import { StreamNumbering, type StreamPosition, StreamTracker } from '../../src/bus/ordered-stream.ts';

const epoch = { incarnation: 0, epoch: 0 };
const namer = () => {
  let count = 0;
  return () => {
    count += 1;
    return `s${count}`;
  };
};

test('numbers count from 1, and again from 1 under a new name after a restart', (t) => {
  const numbering = new StreamNumbering(namer());
  t.deepEqual(
    [numbering.next(), numbering.next()],
    [
      { stream: 's1', number: 1 },
      { stream: 's1', number: 2 },
    ],
  );
  numbering.restart();
  t.is(numbering.beat(), undefined);
  t.deepEqual(numbering.next(), { stream: 's2', number: 1 });
  t.deepEqual(numbering.beat(), { stream: 's2', number: 1 });
});

test('a stream that is closed or from which nothing was sent has no beat', (t) => {
  const numbering = new StreamNumbering(namer());
  t.is(numbering.beat(), undefined);
  numbering.next();
  numbering.close();
  t.is(numbering.beat(), undefined);
});

type Step = [what: 'message' | 'beat', stream: string, number: number, verdict: 'first' | 'next' | 'ignore' | 'gap'];
const cases: [title: string, steps: Step[]][] = [
  [
    'messages in order are delivered',
    [
      ['message', 'a', 1, 'first'],
      ['message', 'a', 2, 'next'],
    ],
  ],
  [
    'a repeated message is ignored',
    [
      ['message', 'a', 1, 'first'],
      ['message', 'a', 1, 'ignore'],
    ],
  ],
  [
    'a skipped number is a gap',
    [
      ['message', 'a', 1, 'first'],
      ['message', 'a', 3, 'gap'],
    ],
  ],
  [
    'nothing is delivered after a gap',
    [
      ['message', 'a', 2, 'gap'],
      ['message', 'a', 3, 'ignore'],
      ['message', 'a', 1, 'ignore'],
    ],
  ],
  [
    'a beat of the last number is no gap',
    [
      ['message', 'a', 1, 'first'],
      ['beat', 'a', 1, 'ignore'],
      ['message', 'a', 2, 'next'],
    ],
  ],
  [
    'a beat above the last number is a gap',
    [
      ['message', 'a', 1, 'first'],
      ['beat', 'a', 2, 'gap'],
    ],
  ],
  ['who sees a beat first has joined late', [['beat', 'a', 1, 'gap']]],
  [
    'number 1 of a new name is a fresh start',
    [
      ['message', 'a', 2, 'gap'],
      ['message', 'b', 1, 'first'],
      ['message', 'b', 2, 'next'],
    ],
  ],
  [
    'a new name with a later number is a gap',
    [
      ['message', 'a', 1, 'first'],
      ['message', 'b', 2, 'gap'],
    ],
  ],
  [
    'a late message of a stream that was left is ignored',
    [
      ['message', 'a', 1, 'first'],
      ['message', 'b', 1, 'first'],
      ['message', 'a', 2, 'ignore'],
      ['beat', 'a', 9, 'ignore'],
      ['message', 'b', 2, 'next'],
    ],
  ],
  [
    'a lost fresh start does not end the gap',
    [
      ['message', 'a', 2, 'gap'],
      ['message', 'b', 2, 'ignore'],
      ['message', 'c', 1, 'first'],
    ],
  ],
];
for (const [title, steps] of cases) {
  test(title, (t) => {
    const tracker = new StreamTracker();
    const verdicts = steps.map(([what, stream, number]) => {
      const position = { stream, number };
      const verdict = what === 'beat' ? tracker.onBeat(position, epoch) : tracker.onMessage(position, epoch);
      return verdict.kind === 'deliver' ? (verdict.first ? 'first' : 'next') : verdict.kind;
    });
    t.deepEqual(
      verdicts,
      steps.map(([, , , verdict]) => verdict),
    );
  });
}

test('a lower epoch than the highest seen is ignored, a higher one may start afresh', (t) => {
  const tracker = new StreamTracker();
  const of = (number: number) => ({ incarnation: 1, epoch: number });
  t.is(tracker.onMessage({ stream: 'a', number: 1 }, of(2)).kind, 'deliver');
  t.is(tracker.onMessage({ stream: 'old', number: 1 }, of(1)).kind, 'ignore');
  t.is(tracker.onMessage({ stream: 'a', number: 2 }, of(2)).kind, 'deliver');
  t.deepEqual(tracker.onMessage({ stream: 'b', number: 1 }, of(3)), { kind: 'deliver', first: true });
  t.is(tracker.onMessage({ stream: 'a', number: 3 }, of(2)).kind, 'ignore');
});

/** What a lossy network and a sender do; `swap` lets a frame overtake the one before it. */
type Action = 'send' | 'lose' | 'repeat' | 'beat' | 'restart' | 'swap';
const actions = fc.array(fc.constantFrom<Action>('send', 'send', 'send', 'lose', 'repeat', 'beat', 'restart', 'swap'), {
  maxLength: 100,
  size: 'max',
});

/** What arrives of a stream, in order: a message, or a beat. */
function arrivals(todo: readonly Action[]): { beat: boolean; position: StreamPosition }[] {
  const numbering = new StreamNumbering(namer());
  const result: { beat: boolean; position: StreamPosition }[] = [];
  for (const action of todo) {
    const last = result.at(-1);
    if (action === 'send') result.push({ beat: false, position: numbering.next() });
    else if (action === 'lose') numbering.next();
    else if (action === 'restart') numbering.restart();
    else if (action === 'repeat' && last !== undefined) result.push(last);
    else if (action === 'swap' && result.length > 1) result.push(...result.splice(-2).reverse());
    else if (action === 'beat') {
      const position = numbering.beat();
      if (position !== undefined) result.push({ beat: true, position });
    }
  }
  return result;
}

test('whatever is lost, repeated or reordered, each stream is delivered as 1, 2, 3 … without a hole', (t) => {
  const law = fc.property(actions, (todo) => {
    const tracker = new StreamTracker();
    const delivered = new Map<string, number>();
    for (const { beat, position } of arrivals(todo)) {
      const verdict = beat ? tracker.onBeat(position, epoch) : tracker.onMessage(position, epoch);
      if (verdict.kind !== 'deliver') continue;
      assert.equal(beat, false);
      assert.equal(position.number, (delivered.get(position.stream) ?? 0) + 1);
      assert.equal(verdict.first, position.number === 1);
      delivered.set(position.stream, position.number);
    }
  });
  t.notThrows(() => fc.assert(law));
});

test('after a beat the receiver either has every message of the stream or knows of a gap', (t) => {
  const law = fc.property(
    actions.map((todo) => todo.filter((action) => action !== 'swap')),
    (todo) => {
      const tracker = new StreamTracker();
      let last: StreamPosition | undefined;
      for (const { beat, position } of arrivals(todo)) {
        const verdict = beat ? tracker.onBeat(position, epoch) : tracker.onMessage(position, epoch);
        if (verdict.kind === 'deliver') last = position;
        if (beat)
          assert.ok(tracker.gap !== undefined || (last?.stream === position.stream && last.number === position.number));
      }
    },
  );
  t.notThrows(() => fc.assert(law));
});
