import { strict as assert } from 'node:assert';
import { decode, encode, mesobus } from '@mesobus/protos';
import test from 'ava';
import fc from 'fast-check';
import { leaderKey, maxEntryBytes, maxQueuedBytes, maxRecordBytes, resign, submit } from '../src/core/index.ts';
import { type Fate, readAll, SimulatedBucket, SimulatedMaster } from './simulated-log.ts';

type Action =
  | { kind: 'submit'; count: number; urgent: boolean }
  | { kind: 'settle'; fate: Fate; whom: number }
  | { kind: 'wait'; ms: number; whom: number }
  | { kind: 'barrier' | 'arrive' | 'old_submit'; whom: number }
  | { kind: 'replace' };

const whom = fc.nat(2);
const anyFate = fc.constantFrom<Fate>('done', 'done', 'done', 'request_lost', 'answer_lost', 'delayed');
const anyAction: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({ kind: fc.constant('submit'), count: fc.integer({ min: 1, max: 4 }), urgent: fc.boolean() }),
  },
  { weight: 12, arbitrary: fc.record({ kind: fc.constant('settle'), fate: anyFate, whom }) },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('wait'), ms: fc.constantFrom(1, 60, 150, 400, 1200), whom }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constantFrom('barrier', 'arrive', 'old_submit'), whom }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('replace') }) },
);

/** Masters that follow each other; all of them go on acting, the replaced ones as zombies. */
class Run {
  readonly bucket = new SimulatedBucket();
  readonly masters: SimulatedMaster[] = [new SimulatedMaster('m0', this.bucket)];

  get leader(): SimulatedMaster {
    return this.masters.at(-1) as SimulatedMaster;
  }

  act(action: Action): void {
    if (action.kind === 'submit') this.leader.submit(action.count, action.urgent);
    else if (action.kind === 'settle') this.#one(action.whom).settle(action.fate);
    else if (action.kind === 'wait') this.#one(action.whom).wait(action.ms);
    else if (action.kind === 'barrier') this.#one(action.whom).barrier();
    else if (action.kind === 'arrive') this.#one(action.whom).arrive();
    else if (action.kind === 'old_submit') this.#one(action.whom).submit(1, true);
    else this.masters.push(new SimulatedMaster(`m${this.masters.length}`, this.bucket));
  }

  /** No more faults: everything under way ends well. */
  heal(): void {
    for (const master of this.masters) master.arrive();
    for (let round = 0; round < 60; round += 1) {
      for (const master of this.masters) {
        master.settle('done');
        master.wait(round < 40 ? 1100 : 0);
      }
    }
  }

  /** The oldest, the one before the leader, or the leader: zombies are rare otherwise. */
  #one(whom: number): SimulatedMaster {
    return this.masters.at(whom === 0 ? 0 : whom - 3) ?? this.leader;
  }
}

function namesIn(messages: Parameters<typeof readAll>[0]): string[] {
  const { reader, effects } = readAll(messages);
  assert.equal(reader.stopped, undefined);
  assert.ok(effects.every(({ kind }) => kind !== 'void'));
  const records = effects.flatMap((effect) => (effect.kind === 'entry' ? effect.entry.records : []));
  return records.map((bytes) => mesobus.v1.Record.decode(bytes).framework?.frameworkId ?? '');
}

/** Of each master the log has its first so many records, each once, in order; at least those it was told of. */
function checkLog(run: Run): void {
  const names = namesIn(run.bucket.seen);
  assert.deepEqual(namesIn(run.bucket.left), names);
  for (const master of run.masters) {
    const wanted = master.submitted.filter((name) => name !== undefined);
    const found = names.filter((name) => name.startsWith(`${master.name}/`));
    assert.deepEqual(found, wanted.slice(0, found.length));
    const told = master.submitted.slice(0, master.committed).filter((name) => name !== undefined);
    assert.ok(found.length >= told.length, `${master.name} was told of ${told.length}, the log has ${found.length}`);
  }
}

const anyActions = fc.array(anyAction, { maxLength: 120, size: 'max' });

test('what is told committed is in the log, once and in order, whatever is lost, delayed or replaced', (t) => {
  const law = fc.property(anyActions, (actions) => {
    const run = new Run();
    for (const action of actions) {
      run.act(action);
      checkLog(run);
      for (const master of run.masters) assert.ok(master.requestsUnderWay <= 1);
    }
    run.heal();
    checkLog(run);
  });
  t.notThrows(() => fc.assert(law, { numRuns: 300 }));
});

test('once the faults end, the leader commits all that it took and every other has ended', (t) => {
  const law = fc.property(anyActions, (actions) => {
    const run = new Run();
    for (const action of actions) run.act(action);
    run.heal();
    assert.equal(run.leader.committed, run.leader.submitted.length);
    assert.equal(run.leader.writer.ended, undefined);
    for (const master of run.masters.slice(0, -1)) assert.equal(master.writer.ended?.reason, 'deposed');
  });
  t.notThrows(() => fc.assert(law, { numRuns: 300 }));
});

test('a replaced master is never told that something was committed after its successor began', (t) => {
  const law = fc.property(anyActions, anyActions, (before, after) => {
    const run = new Run();
    for (const action of before) run.act(action);
    const old = run.leader;
    run.act({ kind: 'replace' });
    const written = namesIn(run.bucket.seen).length;
    old.submit(1, true);
    const late = old.submitted.length;
    for (const action of after) if (action.kind !== 'replace') run.act(action);
    run.heal();
    assert.ok(old.committed < late || old.submitted.length < late);
    assert.ok(
      namesIn(run.bucket.seen)
        .slice(written)
        .every((name) => !name.startsWith(`${old.name}/`)),
    );
  });
  t.notThrows(() => fc.assert(law, { numRuns: 200 }));
});

const settled = (master: SimulatedMaster): void => {
  for (let round = 0; round < 10; round += 1) master.settle('done');
};

test('a record that is not urgent waits for company, at most 100 ms', (t) => {
  const master = new SimulatedMaster('m', new SimulatedBucket());
  master.submit(1, false);
  master.wait(99);
  t.is(master.requestsUnderWay, 0);
  master.wait(1);
  t.is(master.requestsUnderWay, 1);
});

test('an urgent record takes those along that wait', (t) => {
  const bucket = new SimulatedBucket();
  const master = new SimulatedMaster('m', bucket);
  master.submit(2, false);
  master.submit(1, true);
  settled(master);
  t.is(master.committed, 3);
  t.is(readAll(bucket.seen).effects.filter(({ kind }) => kind === 'entry').length, 1);
});

test('what comes during an append goes into one next entry', (t) => {
  const bucket = new SimulatedBucket();
  const master = new SimulatedMaster('m', bucket);
  for (let at = 0; at < 50; at += 1) master.submit(1, true);
  settled(master);
  t.is(master.committed, 50);
  t.is(readAll(bucket.seen).effects.filter(({ kind }) => kind === 'entry').length, 2);
});

test('a barrier is not met by the append that was under way', (t) => {
  const master = new SimulatedMaster('m', new SimulatedBucket());
  master.submit(1, true);
  const result = master.barrier();
  const position = 'position' in result ? result.position : 0;
  master.settle('done');
  t.true(master.committed < position);
  master.settle('done');
  t.is(master.committed, position);
});

test('an idle leader renews every 300 ms', (t) => {
  const bucket = new SimulatedBucket();
  const master = new SimulatedMaster('m', bucket);
  for (let at = 0; at < 30; at += 1) {
    master.wait(100);
    master.settle('done');
  }
  t.is(bucket.seen.filter(({ key }) => key === 'leader').length, 1 + 10);
});

const encoded = (bytes: number): Uint8Array => new Uint8Array(bytes);
const now = { at: 0, wallMs: 0 };

test('a record that does not fit in an entry is refused', (t) => {
  const { writer } = new SimulatedMaster('m', new SimulatedBucket());
  t.like(submit(writer, now, [encoded(maxRecordBytes + 1)], { urgent: true }), { refused: 'too_large' });
  t.like(submit(writer, now, [encoded(maxRecordBytes)], { urgent: true }), { position: 1 });
});

test('no entry is larger than 512 KB, and records given together stay together where they fit', (t) => {
  const bucket = new SimulatedBucket();
  const master = new SimulatedMaster('m', bucket);
  for (let at = 0; at < 3; at += 1) submit(master.writer, now, [encoded(100_000), encoded(200_000)], { urgent: true });
  submit(
    master.writer,
    now,
    Array.from({ length: 4 }, () => encoded(300_000)),
    { urgent: true },
  );
  master.wait(1);
  settled(master);
  const entries = readAll(bucket.seen).effects.flatMap((effect) => (effect.kind === 'entry' ? [effect.entry] : []));
  t.deepEqual(
    entries.map((entry) => entry.records.length),
    [2, 2, 2, 1, 1, 1, 1],
  );
  for (const { bytes } of bucket.seen) t.true(bytes.length <= maxEntryBytes);
});

test('an entry says who may lead over it: with what came later in it, only those who know that', (t) => {
  const bucket = new SimulatedBucket();
  const master = new SimulatedMaster('m', bucket);
  const records = [{ framework: { frameworkId: 'f' } }, { agentResources: { agentId: 'a' } }, { role: { role: 'r' } }];
  for (const record of records) {
    submit(master.writer, now, [encode(mesobus.v1.Record, record)], { urgent: true });
    master.wait(1);
    settled(master);
  }
  const entries = bucket.seen
    .filter(({ key }) => key !== leaderKey)
    .map(({ bytes }) => decode(mesobus.v1.LogEntry, bytes));
  t.deepEqual(
    entries.map(({ oldestReaderVersion }) => oldestReaderVersion),
    [1, 2, 1],
  );
});

test('more than may wait is refused as overload, and taken again later', (t) => {
  const master = new SimulatedMaster('m', new SimulatedBucket());
  master.submit(1, true);
  const record = encoded(400_000);
  const half = Array.from({ length: maxQueuedBytes / 2 / 400_000 }, () => record);
  const results = [1, 2, 3].map(() => submit(master.writer, now, half, { urgent: true }));
  t.deepEqual(
    results.map((result) => 'position' in result),
    [true, true, false],
  );
  t.like(results[2], { refused: 'overloaded' });
  for (let round = 0; round < 1_000; round += 1) master.settle('done');
  t.true('position' in submit(master.writer, now, half, { urgent: true }));
});

test('a resigning leader writes what it took, then that nobody leads', (t) => {
  const bucket = new SimulatedBucket();
  const master = new SimulatedMaster('m', bucket);
  master.submit(2, false);
  resign(master.writer, now);
  master.wait(1);
  settled(master);
  t.is(master.committed, 2);
  t.is(readAll(bucket.left).reader.leader?.record.masterId, '');
  t.is(master.writer.ended?.reason, 'resigned');
});

test('a leader that resigns below an epoch that somebody obeys names it, and never a lower one than its own', (t) => {
  const named = (aboveEpoch: number): number => {
    const bucket = new SimulatedBucket();
    const master = new SimulatedMaster('m', bucket);
    resign(master.writer, now, aboveEpoch);
    master.wait(1);
    settled(master);
    return readAll(bucket.left).reader.epoch;
  };
  t.deepEqual([9, 0].map(named), [9, 1]);
  const { writer } = new SimulatedMaster('m', new SimulatedBucket());
  resign(writer, now, 9);
  resign(writer, now);
  t.is(writer.resigning, 9, 'told twice, it keeps the higher');
});
