import { mesobus, mesos } from '@mesobus/protos';
import { type AgentEntry, isTerminal, type TaskEntry } from '@mesobus/registry/core';
import type { CallTurn } from './call-turn.ts';
import { decideEnd, issueCommand, sendLoose } from './commands.ts';
import { answerAbout, tellAnswers } from './on-reconcile.ts';
import { stateFor } from './statuses.ts';
import { idProblem } from './task-problem.ts';
import { killTraceOf, traceKill } from './traces.ts';
import type { Turn } from './turn.ts';

const { Type } = mesos.v1.scheduler.Call;
const { TASK_GONE, TASK_UNREACHABLE } = mesos.v1.TaskState;
const { REASON_CONTAINER_PREEMPTED } = mesos.v1.TaskStatus.Reason;
const { GONE } = mesobus.v1.AgentRecord.Lifecycle;
const defaultGraceNs = 3_000_000_000n;

/** A framework wants a task ended. */
export function onKill(turn: CallTurn, { taskId, agentId, killPolicy }: mesos.v1.scheduler.Call.Kill): void {
  const { framework, state } = turn;
  const task = framework.tasks.get(taskId.value);
  const agent = task && state.ledger.agents.get(task.agentId);
  if (task === undefined || isTerminal(task.state) || agent === undefined) {
    tellAnswers(turn, [answerAbout(turn, taskId.value, agentId?.value ?? '')], turn.traceparent);
  } else if (agentId && agentId.value !== task.agentId) {
    turn.log('info', 'a KILL names another agent than the task runs on', { task: taskId.value, agent: agentId.value });
  } else {
    killTask(turn, task, agent, killPolicy, { principal: turn.principal, by: 'framework', asked: turn.traceparent });
    // It is killed when its agent is back; whoever waits for an end hears why none comes.
    if (task.state === TASK_UNREACHABLE) {
      tellAnswers(turn, [answerAbout(turn, task.taskId, task.agentId)], turn.traceparent);
    }
  }
  turn.accept('barrier', true);
}

/** Who wants a task ended. */
export interface KillAsker {
  /** Empty: the master itself. */
  readonly principal: string;
  readonly by: 'framework' | 'operator' | 'master';
  /** Trace context of its call; may be empty. */
  readonly asked: string;
}

/**
 * Has a live task ended, whoever wants it; once, unless the next one leaves it less time.
 *
 * @param preempted - why, if its resources are taken back for others
 */
export function killTask(
  turn: Turn,
  task: TaskEntry,
  agent: AgentEntry,
  killPolicy: mesos.v1.KillPolicy | null,
  { principal, by, asked }: KillAsker,
  preempted?: string,
): void {
  if (!isNews(turn, task, killPolicy)) return;
  const { frameworkId, taskId } = task;
  const taken = preempted === undefined ? {} : { preempted, unlaunched: preemptedUnlaunched(turn, task, preempted) };
  const command = { task: { frameworkId, taskId }, ...(killPolicy && { killPolicy }), ...taken };
  decideEnd(turn.state, task, agent.lastCommand + 1, graceOf(task, killPolicy));
  const number = agent.lastCommand + 1;
  const traceparent = killTraceOf(task, number);
  issueCommand(turn, agent, { traceparent, killTask: command }, principal);
  const why = preempted === undefined ? {} : { 'mesobus.why': preempted };
  traceKill(turn, task, traceparent, asked, { 'mesobus.principal': principal, 'mesobus.by': by, ...why });
}

/** What becomes of a task that its agent has never had. */
function preemptedUnlaunched({ state }: Turn, task: TaskEntry, message: string): mesobus.v1.Unlaunched.$Properties {
  const framework = state.ledger.frameworks.get(task.frameworkId);
  return { state: stateFor(framework, TASK_GONE), reason: REASON_CONTAINER_PREEMPTED, message };
}

/** A kill is repeated until the agent has it: the next one is worth a command only if it is quicker. */
function isNews(turn: Turn, task: TaskEntry, policy: mesos.v1.KillPolicy | null): boolean {
  if (!task.killIssued) return true;
  if (!policy) return false;
  const before = turn.state.ends.get(task);
  return before === undefined || graceOf(task, policy) < before.graceNs;
}

function graceOf(task: TaskEntry, policy: mesos.v1.KillPolicy | null): bigint {
  const own = task.launched.task?.killPolicy?.gracePeriod?.nanoseconds;
  return policy?.gracePeriod?.nanoseconds ?? own ?? defaultGraceNs;
}

/** A framework wants an executor ended, with its tasks. */
export function onShutdownExecutor(turn: CallTurn, shutdown: mesos.v1.scheduler.Call.Shutdown): void {
  const { framework, state, call } = turn;
  const problem = idProblem('executor', shutdown.executorId.value);
  if (problem !== undefined) {
    turn.refuse('call_invalid', 'SHUTDOWN', problem);
    return;
  }
  const agent = state.ledger.agents.get(shutdown.agentId.value);
  if (agent !== undefined && agent.record.lifecycle !== GONE && !state.ledger.calls.has(call.callId)) {
    const shutdownExecutor = { frameworkId: framework.id, executorId: shutdown.executorId.value };
    issueCommand(turn, agent, { traceparent: turn.traceparent, shutdownExecutor });
    const of = { callId: call.callId, frameworkId: framework.id, principal: turn.principal };
    turn.commit([{ callRecorded: { ...of, type: Type.SHUTDOWN, complete: true, recordedAtMs: turn.at } }]);
  }
  turn.accept('barrier', true);
}

/** A word from a scheduler to an executor: carried once, or lost. */
export function onMessage(turn: CallTurn, { agentId, executorId, data }: mesos.v1.scheduler.Call.Message): void {
  const link = turn.state.agents.get(agentId.value);
  if (link !== undefined) {
    const frameworkMessage = { frameworkId: turn.framework.id, executorId: executorId.value, data };
    sendLoose(turn, link, [{ number: 0, traceparent: turn.traceparent, frameworkMessage }], 'now');
  }
  turn.accept('now', false);
}
