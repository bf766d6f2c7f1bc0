import { mesos } from '@mesobus/protos';
import type { FrameworkEntry } from '@mesobus/registry/core';
import { type Caller, CallerTurn, CallTurn } from './call-turn.ts';
import { findLiveFramework } from './frameworks.ts';
import { onInverseOffersAnswered } from './inverse-offers.ts';
import type { Effect } from './messages.ts';
import { answering } from './offers.ts';
import { onAccept, onDecline } from './on-accept.ts';
import { onAcknowledge } from './on-acknowledge.ts';
import { onDemand } from './on-demand.ts';
import { onKill, onMessage, onShutdownExecutor } from './on-kill.ts';
import { onAcknowledgeOperation } from './on-operation-updates.ts';
import { frameworkOfPausing, isPausing, onPauseCall } from './on-pause.ts';
import { onReconcile, onReconcileOperations } from './on-reconcile.ts';
import { onRevive, onSuppress, onUpdateFramework } from './on-roles.ts';
import { onSubscribe } from './on-subscribe.ts';
import { onReclaimAnswered } from './reclaims.ts';
import { removeFramework } from './remove-framework.ts';
import type { State } from './state.ts';

type SchedulerCall = mesos.v1.scheduler.Call;
const { Type } = mesos.v1.scheduler.Call;

/** A scheduler calls. What is wrong with the call itself is refused; what is wrong with an offer or a task is told as an event. */
export function onSchedulerCall(state: State, at: number, caller: Caller): Effect[] {
  const turn = new CallerTurn(state, at, caller);
  const { call, demand } = caller.call;
  const pausing = isPausing(caller.call);
  if (call === null && demand === null && !pausing) turn.refuse('call_invalid', 'scheduler.Call', 'it is missing');
  else if (caller.call.callId === '') turn.refuse('call_invalid', 'call_id', 'it is empty');
  else if (caller.call.instanceId === '') turn.refuse('call_invalid', 'instance_id', 'it is empty');
  else if (tooLong(caller.call) !== undefined) turn.refuse('call_invalid', 'scheduler.Call', tooLong(caller.call));
  else if (call?.type === Type.SUBSCRIBE) onSubscribe(turn, call);
  else if (call !== null) return onFrameworkCall(turn, call, caller);
  else if (demand !== null || pausing) return onOwnCall(turn, caller);
  return turn.effects;
}

/** What Mesos' schedulers cannot say. */
function onOwnCall(caller: CallerTurn, from: Caller): Effect[] {
  const { demand } = from.call;
  const framework = findCaller(caller, demand === null ? frameworkOfPausing(from.call) : demand.frameworkId);
  if (framework === undefined) return caller.effects;
  const turn = new CallTurn(caller.state, caller.at, from, framework);
  if (demand !== null) onDemand(turn, demand);
  else onPauseCall(turn, from.call);
  return turn.effects;
}

/** What goes into records must fit in them. */
const maxIdLength = 256;

function tooLong({ callId, instanceId, traceparent }: Caller['call']): string | undefined {
  for (const [name, text] of Object.entries({ call_id: callId, instance_id: instanceId, traceparent })) {
    if (text.length > maxIdLength) return `its '${name}' has ${text.length} characters, of at most ${maxIdLength}`;
  }
  return undefined;
}

function onFrameworkCall(caller: CallerTurn, call: SchedulerCall, from: Caller): Effect[] {
  if (call.type === Type.TEARDOWN && isTornDown(caller)) {
    caller.accept('barrier', true);
    return caller.effects;
  }
  const framework = findCaller(caller, call.frameworkId?.value ?? '');
  if (framework === undefined) return caller.effects;
  const turn = new CallTurn(caller.state, caller.at, from, framework);
  if (toldByEvents.has(call.type) && caller.state.frameworks.get(framework.id)?.connected !== true) {
    // As after a change of leader, before the scheduler knows of it: it asks again when it has subscribed.
    turn.refuse('not_subscribed', framework.id);
  } else if (!dispatch(turn, call)) {
    const name = Type[call.type] ?? 'UNKNOWN';
    turn.refuse('call_invalid', name, `its part '${name.toLowerCase()}' is missing, or its type is unknown`);
  }
  return turn.effects;
}

/** What comes of them is told once, as events: to nobody, if nobody is there. */
const toldByEvents: ReadonlySet<mesos.v1.scheduler.Call.Type> = new Set([
  Type.ACCEPT,
  Type.RECONCILE,
  Type.RECONCILE_OPERATIONS,
]);

function onTeardown(turn: CallTurn): void {
  const { framework, principal, call, at } = turn;
  removeFramework(turn, framework, 'scheduler');
  const of = { callId: call.callId, frameworkId: framework.id, principal };
  turn.commit([{ callRecorded: { ...of, type: Type.TEARDOWN, complete: true, recordedAtMs: at } }]);
  turn.accept('barrier', true);
}

/** A TEARDOWN that is repeated finds nobody, and is answered as before. */
function isTornDown({ state, principal, call }: CallerTurn): boolean {
  const before = state.ledger.calls.get(call.callId)?.record;
  return before?.type === Type.TEARDOWN && before.principal === principal;
}

/** The framework that the caller may speak for; otherwise the call is refused. */
function findCaller(turn: CallerTurn, frameworkId: string): FrameworkEntry | undefined {
  const framework = findLiveFramework(turn.state, frameworkId);
  if (framework === undefined) {
    // A deposed leader does not know the youngest frameworks; it must not send them away.
    turn.refuse('framework_unknown', frameworkId, undefined, 'barrier');
    return undefined;
  }
  const { principal, instanceId, generation } = framework.record;
  if (principal !== turn.principal) turn.refuse('framework_not_yours', frameworkId);
  else if (instanceId !== turn.call.instanceId || turn.call.generation < generation)
    turn.refuse('instance_superseded', frameworkId, undefined, 'barrier');
  else return framework;
  return undefined;
}

/** Handles the call if it has the part that its type says. */
function dispatch(turn: CallTurn, call: SchedulerCall): boolean {
  switch (call.type) {
    case Type.TEARDOWN:
      onTeardown(turn);
      return true;
    case Type.ACCEPT:
      return has(call.accept, (part) => answering(turn, part.offerIds, () => onAccept(turn, part)));
    case Type.DECLINE:
      return has(call.decline, (part) => answering(turn, part.offerIds, () => onDecline(turn, part)));
    case Type.REVIVE:
      onRevive(turn, call.revive?.roles ?? []);
      return true;
    case Type.SUPPRESS:
      onSuppress(turn, call.suppress?.roles ?? []);
      return true;
    case Type.KILL:
      return has(call.kill, (part) => onKill(turn, part));
    case Type.SHUTDOWN:
      return has(call.shutdown, (part) => onShutdownExecutor(turn, part));
    case Type.ACKNOWLEDGE:
      return has(call.acknowledge, (part) => onAcknowledge(turn, part));
    case Type.RECONCILE:
      return has(call.reconcile, (part) => onReconcile(turn, part));
    case Type.RECONCILE_OPERATIONS:
      return has(call.reconcileOperations, (part) => onReconcileOperations(turn, part));
    case Type.MESSAGE:
      return has(call.message, (part) => onMessage(turn, part));
    case Type.UPDATE_FRAMEWORK:
      return has(call.updateFramework, (part) => onUpdateFramework(turn, part));
    case Type.ACCEPT_INVERSE_OFFERS:
      return has(call.acceptInverseOffers, (part) => onInverseOffers(turn, 'accept', part));
    case Type.DECLINE_INVERSE_OFFERS:
      return has(call.declineInverseOffers, (part) => onInverseOffers(turn, 'decline', part));
    case Type.ACKNOWLEDGE_OPERATION_STATUS:
      return has(call.acknowledgeOperationStatus, (part) => onAcknowledgeOperation(turn, part));
    // The allocator ignores requests, as Mesos' does.
    case Type.REQUEST:
      return has(call.request, () => turn.accept('now', false));
    default:
      return false;
  }
}

function onInverseOffers(
  turn: CallTurn,
  answer: 'accept' | 'decline',
  part: SchedulerCall['acceptInverseOffers'] & object,
): void {
  onInverseOffersAnswered(turn, turn.framework, answer, part);
  onReclaimAnswered(turn, turn.framework, part);
  turn.accept('now', false);
}

function has<Part>(part: Part | null, handle: (part: Part) => void): boolean {
  if (part !== null) handle(part);
  return part !== null;
}
