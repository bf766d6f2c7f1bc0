import assert from 'node:assert/strict';
import { appendFileSync, mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import * as fileSystem from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { mesobus } from '@mesobus/protos';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { type Journal, JournalCorruptError, type JournalOptions, openJournal } from '../../src/shell/journal.ts';

type Record = mesobus.v1.JournalRecord.$Properties;

const forgotten = (number: number): Record => ({ taskForgotten: { commandNumber: number } });
const numbersIn = (journal: Journal): number[] =>
  journal.records.map(({ taskForgotten, snapshot }) => taskForgotten?.commandNumber ?? snapshot?.cursor ?? -1);

function tempFile(t: ExecutionContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'mesobus-journal-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return join(folder, 'journal');
}

interface Opened {
  readonly journal: Journal;
  readonly positions: number[];
  /** Resolves when so many records are durable. */
  durable(position: number): Promise<void>;
}

async function open(path: string, options: Partial<JournalOptions> = {}): Promise<Opened> {
  const positions: number[] = [];
  let wake = (): void => {};
  const journal = await openJournal({
    path,
    onDurable: (position) => {
      positions.push(position);
      wake();
    },
    takeSnapshot: () => ({ snapshot: { cursor: 0 } }),
    onFailure: (error) => {
      throw error;
    },
    ...options,
  });
  const durable = async (position: number): Promise<void> => {
    while ((positions.at(-1) ?? 0) < position) await new Promise<void>((resolve) => (wake = resolve));
  };
  return { journal, positions, durable };
}

async function write(path: string, ...writes: Record[][]): Promise<number[]> {
  const { journal, durable } = await open(path);
  const sizes = [0];
  let count = 0;
  for (const records of writes) {
    journal.append(records);
    count += records.length;
    await durable(count);
    sizes.push(statSync(path).size);
  }
  await journal.close();
  return sizes;
}

test('what was durable is read again, in order', async (t) => {
  const path = tempFile(t);
  await write(path, [forgotten(1), forgotten(2)], [forgotten(3)]);
  const { journal } = await open(path);
  t.deepEqual(numbersIn(journal), [1, 2, 3]);
  t.is(journal.tornBytes, 0);
  await journal.close();
});

test('what is added while a write is under way goes into the next one, together', async (t) => {
  const { journal, positions, durable } = await open(tempFile(t));
  journal.append([forgotten(1)]);
  await Promise.resolve();
  for (let number = 2; number <= 50; number += 1) journal.append([forgotten(number)]);
  await durable(50);
  t.true(positions.length <= 2);
  await journal.close();
});

test('a file that is cut anywhere gives the writes that are whole, and takes new ones', async (t) => {
  const path = tempFile(t);
  const sizes = await write(path, [forgotten(1), forgotten(2)], [forgotten(3)], [forgotten(4), forgotten(5)]);
  const whole = readFileSync(path);
  const kept = [[], [1, 2], [1, 2, 3], [1, 2, 3, 4, 5]];
  const law = fc.asyncProperty(fc.integer({ min: 0, max: whole.length }), async (length) => {
    writeFileSync(path, whole);
    truncateSync(path, length);
    const writes = sizes.filter((size) => size <= length).length - 1;
    const { journal, durable } = await open(path);
    assert.deepEqual(numbersIn(journal), kept[writes]);
    assert.equal(journal.tornBytes, length - (sizes[writes] ?? 0));
    journal.append([forgotten(9)]);
    await durable(1);
    await journal.close();
    const again = await open(path);
    assert.deepEqual(numbersIn(again.journal), [...(kept[writes] ?? []), 9]);
    await again.journal.close();
  });
  await t.notThrowsAsync(fc.assert(law, { numRuns: 60 }));
});

test('garbage behind the last write is cut off', async (t) => {
  const path = tempFile(t);
  await write(path, [forgotten(1)]);
  appendFileSync(path, Buffer.alloc(100));
  const { journal } = await open(path);
  t.deepEqual(numbersIn(journal), [1]);
  t.is(journal.tornBytes, 100);
  await journal.close();
});

test('a byte that changed in the middle is found, and the file is refused by name', async (t) => {
  const path = tempFile(t);
  const [, first = 0] = await write(path, [forgotten(1)], [forgotten(2)], [forgotten(3)]);
  const whole = readFileSync(path);
  const law = fc.asyncProperty(
    fc.integer({ min: 0, max: first - 1 }),
    fc.integer({ min: 1, max: 255 }),
    async (at, flip) => {
      const damaged = Buffer.from(whole);
      damaged[at] = (damaged[at] ?? 0) ^ flip;
      writeFileSync(path, damaged);
      await assert.rejects(open(path), (error) => error instanceof JournalCorruptError && error.message.includes(path));
      assert.deepEqual(readFileSync(path), damaged);
    },
  );
  await t.notThrowsAsync(fc.assert(law, { numRuns: 60 }));
});

test('a file that has grown far beyond what it stands for is replaced by a snapshot', async (t) => {
  const path = tempFile(t);
  let cursor = 0;
  const takeSnapshot = (): Record => ({ snapshot: { cursor } });
  const { journal, durable } = await open(path, { takeSnapshot, compactAboveBytes: 500 });
  for (let number = 1; number <= 200; number += 1) {
    cursor = number;
    journal.append([forgotten(number)]);
    await durable(number);
  }
  await journal.close();
  t.true(statSync(path).size < 600);
  const again = await open(path);
  const [snapshot = 0, ...after] = numbersIn(again.journal);
  t.true(snapshot > 0);
  t.deepEqual(
    after,
    Array.from({ length: 200 - snapshot }, (_, index) => snapshot + 1 + index),
  );
  await again.journal.close();
});

test('a failing disk is said once, with what to do, and nothing is durable after it', async (t) => {
  const failures: string[] = [];
  const path = tempFile(t);
  await write(path, [forgotten(0)]);
  const failed = Promise.withResolvers<void>();
  const { journal, positions } = await open(path, {
    compactAboveBytes: 0,
    takeSnapshot: () => {
      throw new Error('no space left');
    },
    onFailure: (error) => {
      failures.push(error.message);
      failed.resolve();
    },
  });
  journal.append([forgotten(1)]);
  await failed.promise;
  journal.append([forgotten(2)]);
  await journal.close();
  t.deepEqual(positions, []);
  t.is(failures.length, 1);
  t.regex(failures[0] ?? '', /no space left; make room or mend the disk/);
});

test('the folder of a journal that is opened again is synced, for who renamed it may have died before that', async (t) => {
  const path = tempFile(t);
  const first = await open(path);
  first.journal.append([forgotten(1)]);
  await first.durable(1);
  await first.journal.close();

  const folders: string[] = [];
  const disk: JournalOptions['disk'] = {
    readFile: (file) => fileSystem.readFile(file),
    rename: (from, to) => fileSystem.rename(from, to),
    open: (file, flags) => {
      if (flags === 'r') folders.push(file);
      return fileSystem.open(file, flags);
    },
  };
  const again = await open(path, { disk });
  t.deepEqual(folders, [dirname(path)]);
  await again.journal.close();
});
