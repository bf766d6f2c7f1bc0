import type { mesobus } from '@mesobus/protos';
import { durationMs } from './kills-of.ts';
import { type Executor, executorKey, isBuiltIn, isLive, type State } from './state.ts';

type Ending = mesobus.v1.ExecutorEnding.$Properties;

/** An executor of its framework's that is to end, and how. */
export interface ShutExecutor {
  readonly executor: Executor;
  readonly ending: Ending;
}

/** The executors that a command ends, with their tasks. */
export function executorsShutBy(state: State, command: mesobus.v1.AgentCommand.$Properties): ShutExecutor[] {
  const { shutdownExecutor, shutdownFramework } = command;
  if (shutdownExecutor) {
    const { frameworkId, executorId } = shutdownExecutor;
    const executor = state.byExecutor.get(executorKey(frameworkId ?? '', executorId ?? ''));
    return executor === undefined ? [] : shutAll(state, [executor]);
  }
  if (!shutdownFramework) return [];
  const { frameworkId } = shutdownFramework;
  return shutAll(
    state,
    [...state.executors.values()].filter((executor) => executor.frameworkId === frameworkId),
  );
}

/** Those that have not been told to end before. What the agent runs itself ends with its tasks. */
export function shutAll(state: State, executors: Iterable<Executor>, ending: Ending = {}): ShutExecutor[] {
  return [...executors]
    .filter((executor) => isLive(executor) && !isBuiltIn(executor) && executor.ending === undefined)
    .map((executor) => ({ executor, ending: { graceMs: shutdownGraceMs(state, executor), ...ending } }));
}

/** From SHUTDOWN to the end of its container. */
export function shutdownGraceMs({ config }: State, { info }: Pick<Executor, 'info'>): number {
  const own = info.shutdownGracePeriod;
  return own ? durationMs(own) : (config.executors?.shutdownGraceMs ?? 5_000);
}
