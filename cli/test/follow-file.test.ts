import { mesobus } from '@mesobus/protos';
import { NoRespondersError, RefusedError } from '@mesobus/sdk/errors';
import test from 'ava';
import { OutputRelay } from '../src/one-shot/output-relay.ts';
import { followFile, OutputLostError } from '../src/sandbox/follow-file.ts';
import type { SandboxReader } from '../src/sandbox/sandbox-reader.ts';

const task = { frameworkId: 'f', taskId: 't', agentId: 'a' };

/** A file of text that grows, read in pieces of two bytes. */
class GrowingFile {
  text = '';
  ended = false;
  failure: Error | undefined;

  readonly reader: Pick<SandboxReader, 'read'> = {
    read: async (_task, _path, offset) => {
      if (this.failure !== undefined) throw this.failure;
      const data = Buffer.from(this.text.slice(offset, offset + 2));
      return new mesobus.v1.FileData({ offset, size: this.text.length, data, ended: this.ended });
    },
  };

  /** Reads to the end; `onPause` decides what happens meanwhile. */
  async follow(onPause: () => void): Promise<string> {
    const hasEnded = (): boolean => this.ended;
    const pause = async (): Promise<void> => onPause();
    let text = '';
    const pieces = followFile(this.reader, task, 'stdout', { hasEnded, pause, patienceMs: 0 });
    for await (const piece of pieces) text += Buffer.from(piece).toString();
    return text;
  }
}

test('what is written between the last look and the end of the task is read too', async (t) => {
  const file = new GrowingFile();
  file.text = 'hello';
  const text = await file.follow(() => {
    file.text += ' world';
    file.ended = true;
  });
  t.is(text, 'hello world');
});

test('the rest of a file that was rotated comes before the next one, also when the task has ended meanwhile', async (t) => {
  const files = { old: 'one two ', new: 'three' };
  const asked: string[] = [];
  const reader: Pick<SandboxReader, 'read'> = {
    read: async (_task, _path, offset, fileId = '') => {
      asked.push(`${fileId}:${offset}`);
      const isOld = fileId === '' || (fileId === 'old' && offset < files.old.length);
      const [name, from] = isOld ? (['old', offset] as const) : (['new', fileId === 'new' ? offset : 0] as const);
      const data = Buffer.from(files[name].slice(from));
      return new mesobus.v1.FileData({ offset: from, size: files[name].length, data, fileId: name });
    },
  };
  let text = '';
  for await (const piece of followFile(reader, task, 'stdout', { hasEnded: () => true, pause: async () => {} })) {
    text += Buffer.from(piece).toString();
  }
  t.is(text, 'one two three');
  t.deepEqual(asked, [':0', 'old:8', 'new:5']);
});

test('a file that comes late is waited for', async (t) => {
  const file = new GrowingFile();
  file.failure = new RefusedError('path_unknown', 'stdout');
  let pauses = 0;
  const text = await file.follow(() => {
    pauses += 1;
    if (pauses < 3) return;
    file.failure = undefined;
    file.text = 'late';
    file.ended = true;
  });
  t.is(text, 'late');
});

test('a task that ended without the file has written nothing', async (t) => {
  const file = new GrowingFile();
  file.failure = new RefusedError('path_unknown', 'stdout');
  file.ended = true;
  t.is(await file.follow(() => undefined), '');
});

test('an agent that is away while the task runs is waited for', async (t) => {
  const file = new GrowingFile();
  file.failure = new NoRespondersError('agent');
  const text = await file.follow(() => {
    file.failure = undefined;
    file.text = 'back';
    file.ended = true;
  });
  t.is(text, 'back');
});

test('an agent that stays away after the end of the task is given up, and that is said', async (t) => {
  const file = new GrowingFile();
  file.failure = new NoRespondersError('agent');
  file.ended = true;
  const until = performance.now() + 1000;
  await t.throwsAsync(
    file.follow(() => {
      if (performance.now() > until) throw new Error('not given up');
    }),
    { instanceOf: OutputLostError, message: /from byte 0 on: its agent a is away/ },
  );
});

test('a file that may not be read is refused at once', async (t) => {
  const file = new GrowingFile();
  file.failure = new RefusedError('path_forbidden', 'stdout');
  await t.throwsAsync(
    file.follow(() => t.fail()),
    { instanceOf: RefusedError },
  );
});

test('several tasks have whole lines relayed, each with its name', async (t) => {
  const file = new GrowingFile();
  file.text = 'one\ntwo';
  const out: string[] = [];
  const write = async (_task: unknown, stream: string, piece: Uint8Array): Promise<void> => {
    if (stream === 'stdout') out.push(Buffer.from(piece).toString());
  };
  const options = { lines: true, prefixOf: (id: string) => `[${id}] ` };
  const relay = new OutputRelay(file.reader, { write, complain: (problem) => t.fail(problem) }, options);
  relay.started(task);
  relay.started(task);
  relay.ended('t');
  await relay.idle();
  t.is(out.join(''), '[t] one\n[t] two\n');
});
