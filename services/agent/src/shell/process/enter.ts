import { type ChildProcess, spawn } from 'node:child_process';
import { constants } from 'node:os';
import { createInterface } from 'node:readline';
import type { Duplex, Readable, Writable } from 'node:stream';
import { getSystemErrorMessage } from 'node:util';
import type { InnerCommand, InnerEnd, InnerProcess } from '../containerizer.ts';
import type { User } from '../users.ts';
import { encodeStart, launcherBinary } from './launcher.ts';

/** A command that runs for as long as this process lives. */
export interface EnteredCommand extends Omit<InnerCommand, 'user'> {
  /** Needs root; by default it runs as this process does. */
  readonly user?: User | undefined;
  /** Absolute. */
  readonly cwd: string;
  /** As of a container: control groups to join, namespaces to enter, capabilities. */
  readonly settings?: readonly string[];
}

export interface EnteredProcess extends InnerProcess {
  readonly closed: Promise<void>;
  /** Kills it, and what it has started. */
  end(): void;
}

/** Runs a command as another user, if it says so, by the launcher's `--enter`: it ends when this process does. */
export function enter(command: EnteredCommand): EnteredProcess {
  const { argv, file, env, cwd, user, tty, settings = [] } = command;
  const child = spawn(launcherBinary(), ['--enter'], { stdio: Array<'pipe'>(5).fill('pipe'), env: {}, detached: true });
  const terminal = tty === undefined ? [] : ['terminal', `${tty.rows}`, `${tty.columns}`];
  const frame = encodeStart({
    ...{ containerId: '-', controlDir: '/', stdoutPath: '', stderrPath: '', sandboxDir: cwd, argv, env },
    ...(file !== undefined && { file }),
    ...(user && { user }),
    settings: [...terminal, ...settings],
  });
  const control = child.stdio[3] as Duplex;
  control.on('error', () => {}); // it has ended: its report says so
  if (Buffer.isBuffer(frame)) control.write(frame);
  else control.destroy();
  return {
    stdin: child.stdin as Writable,
    stdout: child.stdout as Readable,
    stderr: child.stderr as Readable,
    ended: Buffer.isBuffer(frame) ? endOf(child) : Promise.resolve(failure(frame.errno, frame.stage)),
    closed: new Promise((resolve) => child.once('close', () => resolve())),
    kill: (signal) => control.write(`signal ${constants.signals[signal]}\n`),
    resize: ({ rows, columns }) => control.write(`resize ${rows} ${columns}\n`),
    end: () => control.destroy(), // its end of the control pipe is what keeps it alive
  };
}

function endOf(child: ChildProcess): Promise<InnerEnd> {
  const { promise, resolve } = Promise.withResolvers<InnerEnd>();
  createInterface({ input: child.stdio[4] as Readable }).on('line', (line) => {
    const [kind, number, stage] = line.split(' ');
    if (kind === 'exited') resolve({ kind: 'exited', status: Number(number) });
    if (kind === 'failed') resolve(failure(Number(number), stage ?? ''));
  });
  child.once('error', (error) => resolve({ kind: 'failed', message: error.message }));
  child.once('close', (code, signal) =>
    resolve({ kind: 'failed', message: `it ended by ${signal ?? `exit code ${code}`} before it said how` }),
  );
  return promise;
}

const failure = (errno: number, stage: string): InnerEnd => ({
  kind: 'failed',
  message: `${getSystemErrorMessage(-errno)} (at ${stage})`,
});
