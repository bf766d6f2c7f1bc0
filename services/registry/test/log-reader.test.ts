import { encode, mesobus } from '@mesobus/protos';
import test from 'ava';
import {
  createLogReader,
  entryKey,
  type LogReaderEffect,
  leaderKey,
  positionOf,
  readMessage,
  startAfter,
} from '../src/core/index.ts';
import { giveUpWaiting } from '../src/core/log-reader.ts';
import { sha256 } from './simulated-log.ts';

/** Writes messages as masters would, each after the one before unless told otherwise. */
class Script {
  readonly effects: LogReaderEffect[] = [];
  readonly reader = createLogReader(sha256);
  #sequence = 0;
  #lastHash: Uint8Array = new Uint8Array();

  entry(index: number, more: mesobus.v1.LogEntry.$Properties = {}, key: string = entryKey(index)): LogReaderEffect[] {
    const records = [encode(mesobus.v1.Record, { framework: { frameworkId: `f${index}` } })];
    const previousHash = this.#lastHash;
    const bytes = encode(mesobus.v1.LogEntry, {
      clusterIncarnation: 1,
      epoch: 1,
      index,
      previousHash,
      records,
      ...more,
    });
    this.#lastHash = sha256(bytes);
    return this.raw(key, bytes);
  }

  leader(epoch: number, masterId = 'm'): LogReaderEffect[] {
    return this.raw(leaderKey, encode(mesobus.v1.LeaderRecord, { clusterIncarnation: 1, epoch, masterId }));
  }

  raw(key: string, bytes: Uint8Array, sequence: number = ++this.#sequence): LogReaderEffect[] {
    return readMessage(this.reader, { key, bytes, sequence });
  }
}

const kinds = (effects: LogReaderEffect[]): string[] => effects.map(({ kind }) => kind);

test('entries come out in order with what is in them', (t) => {
  const script = new Script();
  t.like(script.entry(1)[0], { kind: 'entry', entry: { index: 1, sequence: 1, epoch: 1 } });
  const [effect] = script.entry(2);
  const [record] = effect?.kind === 'entry' ? effect.entry.records : [];
  t.is(record && mesobus.v1.Record.decode(record).framework?.frameworkId, 'f2');
});

test('what was read before is read no second time', (t) => {
  const script = new Script();
  script.entry(1);
  t.deepEqual(script.raw(entryKey(1), new Uint8Array(), 1), []);
  t.deepEqual(kinds(script.entry(2)), ['entry']);
});

test('an entry of an epoch below the highest seen is void and harms no later one', (t) => {
  const script = new Script();
  script.entry(1);
  script.leader(2);
  const stale = encode(mesobus.v1.LogEntry, { clusterIncarnation: 1, epoch: 1, index: 2 });
  t.like(script.raw(entryKey(2), stale)[0], { kind: 'void', index: 2, epoch: 1 });
  t.deepEqual(kinds(script.entry(2, { epoch: 2 })), ['entry']);
});

test('an epoch of a higher incarnation of the cluster outranks a higher epoch of a lower one', (t) => {
  const script = new Script();
  t.deepEqual(kinds(script.entry(1, { clusterIncarnation: 2, epoch: 1 })), ['entry']);
  t.deepEqual(kinds(script.leader(9)), ['leader']);
  t.deepEqual(kinds(script.entry(2, { epoch: 9 })), ['void']);
});

const faults = [
  ['an entry that comes again', (script: Script) => script.entry(1), /entry 2 should come next/],
  ['a broken chain', (script: Script) => script.entry(2, { previousHash: new Uint8Array(32) }), /hashes differ/],
  [
    'an entry under the key of another',
    (script: Script) => script.entry(3, {}, entryKey(2)),
    /says that it is entry 3/,
  ],
  [
    'bytes that are no entry',
    (script: Script) => script.raw(entryKey(2), Uint8Array.of(255)),
    /entry 2 .* is not an entry/,
  ],
  ['a leader record that is none', (script: Script) => script.raw(leaderKey, Uint8Array.of(255)), /'leader'/],
] as const;
for (const [what, write, why] of faults) {
  test(`${what} stops the reader with what is wrong and what to do`, (t) => {
    const script = new Script();
    script.entry(1);
    const [effect] = write(script);
    t.is(effect?.kind, 'stopped');
    t.regex(script.reader.stopped ?? '', why);
    t.regex(script.reader.stopped ?? '', /restore a backup/);
    t.deepEqual(script.entry(2), [], 'it stays stopped');
  });
}

test('a gap wants a snapshot that covers it, and nothing is read before there is one', (t) => {
  const script = new Script();
  script.entry(1);
  t.like(script.entry(5)[0], { kind: 'snapshot_wanted', incarnation: 1, index: 4, underWay: false });
  t.deepEqual(script.entry(2), []);
  t.is(script.reader.lastIndex, 1);
});

test('a log whose beginning is gone wants a snapshot; without one the reader says so and what to do', (t) => {
  const script = new Script();
  const [effect] = script.entry(5);
  if (effect?.kind !== 'snapshot_wanted') return t.fail();
  giveUpWaiting(script.reader, effect, 'generation 3: its value snap.3.0 is missing');
  t.regex(script.reader.stopped ?? '', /entry 1 should come next, not 5.*snap\.3\.0 is missing.*restore a backup/);
});

test('behind a snapshot the reading goes on as if all before had been read', (t) => {
  const [whole, late] = [new Script(), new Script()];
  for (const script of [whole, late]) for (const index of [1, 2, 3]) script.entry(index);
  whole.leader(2);
  const place = positionOf(whole.reader);
  t.like(place, { index: 3, sequence: 3, epoch: 2, leader: { sequence: 4 } });
  const reader = createLogReader(sha256);
  startAfter(reader, place);
  t.deepEqual(positionOf(reader), place);
  t.deepEqual(kinds(whole.entry(4, { epoch: 2 })), ['entry']);
  const stale = encode(mesobus.v1.LogEntry, { clusterIncarnation: 1, epoch: 1, index: 4 });
  t.like(readMessage(reader, { key: entryKey(4), bytes: stale, sequence: 5 })[0], { kind: 'void' });
});

test('a restored backup wants its snapshot: while it is restored one that has yet to come', (t) => {
  const script = new Script();
  script.leader(7);
  script.entry(1, { epoch: 7 });
  const restoring = { clusterIncarnation: 2, epoch: 8, restoring: true };
  const raw = (record: mesobus.v1.LeaderRecord.$Properties) =>
    script.raw(leaderKey, encode(mesobus.v1.LeaderRecord, record));
  t.like(raw(restoring)[0], { kind: 'snapshot_wanted', incarnation: 2, underWay: true });
  const late = new Script();
  late.leader(7);
  const done = encode(mesobus.v1.LeaderRecord, { clusterIncarnation: 2, epoch: 9 });
  t.like(late.raw(leaderKey, done)[0], { kind: 'snapshot_wanted', incarnation: 2, underWay: false });
});

test('who has read nothing waits for a restore too', (t) => {
  const script = new Script();
  const restoring = encode(mesobus.v1.LeaderRecord, { clusterIncarnation: 2, epoch: 8, restoring: true });
  t.like(script.raw(leaderKey, restoring)[0], { kind: 'snapshot_wanted', incarnation: 2, underWay: true });
});

test('a record that cannot be decoded, or of an unknown kind, is kept as it was written', (t) => {
  const script = new Script();
  const records = [Uint8Array.of(255), Uint8Array.of(0xfa, 0x3f, 0)]; // no message; a message in field 1023
  const [effect] = script.entry(1, { records });
  const entry = effect?.kind === 'entry' ? effect.entry : undefined;
  t.deepEqual(
    entry?.records.map((bytes) => [...bytes]),
    records.map((bytes) => [...bytes]),
  );
});

test('keys that are not of the log are passed over', (t) => {
  const script = new Script();
  t.deepEqual(script.raw('note', Uint8Array.of(1)), []);
  t.deepEqual(kinds(script.entry(1)), ['entry']);
});
