import { randomUUID } from 'node:crypto';
import { type mesobus, mesos } from '@mesobus/protos';
import { RefusedError } from '@mesobus/sdk/errors';
import test, { type ExecutionContext } from 'ava';
import { type Command, kill, run } from '../world.ts';
import { Bench } from './bench.ts';

type Request = Omit<mesobus.v1.SessionRequest.$Properties, 'sessionId'>;
type Kind = 'exec' | 'attach';

const task = { frameworkId: 'F', taskId: 't1' };
const shell =
  (value: string, taskId = 't1') =>
  (number: number): Command =>
    run(number, taskId, { task: { command: { value } } });

/** An agent on which a task runs. */
async function running(t: ExecutionContext, command = 'exec sleep 600'): Promise<Bench> {
  const bench = new Bench(t);
  await bench.start();
  await bench.leader.command(shell(command));
  await bench.leader.update('t1', 'TASK_RUNNING');
  return bench;
}

/** What somebody does who has a session. */
class Visitor {
  readonly id = randomUUID();
  received = 0;
  stdout = '';
  stderr = '';
  end: mesobus.v1.SessionEnd | undefined;
  readonly #bench: Bench;
  readonly #kind: Kind;
  readonly #principal: string;

  constructor(bench: Bench, kind: Kind = 'exec', principal = 'ops') {
    this.#bench = bench;
    this.#kind = kind;
    this.#principal = principal;
  }

  async ask(request: Request): Promise<mesobus.v1.SessionReply> {
    const { subjects, operator } = this.#bench;
    const channel = this.#kind === 'exec' ? subjects.agentExec('a') : subjects.agentAttach('a');
    const message = { sessionId: this.id, ...request };
    return (await operator.request(channel.of(this.#principal), message, { timeoutMs: 20_000 })).message;
  }

  async exec(script: string, more: mesobus.v1.StartCommand.$Properties = {}): Promise<this> {
    await this.ask({ start: { task, argv: ['sh', '-c', script], ...more } });
    return this;
  }

  async read(waitMs = 5_000): Promise<mesobus.v1.OutputPiece> {
    const { output } = await this.ask({ read: { received: this.received, waitMs } });
    if (!output) throw new Error('no output');
    if (output.number > this.received) {
      this.received = output.number;
      this.stdout += Buffer.from(output.stdout).toString();
      this.stderr += Buffer.from(output.stderr).toString();
      this.end = output.end ?? undefined;
    }
    return output;
  }

  async until(isSo: () => boolean): Promise<this> {
    while (!isSo()) await this.read();
    return this;
  }

  untilEnd = (): Promise<this> => this.until(() => this.end !== undefined);

  async write(number: number, text: string, end = false): Promise<number> {
    const { input } = await this.ask({ write: { number, data: Buffer.from(text), end } });
    return input?.number ?? -1;
  }
}

const refusal = async (asked: Promise<unknown>): Promise<string> => {
  try {
    await asked;
    return 'none';
  } catch (error) {
    return error instanceof RefusedError ? error.code : String(error);
  }
};

test('a command runs in the container of a task: its environment, its streams apart, its exit status', async (t) => {
  const bench = await running(t);
  const visitor = await new Visitor(bench).exec('echo "$MESOS_TASK_ID $COLOR"; pwd; echo bad >&2; exit 7', {
    environment: { COLOR: 'red' },
  });
  await visitor.untilEnd();
  t.is(visitor.stdout, `t1 red\n${bench.sandbox('t1')}\n`);
  t.is(visitor.stderr, 'bad\n');
  t.is(visitor.end?.status, 7 << 8);
});

test('input reaches the command in order and once, however often a piece is sent; its end ends the input', async (t) => {
  const visitor = await new Visitor(await running(t)).exec('cat; echo done', { interactive: true });
  t.is(await visitor.write(1, 'one\n'), 1);
  t.is(await visitor.write(1, 'one\n'), 1);
  t.is(await visitor.write(2, 'two\n', true), 2);
  await visitor.untilEnd();
  t.is(visitor.stdout, 'one\ntwo\ndone\n');
  t.is(await refusal(visitor.write(9, 'late')), 'call_invalid');
});

test('a command that is not interactive reads nothing', async (t) => {
  const visitor = await new Visitor(await running(t)).exec('cat; echo done');
  t.is(await refusal(visitor.write(1, 'x')), 'call_invalid');
  t.is((await visitor.untilEnd()).stdout, 'done\n');
});

test('a piece of output that was lost on its way comes again', async (t) => {
  const visitor = await new Visitor(await running(t)).exec('echo one; read x; echo two', { interactive: true });
  const first = await visitor.read();
  visitor.received = 0;
  const again = await visitor.read();
  t.deepEqual([again.number, Buffer.from(again.stdout).toString()], [first.number, 'one\n']);
  await visitor.write(1, '\n');
  await visitor.untilEnd();
  t.is(visitor.stdout, 'one\none\ntwo\n');
});

test('what nobody asks for is not written: the command waits, and nothing is lost', async (t) => {
  const bench = await running(t);
  const bytes = 4_000_000;
  const visitor = await new Visitor(bench).exec(`head -c ${bytes} /dev/zero | tr '\\0' x; echo >&2 over`);
  await visitor.read();
  const other = await new Visitor(bench).exec('cat /proc/[0-9]*/comm | grep -cx tr');
  await other.untilEnd();
  t.not(other.stdout, '0\n', 'it still writes');
  let most = 0;
  while (visitor.end === undefined) {
    const { stdout } = await visitor.read();
    most = Math.max(most, stdout.length);
  }
  t.is(visitor.stdout.length, bytes);
  t.true(most <= 65_536);
});

test('a command that does not read is not sent more than there is room for', async (t) => {
  const visitor = await new Visitor(await running(t)).exec('read go; exec wc -c', { interactive: true });
  const piece = 'x'.repeat(65_535);
  let number = 0;
  let taken = 0;
  // Full pipes are found by the first piece that is not taken.
  while (number === taken && number < 100) {
    number += 1;
    taken = await visitor.write(number, number === 1 ? `go\n${piece.slice(3)}` : piece);
    if (number === 1) await visitor.write(1, '');
  }
  t.true(number <= 100);
  for (; taken < number; ) taken = await visitor.write(number, piece);
  await visitor.write(number + 1, '', true);
  await visitor.untilEnd();
  t.is(Number(visitor.stdout), number * piece.length - 3);
});

test('a terminal has its size, which changes, and Ctrl-C reaches the command', async (t) => {
  const visitor = await new Visitor(await running(t)).exec(
    "trap 'stty size' WINCH; trap 'echo stopped; exit 3' INT; stty size; while :; do sleep 0.1; done",
    { interactive: true, terminal: { rows: 33, columns: 99 } },
  );
  await visitor.until(() => visitor.stdout.includes('33 99'));
  await visitor.ask({ resize: { rows: 40, columns: 120 } });
  await visitor.until(() => visitor.stdout.includes('40 120'));
  await visitor.write(1, '\u0003');
  await visitor.untilEnd();
  t.true(visitor.stdout.includes('stopped'));
  t.is(visitor.end?.status, 3 << 8);
});

test('closing a session ends its command, and nobody else may speak in it', async (t) => {
  const bench = await running(t);
  const visitor = await new Visitor(bench).exec('echo $$; exec sleep 600');
  await visitor.until(() => visitor.stdout !== '');
  const pid = Number(visitor.stdout);
  const stranger = new Visitor(bench, 'exec', 'somebody else');
  Object.assign(stranger, { id: visitor.id });
  t.is(await refusal(stranger.ask({ close: {} })), 'session_unknown');
  t.notThrows(() => process.kill(pid, 0));
  await visitor.ask({ close: {} });
  t.is(await refusal(visitor.read()), 'session_unknown');
  const look = await new Visitor(bench).exec(`while kill -0 ${pid} 2>/dev/null; do sleep 0.02; done`);
  t.is((await look.untilEnd()).end?.status, 0);
});

test('a start that is repeated starts nothing twice', async (t) => {
  const visitor = await new Visitor(await running(t)).exec('echo ran >> runs; cat runs; sleep 600');
  await visitor.exec('echo ran >> runs');
  await visitor.until(() => visitor.stdout !== '');
  t.is(visitor.stdout, 'ran\n');
});

test('a task that does not run, or is paused, cannot be entered; a command that is not there says so', async (t) => {
  const bench = await running(t);
  const visitor = new Visitor(bench);
  const other = { frameworkId: 'F', taskId: 'none' };
  t.is(await refusal(visitor.ask({ start: { task: other, argv: ['true'] } })), 'not_running');
  t.is(await refusal(visitor.ask({ start: { task, argv: [] } })), 'call_invalid');
  const missing = new Visitor(bench);
  await missing.ask({ start: { task, argv: ['/no/such/file'] } });
  t.regex((await missing.untilEnd()).end?.failure ?? '', /no such file/);
  await bench.leader.command((number) => ({ number, pauseTask: { task } }));
  t.is(await refusal(visitor.exec('true')), 'not_running');
  await bench.leader.command((number) => kill(number, 't1'));
  await bench.leader.end('t1');
  t.is(await refusal(visitor.exec('true')), 'not_running');
});

test('the end of the task ends what runs beside it', async (t) => {
  const bench = await running(t);
  const visitor = await new Visitor(bench).exec('echo up; exec sleep 600');
  await visitor.until(() => visitor.stdout === 'up\n');
  await bench.leader.command((number) => kill(number, 't1', 0));
  t.like(await visitor.untilEnd(), { end: { status: 9 } });
});

test('whoever is attached sees what is written from then on, until the task ends', async (t) => {
  const bench = await running(t, 'echo before; while [ ! -e go ]; do sleep 0.05; done; echo after; echo bad >&2');
  while (bench.read('t1', 'stdout') === '') await new Promise((resolve) => setTimeout(resolve, 20));
  const visitor = new Visitor(bench, 'attach');
  await visitor.ask({ attach: { task } });
  const toucher = await new Visitor(bench).exec('touch go');
  await toucher.untilEnd();
  await visitor.untilEnd();
  t.is(visitor.stdout, 'after\n');
  t.is(visitor.stderr, 'bad\n');
  t.is(visitor.end?.status, 0);
});

test('a task without a terminal cannot be typed on', async (t) => {
  const visitor = new Visitor(await running(t), 'attach');
  t.is(await refusal(visitor.ask({ attach: { task, interactive: true } })), 'call_invalid');
});

test('what is typed reaches the terminal of a task, which has the size of the one who is attached', async (t) => {
  const bench = new Bench(t);
  await bench.start();
  const container = { type: mesos.v1.ContainerInfo.Type.MESOS, ttyInfo: { windowSize: { rows: 10, columns: 20 } } };
  const command = { value: "trap 'stty size' WINCH; echo up; while read -r line; do echo got $line; done; exit 4" };
  await bench.leader.command((number) => run(number, 't1', { task: { command, container } }));
  await bench.leader.update('t1', 'TASK_RUNNING');
  while (bench.read('t1', 'stdout') === '') await new Promise((resolve) => setTimeout(resolve, 20));
  const visitor = new Visitor(bench, 'attach');
  await visitor.ask({ attach: { task, interactive: true } });
  await visitor.write(1, 'hello\n');
  await visitor.until(() => visitor.stdout.includes('got hello'));
  await visitor.ask({ resize: { rows: 33, columns: 99 } });
  await visitor.write(2, '\n'); // a shell hears of it when it has read
  await visitor.until(() => visitor.stdout.includes('33 99'));
  await visitor.write(3, '\u0004');
  await visitor.untilEnd();
  t.regex((await bench.leader.end('t1')).status?.message ?? '', /status 4/);
});

test('a task that is paused stands still, also when its agent is started again, goes on, and can be killed', async (t) => {
  const bench = await running(t, 'while :; do echo x; sleep 0.01; done');
  const size = (): number => bench.read('t1', 'stdout').length;
  const grows = async (): Promise<boolean> => {
    const before = size();
    for (let looks = 0; looks < 25 && size() === before; looks += 1) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return size() > before;
  };
  const said = (value: string | undefined): boolean =>
    bench.leader.updates.some(
      ({ number, status }) =>
        number > 2 && status?.labels?.labels?.find(({ key }) => key === 'mesobus.paused')?.value === value,
    );
  t.true(await grows());
  await bench.leader.command((number) => ({ number, pauseTask: { task } }));
  await bench.leader.until(() => said('true'));
  await grows(); // what was on its way
  t.false(await grows());
  await bench.stop();
  await bench.start();
  t.false(await grows());
  await bench.leader.command((number) => ({ number, resumeTask: { task } }));
  await bench.leader.until(() => said(undefined));
  t.true(await grows());
  await bench.leader.command((number) => ({ number, pauseTask: { task } }));
  await bench.leader.command((number) => kill(number, 't1'));
  const { status } = await bench.leader.end('t1');
  t.is(status?.message, 'Command terminated with signal SIGTERM');
});
