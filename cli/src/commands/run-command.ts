import { randomBytes } from 'node:crypto';
import { constants } from 'node:os';
import path from 'node:path';
import { resources } from '@mesobus/sdk/resources';
import { startTracing } from '@mesobus/sdk/service';
import { Command } from 'commander';
import { connectCluster } from '../connect-cluster.ts';
import { OneShot, type OneShotReport, type OneShotRequest, type OneShotResult } from '../one-shot/one-shot.ts';
import { type Streams, writeTo } from '../output/streams.ts';
import { amount, type ClusterFlags, duration, keyValue, wholeNumber, withConnection, withJson } from './options.ts';

interface RunFlags extends ClusterFlags {
  readonly cpus: number;
  readonly mem: number;
  readonly disk?: number;
  readonly count: number;
  readonly name?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly role: string;
  readonly user?: string;
  readonly prefix: boolean;
  readonly timeout?: number;
}

/** `run`: tells `exit` what a shell would. */
export function runCommand(streams: Streams, exit: (code: number) => void): Command {
  const command = new Command('run')
    .description('run a command as a task, or as many; its output comes here')
    .argument('<command...>', 'a program with its arguments, or one word: a line for the shell')
    .passThroughOptions()
    .option('--cpus <number>', 'of each task', amount, 0.1)
    .option('--mem <MB>', 'of each task', amount, 32)
    .option('--disk <MB>', 'of each task', amount)
    .option('--count <number>', 'how many tasks', wholeNumber(1, 100_000), 1)
    .option('--name <name>', 'of the tasks and the framework [default: that of the program]')
    .option('--env <NAME=value>', 'in the environment of the tasks; may be given again', keyValue)
    .option('--role <role>', 'that the resources are accounted to', '*')
    .option('--user <name>', 'that the tasks run as [default: this one]')
    .option('--no-prefix', 'no [name] before the lines of several tasks')
    .option('--timeout <duration>', 'give up when nothing could be launched for so long [default: wait]', duration)
    .action(async (words: [string, ...string[]], flags: RunFlags) => exit(await run(streams, words, flags)));
  return withJson(withConnection(command));
}

async function run(streams: Streams, words: [string, ...string[]], flags: RunFlags): Promise<number> {
  const endpoint = process.env['MESOBUS_OTLP_ENDPOINT'] ?? process.env['OTEL_EXPORTER_OTLP_ENDPOINT'];
  const instance = `cli-${randomBytes(8).toString('hex')}`;
  const complain = (problem: string): void => void streams.err.write(`mesobus: ${problem}\n`);
  const tracing = await startTracing({ service: 'cli', instance, endpoint, sample: 1, onProblem: complain });
  try {
    await using connection = await connectCluster(flags);
    const report = flags.json === true ? jsonReport(streams) : humanReport(streams, flags.count > 1);
    const oneShot = new OneShot(connection, requestOf(words, flags), report);
    const result = await withSignals(oneShot, complain);
    await summarize(streams, flags, result);
    return result.exitCode;
  } finally {
    await tracing.shutdown().catch(() => undefined); // what could not be sent was complained of
  }
}

export function requestOf(words: readonly [string, ...string[]], flags: RunFlags): OneShotRequest {
  const { cpus, mem, disk, count, role, user, prefix } = flags;
  const program = path.basename(words[0].split(/\s/, 1)[0] ?? '');
  // A task id is a name of a folder and stands in subjects and addresses.
  const name =
    (flags.name ?? program)
      .replace(/[^\w.-]/g, '-')
      .slice(0, 64)
      .replace(/^\.+/, '') || 'task';
  return {
    name,
    command: words,
    resources: resources({ cpus, mem, disk }),
    count,
    role,
    user,
    prefix: prefix && flags.json !== true, // a line of JSON names its task anyway
    env: flags.env ?? {},
    timeoutMs: flags.timeout,
  };
}

const sameSignalMs = 500;

/** The first Ctrl-C kills the tasks, a second one does not wait for their ends. So does a reader that goes away. */
async function withSignals(oneShot: OneShot, complain: (problem: string) => void): Promise<OneShotResult> {
  let firstAtMs: number | undefined;
  const onSignal = (signal: NodeJS.Signals): void => {
    // npm passes a Ctrl-C on that has reached us already.
    if (firstAtMs !== undefined && performance.now() - firstAtMs < sameSignalMs) return;
    firstAtMs ??= performance.now();
    complain(`${signal}: the tasks are killed`);
    oneShot.cancel(128 + constants.signals[signal]);
  };
  const onBrokenPipe = (): void => oneShot.cancel(128 + constants.signals.SIGPIPE);
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  for (const signal of signals) process.on(signal, onSignal);
  process.stdout.on('error', onBrokenPipe);
  try {
    return await oneShot.run();
  } finally {
    for (const signal of signals) process.off(signal, onSignal);
    process.stdout.off('error', onBrokenPipe);
  }
}

/** Of a pipe that closes we hear by `onBrokenPipe`; until then tasks go on, and their output has nowhere to go. */
const writeIfOpen = (stream: NodeJS.WritableStream, piece: string | Uint8Array): Promise<void> =>
  writeTo(stream, piece).catch(() => undefined);

function humanReport(streams: Streams, several: boolean): OneShotReport {
  return {
    registered: () => undefined,
    write: (_task, stream, piece) => writeIfOpen(stream === 'stdout' ? streams.out : streams.err, piece),
    status: ({ taskId, state, message, ended }) => {
      if (!ended || state === 'TASK_FINISHED') return;
      const why = message === '' ? '' : `: ${message}`;
      streams.err.write(`mesobus: ${several ? taskId : 'the task'} ended as ${state}${why}\n`);
    },
    complain: (problem) => void streams.err.write(`mesobus: ${problem}\n`),
  };
}

/** One JSON object per line. */
function jsonReport(streams: Streams): OneShotReport {
  const line = (value: object): string => `${JSON.stringify(value)}\n`;
  return {
    registered: (frameworkId) => void streams.out.write(line({ kind: 'registered', frameworkId })),
    write: ({ taskId }, stream, piece) => {
      const text = Buffer.from(piece).toString('utf8');
      return writeIfOpen(streams.out, line({ kind: 'output', taskId, stream, text }));
    },
    status: ({ taskId, state, message, agentId, reason }) =>
      void streams.out.write(line({ kind: 'status', taskId, state, message, agentId, reason })),
    complain: (problem) => void streams.err.write(`mesobus: ${problem}\n`),
  };
}

async function summarize(streams: Streams, flags: RunFlags, result: OneShotResult): Promise<void> {
  const { frameworkId, states, exitCode } = result;
  if (flags.json === true) {
    await writeTo(streams.out, `${JSON.stringify({ kind: 'summary', frameworkId, states, exitCode })}\n`);
  } else if (flags.count > 1) {
    for (const [state, count] of Object.entries(states)) await writeTo(streams.err, `${count} ${state}\n`);
  }
}
