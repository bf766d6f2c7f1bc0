import { execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { decode, encode, mesobus } from '@mesobus/protos';
import { RefusedError } from '@mesobus/sdk/errors';
import test, { type ExecutionContext } from 'ava';
import { answerFileRequest } from '../../src/shell/files.ts';
import { tail } from '../../src/shell/streams/tail.ts';

const task = { frameworkId: 'F', taskId: 't' };

/** Sandboxes of frameworks F and G, with what is in them. */
function setUp(t: ExecutionContext) {
  const root = mkdtempSync(join(tmpdir(), 'mesobus-files-'));
  t.teardown(() => rmSync(root, { recursive: true, force: true }));
  const sandboxes = join(root, 'sandboxes');
  const [own, shared, others] = ['F/t/c1', 'F/pod/c2', 'G/t/c3'].map((path) => join(sandboxes, path)) as [
    string,
    string,
    string,
  ];
  for (const folder of [own, shared, others]) mkdirSync(folder, { recursive: true });
  let known: string | undefined;
  const ask = async (request: mesobus.v1.FileRequest.$Properties): Promise<mesobus.v1.FileReply> => {
    const message = decode(mesobus.v1.FileRequest, encode(mesobus.v1.FileRequest, { task, ...request }));
    const options = { sandboxes, sandboxOf: () => known, isAlive: () => true };
    const reply = await answerFileRequest(options, message);
    return decode(mesobus.v1.FileReply, encode(mesobus.v1.FileReply, reply));
  };
  const refusal = async (path: string): Promise<string> => {
    try {
      await ask({ path, read: {} });
      return 'none';
    } catch (error) {
      return error instanceof RefusedError ? error.code : String(error);
    }
  };
  const know = (sandbox: string): void => {
    known = sandbox;
  };
  return { root, own, shared, others, ask, refusal, know };
}

/** Follows a file as an operator does. */
class Follower {
  text = '';
  #position = { offset: 0, fileId: '' };
  readonly #ask: ReturnType<typeof setUp>['ask'];

  constructor(ask: ReturnType<typeof setUp>['ask']) {
    this.#ask = ask;
  }

  async readAll(length = 0): Promise<string> {
    for (;;) {
      const { data } = await this.#ask({ path: 'stdout', read: { ...this.#position, length } });
      if (!data) throw new Error('no data');
      this.#position = { offset: data.offset + data.data.length, fileId: data.fileId };
      if (data.data.length === 0) return this.text;
      this.text += Buffer.from(data.data).toString();
    }
  }
}

const rotate = (folder: string): void => renameSync(join(folder, 'stdout'), join(folder, 'stdout.1'));

test('a file that is rotated while it is followed is read to its end, and then the next one', async (t) => {
  const { own, ask } = setUp(t);
  const file = join(own, 'stdout');
  writeFileSync(file, 'one ');
  const follower = new Follower(ask);
  await follower.readAll();
  appendFileSync(file, 'two ');
  rotate(own);
  t.is(await follower.readAll(), 'one two ', 'there is no next one yet');
  writeFileSync(file, 'three ');
  t.is(await follower.readAll(2), 'one two three ');
  appendFileSync(file, 'four');
  t.is(await follower.readAll(), 'one two three four');
});

test('who is two rotations late goes on with what is there; a file that became shorter is read anew', async (t) => {
  const { own, ask } = setUp(t);
  const file = join(own, 'stdout');
  writeFileSync(file, 'one ');
  const follower = new Follower(ask);
  await follower.readAll();
  for (const text of ['two ', 'three ']) {
    rotate(own);
    writeFileSync(file, text);
  }
  t.is(await follower.readAll(), 'one three ');
  truncateSync(file, 0);
  appendFileSync(file, '4');
  t.is(await follower.readAll(), 'one three 4');
});

test('links lead to what tasks of the same framework have, and no further', async (t) => {
  const { root, own, shared, others, refusal } = setUp(t);
  writeFileSync(join(root, 'secret'), 'x');
  writeFileSync(join(shared, 'data'), 'x');
  writeFileSync(join(others, 'stdout'), 'x');
  symlinkSync(join(shared, 'data'), join(own, 'to-shared'));
  symlinkSync(join(others, 'stdout'), join(own, 'to-others'));
  symlinkSync(join(root, 'secret'), join(own, 'to-secret'));
  symlinkSync('/dev/zero', join(own, 'to-device'));
  t.is(await refusal('to-shared'), 'none');
  for (const path of ['to-others', 'to-secret', 'to-device', '../../../G/t/c3/stdout', '/etc/passwd']) {
    t.is(await refusal(path), 'path_forbidden', path);
  }
  t.is(await refusal('missing'), 'path_unknown');
});

test('a folder is listed with sizes, times and modes; that of a task is the latest, or the one that is known', async (t) => {
  const { own, shared, ask, know } = setUp(t);
  writeFileSync(join(own, 'stdout'), 'hello', { mode: 0o640 });
  writeFileSync(join(shared, 'of-the-executor'), '');
  const [entry] = (await ask({ path: '', list: {} })).list?.entries ?? [];
  t.like(entry, { name: 'stdout', size: 5, directory: false });
  t.is((entry?.mode ?? 0) & 0o777, 0o640);
  t.true((entry?.modifiedAtMs ?? 0) > 0);
  know('F/pod/c2');
  t.is((await ask({ path: '', list: {} })).list?.entries[0]?.name, 'of-the-executor');
});

test('a FIFO is refused without a word to who waits at its other end', async (t) => {
  const { own, refusal } = setUp(t);
  const fifo = join(own, 'fifo');
  execFileSync('mkfifo', [fifo]);
  const writer = spawn('sh', ['-c', 'echo ready; echo said >"$0"', fifo], { stdio: ['ignore', 'pipe', 'ignore'] });
  await once(writer.stdout, 'data');
  t.is(await refusal('fifo'), 'path_forbidden');
  t.is(await refusal('fifo'), 'path_forbidden');
  t.is((await promisify(execFile)('cat', [fifo], { timeout: 5_000 })).stdout, 'said\n');
});

test('whoever is attached hears what is written from then on, also if it is read later', async (t) => {
  const path = join(setUp(t).own, 'stdout');
  writeFileSync(path, 'before');
  const stream = tail(path, () => true, new AbortController().signal);
  appendFileSync(path, ' after');
  t.is(Buffer.concat(await stream.toArray()).toString(), ' after');
});
