import { constants } from 'node:os';
import type { ContainerSession, Operator, SessionEnd, TaskKey, TerminalSize } from '@mesobus/sdk/operator';
import { isEndState } from '@mesobus/sdk/scheduler';
import { Command } from 'commander';
import { CommandError } from '../command-error.ts';
import { DetachKeys } from '../container/detach-keys.ts';
import { findTask } from '../find-task.ts';
import { exitCodeOf } from '../one-shot/exit-code.ts';
import { type Streams, writeTo } from '../output/streams.ts';
import { withOperator } from '../with-operator.ts';
import { type ClusterFlags, keyValue, withConnection } from './options.ts';

interface ExecFlags extends ClusterFlags {
  readonly interactive?: boolean;
  readonly tty?: boolean;
  readonly env?: Readonly<Record<string, string>>;
}

interface AttachFlags extends ClusterFlags {
  readonly interactive?: boolean;
}

/** What a terminal sends for the end of what is typed. */
const endOfTransmission = Uint8Array.of(4);
const usualSize: TerminalSize = { rows: 24, columns: 80 };
const lookMs = 100;
const patienceMs = 5_000;

/** `exec` and `attach`: they tell `exit` what a shell would. */
export function containerCommands(streams: Streams, exit: (code: number) => void): Command[] {
  const exec = new Command('exec')
    .description('run a command in the container of a running task; its exit code is that of the command')
    .argument('<task>', 'its id, or <framework>/<task>; beginnings will do')
    .argument('<command...>', 'a program with its arguments')
    .passThroughOptions()
    .option('-i, --interactive', 'pass on the standard input; otherwise its input is empty')
    .option('-t, --tty', 'give it a terminal; its errors come with its output then')
    .option('-e, --env <NAME=value>', 'in its environment; may be given again', keyValue)
    .addHelpText('after', '\nCtrl-C ends the command; so does the loss of the connection.')
    .action(async (wanted: string, words: string[], flags: ExecFlags) => {
      const command = wordsOf(words);
      exit(await withOperator(flags, (operator) => execIn(operator, streams, wanted, command, flags)));
    });
  const attach = new Command('attach')
    .description('print what a running task writes from now on, until it ends; the exit code is what became of it')
    .argument('<task>', 'its id, or <framework>/<task>; beginnings will do')
    .option('-i, --interactive', 'type on its terminal (it needs a tty_info); Ctrl-P Ctrl-Q leaves it')
    .addHelpText('after', '\nCtrl-C ends the reading, not the task.')
    .action(async (wanted: string, flags: AttachFlags) => {
      exit(await withOperator(flags, (operator) => attachTo(operator, streams, wanted, flags)));
    });
  return [exec, attach].map(withConnection);
}

/** The task comes before the `--` that may stand before the command. */
function wordsOf(words: readonly string[]): [string, ...string[]] {
  const [first = '', ...rest] = words[0] === '--' ? words.slice(1) : words;
  if (first === '') throw new CommandError('Cannot run a command: there is none; write it behind the task', 2);
  return [first, ...rest];
}

async function execIn(
  operator: Operator,
  streams: Streams,
  wanted: string,
  command: [string, ...string[]],
  flags: ExecFlags,
): Promise<number> {
  const task = await findTask(operator, wanted, { includeEnded: false });
  const { interactive = false, tty = false, env = {} } = flags;
  const term = process.env['TERM'];
  await using session = await operator.exec(keyOf(task), {
    ...{ command, interactive },
    environment: { ...(tty && term !== undefined && { TERM: term }), ...env },
    ...(tty && { terminal: sizeOf(process.stdout) }),
  });
  const end = await talk(session, streams, { interactive, tty });
  return end === 'left' ? 128 + constants.signals.SIGINT : exitCodeOfEnd(end, command[0]);
}

async function attachTo(operator: Operator, streams: Streams, wanted: string, flags: AttachFlags): Promise<number> {
  const task = await findTask(operator, wanted, { includeEnded: false });
  const { interactive = false } = flags;
  await using session = await operator.attach(keyOf(task), { interactive });
  if (interactive && process.stdout.isTTY) await session.resize(sizeOf(process.stdout));
  const end = await talk(session, streams, { interactive, tty: interactive, detachKeys: new DetachKeys() });
  return end === 'left' ? 0 : whatBecameOf(operator, keyOf(task));
}

const keyOf = ({ frameworkId, id }: { frameworkId: string; id: string }): TaskKey => ({ frameworkId, taskId: id });

function exitCodeOfEnd(end: SessionEnd, program: string): number {
  if (end.kind === 'exited') return end.exitCode;
  if (end.kind === 'signalled') return 128 + end.number;
  throw new CommandError(`Cannot run '${program}' in the container: ${end.message}`, 127);
}

/** Its last status comes a moment after its last word. */
async function whatBecameOf(operator: Operator, { frameworkId, taskId }: TaskKey): Promise<number> {
  for (const deadline = performance.now() + patienceMs; performance.now() < deadline; ) {
    for await (const { state, status } of operator.tasks({ frameworkId, taskId, includeEnded: true })) {
      if (isEndState(state)) return exitCodeOf({ state, message: status?.message ?? '' });
    }
    await new Promise((resolve) => setTimeout(resolve, lookMs));
  }
  return 1;
}

interface Talk {
  readonly interactive: boolean;
  /** What is typed goes as it is, with the size of the window. */
  readonly tty: boolean;
  readonly detachKeys?: DetachKeys;
}

/** Passes on everything both ways until the session ends, or whoever sits here leaves it. */
async function talk(session: ContainerSession, streams: Streams, options: Talk): Promise<SessionEnd | 'left'> {
  const left = Promise.withResolvers<'left'>();
  const undo = listen(session, options, () => left.resolve('left'));
  const reading = relay(session, streams);
  reading.catch(() => {}); // it is told by the race, or of no interest
  try {
    return await Promise.race([reading, left.promise]);
  } finally {
    undo();
  }
}

async function relay(session: ContainerSession, streams: Streams): Promise<SessionEnd> {
  const output = session.output();
  for (;;) {
    const next = await output.next();
    if (next.done) return next.value;
    const { stream, data } = next.value;
    await writeTo(stream === 'stdout' ? streams.out : streams.err, data);
  }
}

/** Gives the call that makes the terminal here what it was. */
function listen(session: ContainerSession, { interactive, tty, detachKeys }: Talk, leave: () => void): () => void {
  const { stdin, stdout } = process;
  const raw = tty && interactive && stdin.isTTY;
  const onResize = (): void => void session.resize(sizeOf(stdout)).catch(() => {});
  if (raw) stdin.setRawMode(true);
  if (tty) stdout.on('resize', onResize);
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, leave);
  if (interactive) void passOn(session, tty, detachKeys, leave).catch(() => {}); // then the output ends, and says why
  return () => {
    if (raw) stdin.setRawMode(false);
    if (interactive) stdin.destroy();
    stdout.off('resize', onResize);
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.off(signal, leave);
  };
}

async function passOn(
  session: ContainerSession,
  tty: boolean,
  detachKeys: DetachKeys | undefined,
  leave: () => void,
): Promise<void> {
  for await (const typed of process.stdin as AsyncIterable<Uint8Array>) {
    const { data, detached } = detachKeys?.take(typed) ?? { data: typed, detached: false };
    if (data.length > 0) await session.write(data);
    if (detached) return leave();
  }
  if (tty) await session.write(endOfTransmission);
  else await session.endInput();
}

const sizeOf = ({ rows, columns }: Pick<NodeJS.WriteStream, 'rows' | 'columns'>): TerminalSize => ({
  rows: rows || usualSize.rows,
  columns: columns || usualSize.columns,
});
