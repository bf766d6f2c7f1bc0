import type { mesobus } from '@mesobus/protos';
import { firstRepeatMs, maxRepeatMs } from './flush-updates.ts';
import { sendRequest } from './send-request.ts';
import type { Executor, State } from './state.ts';
import { append, defer, type Turn } from './turn.ts';

/** Ends in one request. */
const maxEndsPerRequest = 500;

/** Says that executors have ended; repeated until the leader has it. */
export function sendExecutorEnds(turn: Turn, executors: readonly Executor[]): void {
  const { state } = turn;
  if (state.registration.kind !== 'registered' || executors.length === 0) return;
  for (const executor of executors) {
    executor.repeatMs = Math.min(executor.repeatMs * 2 || firstRepeatMs, maxRepeatMs);
    executor.repeatAt = turn.at + executor.repeatMs;
  }
  const containerIds = executors.map(({ containerId }) => containerId);
  sendRequest(turn, { kind: 'executor_ends', containerIds }, { executorExits: { exits: executors.map(exitOf) } });
}

function exitOf({ frameworkId, executorId, run, end }: Executor): mesobus.v1.ExecutorExit.$Properties {
  const { status, asOf, unstarted } = end ?? {};
  return {
    ...{ frameworkId, executorId, runNumber: run.number ?? 0, status: status ?? 0 },
    ...(asOf && { asOf }),
    ...(unstarted && { unstarted }),
  };
}

/** Whether the leader has yet to hear of its end. */
export const isUntold = ({ end, durable, toldUntil }: Executor): boolean =>
  end !== undefined && durable && toldUntil === undefined;

export function repeatExecutorEnds(turn: Turn): void {
  const late = [...turn.state.executors.values()].filter((one) => isUntold(one) && one.repeatAt <= turn.at);
  sendExecutorEnds(turn, late.slice(0, maxEndsPerRequest));
}

/** The leader has heard of ends: from the next command on it does not name those runs any more. */
export function executorEndsTaken(turn: Turn, containerIds: readonly string[], lastCommand: number): void {
  for (const containerId of containerIds) {
    const executor = turn.state.executors.get(containerId);
    if (executor === undefined || !isUntold(executor)) continue;
    append(turn, { executorChanged: { containerId, toldUntil: Math.max(1, lastCommand) } });
    forgetExecutorIfDone(turn, executor);
  }
}

/** Forgets an executor that has ended, once neither a command nor an update can name it any more. */
export function forgetExecutorIfDone(turn: Turn, executor: Executor): void {
  const { containerId, sandbox, toldUntil, launches } = executor;
  if (toldUntil === undefined || turn.state.cursor < toldUntil || launches.size > 0) return;
  append(turn, { executorChanged: { containerId, forgotten: true } });
  defer(turn, { kind: 'remove', containerId, sandbox });
}

/** After commands were taken. */
export function forgetToldExecutors(turn: Turn): void {
  for (const executor of turn.state.told) forgetExecutorIfDone(turn, executor);
}

/** As the leader hears of them when the agent registers. */
export function describeExecutors({ executors }: State): mesobus.v1.AgentExecutor.$Properties[] {
  return [...executors.values()]
    .filter(({ toldUntil }) => toldUntil === undefined)
    .map(({ frameworkId, info, run, containerId, end }) => ({
      ...{ frameworkId, info, run, containerId },
      ended: end !== undefined,
    }));
}
