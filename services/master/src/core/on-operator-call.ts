import { type mesobus, mesos } from '@mesobus/protos';
import { isTerminal } from '@mesobus/registry/core';
import { notAllowed, wantedByOperator } from './authorization.ts';
import { findLiveFramework, isRemoved } from './frameworks.ts';
import type { Input } from './messages.ts';
import { type CallRefused, onAgentCall } from './on-agent-call.ts';
import { killTask } from './on-kill.ts';
import { onMaintenanceCall } from './on-maintenance-call.ts';
import { isOperationCall, onOperationCall } from './on-operation-call.ts';
import { isPausing, setPaused } from './on-pause.ts';
import { onQuotaCall } from './on-quota-call.ts';
import { onWeightsCall } from './on-weights-call.ts';
import { removeFramework } from './remove-framework.ts';
import type { Turn } from './turn.ts';

const { Type } = mesos.v1.master.Call;

type OperatorInput = Input & { readonly kind: 'operator_call' };
type Records = readonly mesobus.v1.Record.$Properties[];

/** What goes into records must fit in them. */
const maxTraceparentLength = 256;
const maxCallIdLength = 256;

/**
 * An operator changes something. A call that states what shall be changes nothing more when it is repeated; any other is
 * recorded, so that a repeat gets the same answer.
 */
export function onOperatorCall(turn: Turn, { principal, call: operatorCall, token }: OperatorInput): void {
  const refused = wasDone(turn, principal, operatorCall) ? undefined : carryOut(turn, principal, operatorCall);
  if (refused === undefined) turn.emit({ kind: 'accept_operator', when: 'barrier', token });
  else turn.emit({ kind: 'refuse', when: 'barrier', token, ...refused });
}

/** @returns why not; undefined if it is done */
function carryOut(turn: Turn, principal: string, operatorCall: mesobus.v1.OperatorCall): CallRefused | undefined {
  const { call, killTask: kill, callId, traceparent } = operatorCall;
  if (callId.length > maxCallIdLength) {
    const why = `its 'call_id' has ${callId.length} characters, of at most ${maxCallIdLength}`;
    return { code: 'call_invalid', subject: 'call_id', why };
  }
  const denied = notAllowed(turn.state, principal, wantedByOperator(turn.state, operatorCall));
  if (denied !== undefined) return { code: 'not_authorized', subject: nameOf(operatorCall), why: denied };
  const trace = traceparent.length > maxTraceparentLength ? '' : traceparent;
  if (kill) return onKillCall(turn, kill, principal, trace);
  if (isPausing(operatorCall)) return setPaused(turn, operatorCall, { principal, callId, traceparent: trace });
  const done = callRecords(turn, principal, operatorCall);
  if (call?.updateWeights) return onWeightsCall(turn, call.updateWeights, done);
  if (call?.updateQuota || call?.setQuota || call?.removeQuota) return onQuotaCall(turn, call, done);
  if (call?.updateMaintenanceSchedule || call?.startMaintenance || call?.stopMaintenance) {
    return onMaintenanceCall(turn, call, done);
  }
  if (call?.teardown) return onTeardownCall(turn, call.teardown.frameworkId.value);
  if (call?.drainAgent || call?.deactivateAgent || call?.reactivateAgent || call?.markAgentGone) {
    return onAgentCall(turn, call);
  }
  if (call && isOperationCall(call)) {
    return onOperationCall(turn, call, { frameworkId: '', principal, callId, traceparent: trace }, done);
  }
  const why = 'it is not supported yet, or a part is missing';
  return { code: 'call_invalid', subject: nameOf(operatorCall), why };
}

function nameOf({ call, killTask, pauseTask, resumeTask }: mesobus.v1.OperatorCall): string {
  if (killTask) return 'KILL_TASK';
  if (pauseTask ?? resumeTask) return pauseTask ? 'PAUSE_TASK' : 'RESUME_TASK';
  return (call && Type[call.type]) ?? 'UNKNOWN';
}

function callRecords(turn: Turn, principal: string, { callId, call }: mesobus.v1.OperatorCall): Records {
  if (callId === '') return [];
  const type = call?.type ?? Type.UNKNOWN;
  return [{ callRecorded: { callId, principal, type, complete: true, recordedAtMs: turn.at } }];
}

function wasDone({ state }: Turn, principal: string, { callId, call }: mesobus.v1.OperatorCall): boolean {
  const before = callId === '' ? undefined : state.ledger.calls.get(callId)?.record;
  return before?.principal === principal && before.frameworkId === '' && before.type === call?.type;
}

function onKillCall(turn: Turn, kill: mesobus.v1.KillTask, principal: string, asked: string): CallRefused | undefined {
  const framework = findLiveFramework(turn.state, kill.task?.frameworkId ?? '');
  const task = framework?.tasks.get(kill.task?.taskId ?? '');
  if (task === undefined) {
    const why = `framework '${kill.task?.frameworkId ?? ''}' has no such task`;
    return { code: 'call_invalid', subject: kill.task?.taskId ?? '', why };
  }
  const agent = turn.state.ledger.agents.get(task.agentId);
  if (agent !== undefined && !isTerminal(task.state)) {
    killTask(turn, task, agent, kill.killPolicy, { principal, by: 'operator', asked });
  }
  return undefined;
}

function onTeardownCall(turn: Turn, id: string): CallRefused | undefined {
  const framework = turn.state.ledger.frameworks.get(id);
  if (framework === undefined) return { code: 'framework_unknown', subject: id };
  if (!isRemoved(framework)) removeFramework(turn, framework, 'operator');
  return undefined;
}
