import { execFileSync } from 'node:child_process';
import { appendFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import * as fileSystem from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { mesobus } from '@mesobus/protos';
import { ManualClock } from '@mesobus/sdk/bus';
import test, { type ExecutionContext } from 'ava';
import type { DiskRoom } from '../../src/core/index.ts';
import { isTerminal } from '../../src/core/task-state.ts';
import { type Disk, type Journal, type OpenFile, openJournal } from '../../src/shell/journal.ts';
import { kill, run, TaskState } from '../world.ts';
import { Bench as AgentBench, tempWorkDir } from './bench.ts';

type Record = mesobus.v1.JournalRecord.$Properties;

const forgotten = (number: number): Record => ({ taskForgotten: { commandNumber: number } });
const numbersIn = (journal: Journal): number[] =>
  journal.records.map(({ taskForgotten, snapshot }) => taskForgotten?.commandNumber ?? snapshot?.cursor ?? -1);

/** A real folder of which only so many bytes may be used; a write that does not fit writes what fits and fails. */
class SmallDisk implements Disk {
  /** Beside what the journal uses. */
  taken = 0;
  /** There is no room for the name of another file. */
  namesAreUsedUp = false;
  /** The next writes fail with this instead. */
  broken: string | undefined;
  readonly #sizes = new Map<string, number>();
  readonly #bytes: number;

  constructor(bytes: number) {
    this.#bytes = bytes;
  }

  readFile = (path: string): Promise<Buffer> => fileSystem.readFile(path);

  rename = async (from: string, to: string): Promise<void> => {
    await fileSystem.rename(from, to);
    this.#sizes.set(to, this.#sizes.get(from) ?? 0);
    this.#sizes.delete(from);
  };

  open = async (path: string, flags: number | 'r'): Promise<OpenFile> => {
    if (this.namesAreUsedUp && !existsSync(path)) throw noRoom();
    const file = await fileSystem.open(path, flags);
    if (flags !== 'r') this.#sizes.set(path, statSync(path).size);
    let at = path; // a renamed file keeps its place in the books under its new name
    return {
      write: async (bytes, offset, length, position) => {
        if (this.broken !== undefined) throw Object.assign(new Error(this.broken), { code: this.broken });
        if (!this.#sizes.has(at)) at = at.replace('.new', '');
        const before = this.#sizes.get(at) ?? 0;
        const room = this.#bytes - this.taken - this.#used() + before - position;
        const fits = Math.min(length, Math.max(0, room));
        if (fits === 0) throw noRoom();
        const { bytesWritten } = await file.write(bytes, offset, fits, position);
        this.#sizes.set(at, Math.max(before, position + bytesWritten));
        return { bytesWritten };
      },
      truncate: async (length) => {
        await file.truncate(length);
        this.#sizes.set(at, length);
      },
      sync: () => file.sync(),
      close: () => file.close(),
    };
  };

  #used(): number {
    return [...this.#sizes.values()].reduce((sum, size) => sum + size, 0);
  }
}

const noRoom = (): Error => Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' });

interface Bench {
  readonly path: string;
  readonly disk: SmallDisk;
  readonly clock: ManualClock;
  readonly rooms: DiskRoom[];
  readonly failures: string[];
  journal: Journal;
  durable: number;
  /** Waits until what the journal does has made something so. */
  until(condition: () => boolean): Promise<void>;
  /** The same, while time passes as fast as the journal waits for it. */
  pass(condition: () => boolean): Promise<void>;
}

interface BenchOptions {
  readonly compactAboveBytes?: number;
  readonly disk?: SmallDisk;
}

async function open(t: ExecutionContext, bytes: number, { disk, ...options }: BenchOptions = {}): Promise<Bench> {
  const folder = mkdtempSync(join(tmpdir(), 'mesobus-full-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const clock = new ManualClock();
  let happened = Promise.withResolvers<void>();
  const happens = (): void => {
    happened.resolve();
    happened = Promise.withResolvers();
  };
  const bench = {
    path: join(folder, 'journal'),
    disk: disk ?? new SmallDisk(bytes),
    clock,
    rooms: [] as DiskRoom[],
    failures: [] as string[],
    durable: 0,
    until: async (condition: () => boolean): Promise<void> => {
      while (!condition()) await happened.promise;
    },
    pass: async (condition: () => boolean): Promise<void> => {
      while (!condition()) {
        clock.advance(1_000);
        await happened.promise; // what the disk makes of it, not what the clock did at once
      }
    },
  };
  const journal = await openJournal({
    path: bench.path,
    disk: bench.disk,
    clock: {
      now: () => clock.now(),
      after: (delayMs, call) => {
        happens(); // it waits now
        return clock.after(delayMs, call);
      },
    },
    reserveBytes: 1_000,
    onDurable: (position) => {
      bench.durable = position;
      happens();
    },
    takeSnapshot: () => ({ snapshot: { cursor: 1_000_000 } }),
    onFailure: (error) => {
      bench.failures.push(error.message);
      happens();
    },
    onRoom: (room) => {
      bench.rooms.push(room);
      happens();
    },
    ...options,
  });
  t.teardown(() => journal.close());
  return Object.assign(bench, { journal });
}

/** Writes records one by one until one does not become durable; gives how many did. */
async function fill(bench: Bench): Promise<number> {
  const before = bench.rooms.length;
  for (;;) {
    const wanted = bench.durable + 1;
    bench.journal.append([forgotten(wanted)]);
    await bench.until(() => bench.durable >= wanted || bench.rooms.length > before);
    if (bench.rooms.length > before) {
      if (bench.rooms.at(-1) === 'low') await bench.until(() => bench.durable >= wanted);
      return wanted;
    }
  }
}

test('on a full disk the journal uses what it has set aside, then waits, and goes on when there is room', async (t) => {
  const bench = await open(t, 2_000);
  await fill(bench);
  t.deepEqual(bench.rooms, ['low'], 'the record that found no room is written all the same');
  const last = await fill(bench);
  t.deepEqual(bench.rooms, ['low', 'full']);
  t.is(bench.durable, last - 1);
  bench.journal.append([forgotten(last + 1)]);
  bench.clock.advance(5_000);
  t.is(bench.durable, last - 1, 'nothing is durable while there is no room');
  bench.disk.taken = -10_000;
  await bench.pass(() => bench.durable === last + 1);
  await bench.pass(() => bench.rooms.at(-1) === 'roomy');
  t.deepEqual(bench.rooms, ['low', 'full', 'low', 'roomy']);
  t.deepEqual(bench.failures, []);
  await bench.journal.close();

  const again = await openJournal({ ...silent, path: bench.path });
  t.deepEqual(
    numbersIn(again),
    Array.from({ length: last + 1 }, (_, index) => index + 1),
  );
  t.is(again.tornBytes, 0);
  await again.close();
});

const silent = { onDurable: () => {}, takeSnapshot: () => ({}), onFailure: () => {} };

test('what a full disk cut off is what a crash leaves: the records before it are there', async (t) => {
  const bench = await open(t, 2_000);
  await fill(bench);
  const last = await fill(bench);
  await bench.journal.close();
  const again = await openJournal({ ...silent, path: bench.path });
  t.is(numbersIn(again).length, last - 1);
  await again.close();
});

test('an agent that starts on a full disk knows it, and recovers when there is room', async (t) => {
  const bench = await open(t, 500);
  t.deepEqual(bench.rooms, ['low']);
  bench.disk.taken = -10_000;
  await bench.pass(() => bench.rooms.length > 1);
  t.deepEqual(bench.rooms, ['low', 'roomy']);
});

test('so does one that starts where no file can be made for what is to be set aside', async (t) => {
  const disk = new SmallDisk(10_000);
  const first = await open(t, 0, { disk });
  await first.journal.close();
  rmSync(`${first.path}.reserve`);
  disk.namesAreUsedUp = true;
  const rooms: DiskRoom[] = [];
  const clock = new ManualClock();
  const again = await openJournal({
    ...silent,
    path: first.path,
    disk,
    clock,
    reserveBytes: 1_000,
    onRoom: (room) => rooms.push(room),
  });
  t.deepEqual(rooms, ['low']);
  await again.close();
});

test('a compaction that finds no room is put off, and no record is lost by it', async (t) => {
  const bench = await open(t, 1_320, { compactAboveBytes: 300 });
  let written = 0;
  while (statSync(bench.path).size <= 300) {
    written += 1;
    bench.journal.append([forgotten(written)]);
    await bench.until(() => bench.durable === written);
  }
  bench.disk.taken = 1_320 - 1_000 - statSync(bench.path).size;
  await fill(bench);
  t.deepEqual(bench.rooms, ['low']);
  await bench.journal.close();
  const again = await openJournal({ ...silent, path: bench.path });
  t.is(numbersIn(again).length, bench.durable);
  await again.close();
});

test('nor by one for which no file can be made', async (t) => {
  const bench = await open(t, 10_000, { compactAboveBytes: 300 });
  bench.disk.namesAreUsedUp = true;
  for (let written = 1; written <= 40; written += 1) {
    bench.journal.append([forgotten(written)]);
    await bench.until(() => bench.durable === written || bench.failures.length > 0);
  }
  t.deepEqual(bench.failures, []);
  t.true(statSync(bench.path).size > 300);
  await bench.journal.close();
  const again = await openJournal({ ...silent, path: bench.path });
  t.is(numbersIn(again).length, 40);
  await again.close();
});

for (const code of ['EIO', 'EROFS']) {
  test(`a disk that fails with ${code} ends the agent with a message that says what to do`, async (t) => {
    const bench = await open(t, 10_000);
    bench.disk.broken = code;
    bench.journal.append([forgotten(1)]);
    await bench.until(() => bench.failures.length > 0);
    t.regex(bench.failures[0] ?? '', new RegExp(`Cannot write the journal .*${code}.*then start the agent again`));
    t.is(bench.durable, 0);
  });
}

function mountSmall(folder: string): void {
  mkdirSync(folder);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4m,mode=755', 'tmpfs', folder], { stdio: 'ignore' });
}

/** Not everybody may mount, nor root everywhere. */
function mayMount(): boolean {
  const folder = mkdtempSync(join(tmpdir(), 'mesobus-mount-'));
  try {
    mountSmall(join(folder, 'small'));
    execFileSync('umount', ['-l', join(folder, 'small')]);
    return true;
  } catch {
    return false;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const onSmallDisk = mayMount() ? test : test.skip;

onSmallDisk(
  'an agent on a full disk starts nothing, looks after what runs, and goes on when there is room',
  async (t) => {
    const folder = join(tempWorkDir(t), 'small');
    mountSmall(folder);
    t.teardown(() => execFileSync('umount', ['-l', folder]));
    const bench = new AgentBench(t, folder);
    const { leader } = bench;
    const agent = await bench.start();
    const launch = async (taskId: string, value: string): Promise<mesobus.v1.TaskUpdate> => {
      await leader.command((number) => run(number, taskId, { task: { command: { value } } }));
      const isOver = ({ status }: mesobus.v1.TaskUpdate): boolean =>
        status?.taskId.value === taskId && (isTerminal(status.state) || status.state === TaskState.TASK_RUNNING);
      await leader.until(() => leader.updates.some(isOver));
      return leader.updates.findLast(isOver) as mesobus.v1.TaskUpdate;
    };
    /** Launches until one has come to what is expected. */
    const until = async (prefix: string, state: keyof typeof TaskState): Promise<string> => {
      for (let count = 0; ; count += 1) {
        const { status } = await launch(`${prefix}${count}`, 'exec sleep 60');
        if (status?.state === TaskState[state]) return status.message ?? '';
      }
    };
    t.is((await launch('before', 'exec sleep 60')).status?.state, TaskState.TASK_RUNNING);
    const ballast = join(folder, 'ballast');
    for (let bytes = 1 << 20; bytes >= 1; ) {
      try {
        appendFileSync(ballast, Buffer.alloc(bytes));
      } catch {
        bytes >>= 1;
      }
    }
    t.regex(await until('during', 'TASK_LOST'), /disk of the agent is full/);
    await leader.command((number) => kill(number, 'before'));
    t.is((await leader.end('before')).status?.state, TaskState.TASK_KILLED);
    rmSync(ballast);
    await until('after', 'TASK_RUNNING');
    t.deepEqual(bench.stops, []);
    agent.shutdown('nothing may be left running'); // sees to its tasks
    await leader.until(() => leader.unregistered);
  },
);
