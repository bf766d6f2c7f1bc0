import { type mesobus, mesos } from '@mesobus/protos';
import { type AgentEntry, isTerminal, type TaskEntry } from '@mesobus/registry/core';
import type { CallTurn } from './call-turn.ts';
import { issueCommand } from './commands.ts';
import { findLiveFramework } from './frameworks.ts';
import type { CallRefused } from './on-agent-call.ts';
import type { Turn } from './turn.ts';

/** A task that is to stand still, or to go on. */
export type Pausing = Pick<mesobus.v1.OperatorCall, 'pauseTask' | 'resumeTask'>;

/** Who wants it. */
interface Wish {
  readonly principal: string;
  readonly callId: string;
  readonly traceparent: string;
}

export const isPausing = ({ pauseTask, resumeTask }: Pausing): boolean => (pauseTask ?? resumeTask) !== null;

/** The framework that a call of a scheduler speaks for. */
export const frameworkOfPausing = ({ pauseTask, resumeTask }: Pausing): string =>
  (pauseTask ?? resumeTask)?.task?.frameworkId ?? '';

/** A scheduler wants a task of its framework to stand still, or to go on. */
export function onPauseCall(turn: CallTurn, pausing: Pausing): void {
  const { principal, traceparent, call } = turn;
  const refused = setPaused(turn, pausing, { principal, traceparent, callId: call.callId });
  if (refused === undefined) turn.accept('barrier', true);
  else turn.refuse(refused.code, refused.subject, refused.why, 'barrier');
}

/**
 * Has a task stand still, or go on, by a command to its agent, which makes nothing of what is so already. A call that is
 * repeated is not carried out again: others may have wanted the contrary meanwhile.
 *
 * @returns why not; undefined if it is done
 */
export function setPaused(turn: Turn, { pauseTask, resumeTask }: Pausing, wish: Wish): CallRefused | undefined {
  const { ledger } = turn.state;
  const { principal, callId, traceparent } = wish;
  const before = callId === '' ? undefined : ledger.calls.get(callId)?.record;
  if (before?.principal === principal) return undefined;
  const { frameworkId = '', taskId = '' } = (pauseTask ?? resumeTask)?.task ?? {};
  const refusal = (why: string): CallRefused => ({ code: 'call_invalid', subject: taskId, why });
  const task = findLiveFramework(turn.state, frameworkId)?.tasks.get(taskId);
  const agent = task && ledger.agents.get(task.agentId);
  if (task === undefined || agent === undefined) return refusal(`framework '${frameworkId}' has no such task`);
  if (isTerminal(task.state)) return refusal('it has ended');
  if (task.killIssued) return refusal('it is being killed');
  if (isExecutors(agent, task)) return refusal('an executor of its framework runs it: only that can pause it');

  const which = { task: { frameworkId, taskId } };
  issueCommand(turn, agent, { traceparent, ...(pauseTask ? { pauseTask: which } : { resumeTask: which }) });
  if (callId !== '') {
    turn.commit([{ callRecorded: { callId, frameworkId, principal, complete: true, recordedAtMs: turn.at } }]);
  }
  return undefined;
}

/** Whether it has no container of its own. */
function isExecutors(agent: AgentEntry, { frameworkId, launched }: TaskEntry): boolean {
  if (!launched.run) return false;
  const { number } = launched.run;
  const executors = [...agent.executors.values()];
  const executor = executors.find((one) => one.frameworkId === frameworkId && one.runNumber === number);
  return executor?.record.info?.type !== mesos.v1.ExecutorInfo.Type.DEFAULT;
}
