import { mesobus, mesos } from '@mesobus/protos';
import type { AgentEntry, FrameworkEntry } from '@mesobus/registry/core';
import { fromWire, sum, tryUse } from '@mesobus/sdk/resources';
import { Accepting, callRecord, operationFailed } from './accepting.ts';
import { availableOf, takesLaunches } from './agents.ts';
import type { CallTurn } from './call-turn.ts';
import { limitPassedBy } from './consumption.ts';
import { filterSet } from './feed.ts';
import type { SchedulerEvent } from './messages.ts';
import { closeOffer, judgeOffers, refuseMs } from './offers.ts';
import { masterStatus, type Reason, stateFor, updateEvent } from './statuses.ts';
import { acceptTraceOf, traceOffer } from './traces.ts';

const { ADMITTED } = mesobus.v1.AgentRecord.Lifecycle;
const { TASK_DROPPED } = mesos.v1.TaskState;
const { REASON_INVALID_OFFERS, REASON_AGENT_REMOVED, REASON_AGENT_DISCONNECTED, REASON_AGENT_DRAINING } =
  mesos.v1.TaskStatus.Reason;

type Operation = mesos.v1.Offer.Operation;
type Accept = mesos.v1.scheduler.Call.Accept;

/** A framework accepts offers and says what to do with them. */
export function onAccept(turn: CallTurn, accept: Accept): void {
  const { state, framework } = turn;
  const before = state.ledger.calls.get(turn.call.callId)?.record;
  if (before?.frameworkId === framework.id) {
    if (!before.complete) finishAccept(turn, accept, before);
    turn.accept('barrier', true);
    return;
  }

  const judged = judgeOffers(state, framework, accept.offerIds);
  for (const offer of judged.offers) closeOffer(state, offer);
  if (!judged.ok) {
    for (const offer of judged.offers) traceOffer(turn, offer, 'rescinded');
    // A call that is repeated after so long that it is forgotten: what came of it still knows it.
    const rest = stillToDo(accept, framework, turn.call.callId, 0).map(({ operation }) => operation);
    dropOperations(turn, rest, { reason: REASON_INVALID_OFFERS, why: judged.why });
    turn.log('info', 'an ACCEPT named offers that cannot be used', { framework: framework.id, why: judged.why });
    answer(turn, accept, false);
    return;
  }

  const trace = acceptTraceOf(judged.offers[0]?.trace ?? '');
  for (const offer of judged.offers) traceOffer(turn, offer, 'accepted', { accepted: trace });
  const offered = sum(judged.resources);
  const accepting = new Accepting(turn, judged.agent, judged.role, offered, trace, judged.offers[0]);
  for (const [index, operation] of accept.operations.entries()) accepting.apply(operation, index);
  accepting.commit();
  answer(turn, accept, accepting.recorded);
  const filter = {
    frameworkId: framework.id,
    role: judged.role,
    agentId: judged.agent.id,
    refuseMs: refuseMs(accept.filters),
  };
  if (accepting.refused.length > 0) filterSet(state, { ...filter, resources: accepting.refused });
}

/** What an ACCEPT did must not be done again when it is repeated, even where it launched nothing. */
function answer(turn: CallTurn, accept: Accept, recorded: boolean): void {
  if (!recorded && accept.operations.length > 0) turn.commit([{ callRecorded: callRecord(turn, true) }]);
  turn.accept('barrier', accept.operations.length > 0);
}

/** The leader before committed a part of the call: the rest is done if its resources are still there. */
function finishAccept(turn: CallTurn, accept: Accept, call: mesobus.v1.CallRecorded): void {
  const { state, framework } = turn;
  const agent = state.ledger.agents.get(call.agentId);
  const rest = stillToDo(accept, framework, call.callId, call.operationsDone);
  const drop = (reason: Reason, why: string): void => {
    dropOperations(
      turn,
      rest.map(({ operation }) => operation),
      { reason, why },
    );
    turn.commit([{ callRecorded: callRecord(turn, true) }]);
  };
  if (agent === undefined || !takesLaunches(state, agent)) {
    const { reason, why } = whyNotOffering(agent);
    drop(reason, why);
    return;
  }
  const left = fromWire(call.resources);
  if (tryUse(availableOf(state, agent), left) === undefined) {
    drop(REASON_INVALID_OFFERS, 'The resources went to somebody else while the launch was under way');
    return;
  }
  const limited = limitPassedBy(state, call.role, left);
  if (limited !== undefined) {
    drop(REASON_INVALID_OFFERS, `Others came up to the limit of role '${limited}' while the launch was under way`);
    return;
  }
  const accepting = new Accepting(turn, agent, call.role, left, traceOfCall(turn, accept));
  for (const { operation, index } of rest) accepting.apply(operation, index);
  accepting.commit();
  if (!accepting.recorded) turn.commit([{ callRecorded: callRecord(turn, true) }]);
}

/** Of an ACCEPT whose offers are gone: what it launched before knows it, else its caller. */
function traceOfCall({ framework, call, traceparent }: CallTurn, accept: Accept): string {
  for (const { launch, launchGroup } of accept.operations) {
    for (const { taskId } of launch?.taskInfos ?? launchGroup?.taskGroup.tasks ?? []) {
      const launched = framework.tasks.get(taskId.value)?.launched;
      if (launched?.callId === call.callId) return launched.traceparent;
    }
  }
  return acceptTraceOf(traceparent);
}

function whyNotOffering(agent: AgentEntry | undefined): { reason: Reason; why: string } {
  const { lifecycle, deactivated } = agent?.record ?? {};
  if (lifecycle !== ADMITTED) {
    return { reason: REASON_AGENT_REMOVED, why: 'The agent was lost while the launch was under way' };
  }
  const reason = deactivated ? REASON_AGENT_DRAINING : REASON_AGENT_DISCONNECTED;
  const why = deactivated
    ? 'The agent takes no more tasks'
    : 'The agent was disconnected while the launch was under way';
  return { reason, why };
}

interface Indexed {
  readonly operation: Operation;
  /** Among the operations of the ACCEPT. */
  readonly index: number;
}

/**
 * What is not done yet of an ACCEPT, as far as it can be known: tasks and operations know what call they are of.
 *
 * @param done - so many of its operations are known to be done, but for launches
 */
function stillToDo(accept: Accept, framework: FrameworkEntry, callId: string, done: number): Indexed[] {
  return accept.operations.flatMap((operation, index): Indexed[] => {
    const { launch, launchGroup, id } = operation;
    if (launch) {
      const isLaunched = (taskId: string) => framework.tasks.get(taskId)?.launched.callId === callId;
      const taskInfos = launch.taskInfos.filter(({ taskId }) => !isLaunched(taskId.value));
      const rest = new mesos.v1.Offer.Operation.Launch({ taskInfos });
      return [{ operation: new mesos.v1.Offer.Operation({ ...operation, launch: rest }), index }];
    }
    if (launchGroup) {
      const isLaunched = launchGroup.taskGroup.tasks.some(
        ({ taskId }) => framework.tasks.get(taskId.value)?.launched.callId === callId,
      );
      return isLaunched ? [] : [{ operation, index }];
    }
    const isDone = index < done || (id !== null && framework.operations.get(id.value)?.callId === callId);
    return isDone ? [] : [{ operation, index }];
  });
}

/** Nothing of these operations is done, and the framework hears why. */
function dropOperations(
  turn: CallTurn,
  operations: readonly Operation[],
  { reason, why }: { reason: Reason; why: string },
): void {
  const events: SchedulerEvent[] = [];
  for (const operation of operations) {
    const tasks = [...(operation.launch?.taskInfos ?? []), ...(operation.launchGroup?.taskGroup.tasks ?? [])];
    for (const { taskId, agentId } of tasks) {
      const state = stateFor(turn.framework, TASK_DROPPED);
      const status = { taskId: taskId.value, state, reason, message: why, agentId: agentId.value };
      events.push(updateEvent(masterStatus(status, turn.at), turn.traceparent));
    }
    events.push(...operationFailed(operation, why));
  }
  turn.tell(turn.framework.id, events, 'barrier');
}

/** A framework declines offers. */
export function onDecline(turn: CallTurn, decline: mesos.v1.scheduler.Call.Decline): void {
  const ms = refuseMs(decline.filters);
  for (const { value: id } of decline.offerIds) {
    const offer = turn.state.offers.get(id);
    if (offer?.frameworkId !== turn.framework.id) continue; // rescinded meanwhile, or not its own
    closeOffer(turn.state, offer);
    traceOffer(turn, offer, 'declined');
    filterSet(turn.state, { ...offer, refuseMs: ms });
  }
  turn.accept('now', false);
}
