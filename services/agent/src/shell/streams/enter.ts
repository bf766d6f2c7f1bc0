import { join } from 'node:path';
import { Writable } from 'node:stream';
import { finished } from 'node:stream/promises';
import type { mesobus } from '@mesobus/protos';
import { RefusedError } from '@mesobus/sdk/errors';
import { findRunning, isContainerAlive, type RunningContainer, type State } from '../../core/index.ts';
import type { InnerProcess, Terminal } from '../containerizer.ts';
import type { Containers } from '../containers.ts';
import type { VisitorRights } from '../visitor-rights.ts';
import type { Enter, Entered } from './sessions.ts';
import { tail } from './tail.ts';

export interface EnterOptions {
  readonly state: State;
  readonly sandboxes: string;
  readonly containers: Pick<Containers, 'runInside' | 'terminal'>;
  readonly rights: Pick<VisitorRights, 'check'>;
}

/** How sessions enter the containers of an agent. */
export const enterer =
  (options: EnterOptions): Enter =>
  (principal, { start, attach }) =>
    start ? exec(options, principal, start) : attachTo(options, principal, attach);

/** @throws {RefusedError} not_running; not_authorized; call_invalid */
function exec(options: EnterOptions, principal: string, start: mesobus.v1.StartCommand): Entered {
  const { argv, environment, terminal, interactive } = start;
  const container = runningContainer(options, start.task);
  const { user, taskId } = container.task;
  const check = (): void =>
    options.rights.check(principal, 'launch_nested_container_sessions_under_parent_with_user', user, taskId);
  check();
  const [value] = argv;
  if (value === undefined) throw new RefusedError('call_invalid', 'argv', 'it names no command');
  if (container.paused) throw new RefusedError('not_running', container.task.taskId, 'it is paused');
  const variables = Object.entries(environment).map(([name, text]) => ({ name, value: text }));
  const command = { shell: false, value, arguments: argv, environment: { variables } };
  const { containerId, task } = container;
  try {
    const process = options.containers.runInside(containerId, task, command, terminal ?? undefined);
    return { process, interactive, check };
  } catch (error) {
    throw new RefusedError('not_running', task.taskId, error instanceof Error ? error.message : String(error));
  }
}

/** @throws {RefusedError} not_running; not_authorized; call_invalid: it has no terminal */
function attachTo(options: EnterOptions, principal: string, attach: mesobus.v1.AttachTask | null): Entered {
  const { containerId, task } = runningContainer(options, attach?.task);
  const interactive = attach?.interactive ?? false;
  const check = (): void => {
    options.rights.check(principal, 'attach_containers_output', task.user, task.taskId);
    if (interactive) options.rights.check(principal, 'attach_containers_input', task.user, task.taskId);
  };
  check();
  const terminal = options.containers.terminal(containerId);
  if (interactive && terminal === undefined) {
    throw new RefusedError('call_invalid', task.taskId, 'it has no terminal to type on: launch it with a tty_info');
  }
  const over = new AbortController();
  const hasEnded = (): boolean => !isContainerAlive(options.state, containerId);
  const sandbox = join(options.sandboxes, task.sandbox);
  const [stdout, stderr] = ['stdout', 'stderr'].map((name) => tail(join(sandbox, name), hasEnded, over.signal)) as [
    InnerProcess['stdout'],
    InnerProcess['stderr'],
  ];
  const process: InnerProcess = {
    ...{ stdout, stderr },
    stdin: typing(terminal, over.signal),
    ended: Promise.allSettled([finished(stdout), finished(stderr)]).then(() => ({ kind: 'exited', status: 0 })),
    kill: () => over.abort(),
    resize: (size) => terminal?.resize(size),
  };
  return { process, interactive, check };
}

const typing = (terminal: Terminal | undefined, signal: AbortSignal): Writable =>
  new Writable({
    write(bytes: Uint8Array, _encoding, done) {
      if (terminal === undefined) done();
      else terminal.type(bytes, signal).then(() => done(), done);
    },
  });

function runningContainer({ state }: EnterOptions, task: mesobus.v1.TaskKey | null | undefined): RunningContainer {
  const found = task ? findRunning(state, task) : undefined;
  if (found === undefined) throw new RefusedError('not_running', task?.taskId ?? '');
  return found;
}
