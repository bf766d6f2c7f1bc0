import { type mesobus, mesos } from '@mesobus/protos';
import { isTerminal } from '@mesobus/registry/core';
import type { RefusalCode } from '@mesobus/sdk/errors';
import { roleProblem } from '@mesobus/sdk/resources';
import { roleChanged } from './feed.ts';
import { findLiveFramework } from './frameworks.ts';
import type { Token } from './messages.ts';
import { onAgentCall } from './on-agent-call.ts';
import { killTask } from './on-kill.ts';
import { removeFramework } from './remove-framework.ts';
import type { Turn } from './turn.ts';

const { Type } = mesos.v1.master.Call;

/** What goes into records must fit in them. */
const maxTraceparentLength = 256;

/** An operator changes something. Each call states what shall be, so that repeating it changes nothing more. */
export function onOperatorCall(turn: Turn, operatorCall: mesobus.v1.OperatorCall, token: Token): void {
  const { call, killTask: kill } = operatorCall;
  const refuse = (code: RefusalCode, subject: string, why?: string): void => {
    turn.emit({ kind: 'refuse', when: 'barrier', token, code, subject, ...(why !== undefined && { why }) });
  };
  if (kill) {
    const framework = findLiveFramework(turn.state, kill.task?.frameworkId ?? '');
    const task = framework?.tasks.get(kill.task?.taskId ?? '');
    if (task === undefined) {
      refuse('call_invalid', kill.task?.taskId ?? '', `framework '${kill.task?.frameworkId ?? ''}' has no such task`);
      return;
    }
    const agent = turn.state.ledger.agents.get(task.agentId);
    if (agent !== undefined && !isTerminal(task.state)) {
      const { traceparent } = operatorCall;
      killTask(turn, task, agent, kill.killPolicy, traceparent.length > maxTraceparentLength ? '' : traceparent);
    }
  } else if (call?.updateWeights) {
    const problem = weightsProblem(call.updateWeights.weightInfos);
    if (problem !== undefined) {
      refuse('call_invalid', 'UPDATE_WEIGHTS', problem);
      return;
    }
    updateWeights(turn, call.updateWeights.weightInfos);
  } else if (call?.teardown) {
    const id = call.teardown.frameworkId.value;
    const framework = findLiveFramework(turn.state, id);
    if (framework === undefined) {
      refuse('framework_unknown', id);
      return;
    }
    removeFramework(turn, framework, 'operator');
  } else if (call?.drainAgent || call?.deactivateAgent || call?.reactivateAgent || call?.markAgentGone) {
    const refused = onAgentCall(turn, call);
    if (refused !== undefined) {
      refuse(refused.code, refused.subject, refused.why);
      return;
    }
  } else {
    refuse('call_invalid', (call && Type[call.type]) ?? 'UNKNOWN', 'it is not supported yet, or a part is missing');
    return;
  }
  turn.emit({ kind: 'accept_operator', when: 'barrier', token });
}

const maxRoleLength = 4096;

function weightsProblem(weights: readonly mesos.v1.WeightInfo[]): string | undefined {
  for (const { role, weight } of weights) {
    if (role.length > maxRoleLength) return `a role has ${role.length} characters, of at most ${maxRoleLength}`;
    const problem = roleProblem(role);
    if (problem !== undefined) return problem;
    if (!(weight > 0) || !Number.isFinite(weight)) return `the weight of role '${role}' is ${weight}: give more than 0`;
  }
  return undefined;
}

function updateWeights(turn: Turn, weights: readonly mesos.v1.WeightInfo[]): void {
  const { roles } = turn.state.ledger;
  turn.commit(
    weights.map(({ role, weight }) => {
      const quota = roles.get(role)?.quota;
      return { role: { role, weight, ...(quota && { quota }) } };
    }),
  );
  for (const { role } of weights) roleChanged(turn.state, role);
}
