import type { mesobus } from '@mesobus/protos';
import { advance } from './acknowledge.ts';
import { askKills } from './carry-out-kill.ts';
import { executorEndsTaken, repeatExecutorEnds } from './executor-ends.ts';
import { askShutdown } from './executors.ts';
import { sendAgain } from './flush-updates.ts';
import { forgetOperation } from './forget.ts';
import { ownGraceMs } from './kills-of.ts';
import { obey } from './obey.ts';
import { retire } from './on-shutdown-asked.ts';
import { estimateAnswered, tellEstimate } from './on-usage.ts';
import { repeatOperations } from './operations.ts';
import { backOff, scheduleRegistration } from './register.ts';
import { shutAll } from './shut-by.ts';
import { spansOfUpdates } from './spans.ts';
import { startUnbegun } from './start-launches.ts';
import { type Epoch, isLive, type Launch, launchKey, type SentRequest, type State } from './state.ts';
import { append, log, type Turn } from './turn.ts';

/** The leader has answered a request. */
export function onReply(turn: Turn, requestId: number, epoch: Epoch, message: mesobus.v1.AgentReply.$Properties): void {
  const { state } = turn;
  const sent = forgetRequest(state, requestId);
  if (sent === undefined) return;
  const current = state.registration.kind === 'asked' && state.registration.requestId === requestId;
  if (!obey(turn, epoch)) {
    // A deposed master's word counts for nothing; what was asked is repeated.
    if (current) backOff(turn, 'refused');
    return;
  }
  state.heardAt = turn.at;
  if (sent.kind === 'unregister') {
    retire(turn);
    if (state.shutdown !== undefined) state.shutdown.phase = 'stopped';
  } else if (message.reregisterNeeded) {
    if (current) backOff(turn, 'refused');
    else scheduleRegistration(turn, 0);
  } else if (sent.kind === 'register') {
    if (current && message.registered) onRegistered(turn, epoch, message.registered);
    else if (current) backOff(turn, 'refused');
  } else if (sent.kind === 'updates') onUpdatesTaken(turn, sent.launches, message.taskUpdatesTaken?.gaps ?? []);
  else if (sent.kind === 'executor_ends') {
    executorEndsTaken(turn, sent.containerIds, message.executorExitsTaken?.lastCommand ?? 0);
  } else if (sent.kind === 'estimate') estimateAnswered(state, sent.number);
  else if (sent.kind === 'operations') onOperationsTaken(turn, sent.numbers);
}

/** The request is over, however it went. */
export function forgetRequest(state: State, requestId: number): SentRequest | undefined {
  const sent = state.requests.get(requestId);
  state.requests.delete(requestId);
  if (sent?.kind === 'updates') state.updateRequests -= 1;
  if (sent?.kind === 'executor_message') state.executorMessages -= 1;
  return sent;
}

function onRegistered(turn: Turn, epoch: Epoch, registered: mesobus.v1.AgentRegistered.$Properties): void {
  const { state } = turn;
  const agentId = registered.agentId ?? '';
  state.registration = { kind: 'registered', epoch };
  state.heartbeatIntervalMs = registered.heartbeatIntervalMs || state.heartbeatIntervalMs;
  state.silenceTimeoutMs = registered.silenceTimeoutMs || state.silenceTimeoutMs;
  state.nextHeartbeatAt = turn.at;
  const isAnother = agentId !== state.identity?.agentId;
  if (isAnother) {
    append(turn, { identity: { ...state.identity, agentId } });
    state.durableCursor = state.cursor;
    state.durableCheckpointed = state.checkpointed;
    log(turn, 'info', 'Registered', { agentId });
  }

  for (const launch of state.unacknowledged) {
    launch.repeatAt = Number.POSITIVE_INFINITY;
    launch.lastGap = 0;
    sendAgain(turn, launch);
  }
  for (const operation of state.operations.values()) operation.repeatAt = turn.at;
  repeatOperations(turn);
  for (const key of registered.unknownTasks ?? []) {
    const launch = launchOf(state, key);
    if (launch === undefined) continue;
    launch.orphan = true;
    if (isLive(launch)) askKills(turn, [{ launch, graceMs: ownGraceMs(launch) }]);
    // Of what ended under another id nobody wants to hear, and soon another launch may come under its number.
    else if (isAnother) settle(turn, launch, launch.latestNumber);
  }
  const executors = [...state.executors.values()];
  for (const executor of executors) executor.repeatAt = turn.at;
  repeatExecutorEnds(turn);
  const unknown = new Set(registered.unknownExecutors ?? []);
  const unwanted = executors.filter(({ run }) => unknown.has(run.number ?? 0));
  askShutdown(turn, shutAll(state, unwanted));
  state.beginAtCursor = registered.lastCommand ?? 0;
  startUnbegun(turn);
  tellEstimate(turn);
}

function launchOf({ launches }: State, key: mesobus.v1.LaunchKey.$Properties): Launch | undefined {
  return launches.get(launchKey(key.commandNumber ?? 0, key.frameworkId ?? '', key.taskId ?? ''));
}

function onUpdatesTaken(
  turn: Turn,
  launches: readonly { readonly key: string; readonly upTo: number }[],
  gaps: readonly mesobus.v1.UpdateGap.$Properties[],
): void {
  const { state } = turn;
  for (const { launch: key, expectedNumber } of gaps) {
    const launch = key ? launchOf(state, key) : undefined;
    if (launch === undefined || !expectedNumber || launch.lastGap === expectedNumber) continue;
    launch.lastGap = expectedNumber;
    sendAgain(turn, launch, expectedNumber);
  }
  for (const { key, upTo } of launches) {
    const launch = state.launches.get(key);
    if (launch === undefined) continue;
    spansOfUpdates(turn, launch, upTo);
    if (launch.orphan) settle(turn, launch, upTo);
  }
}

/** Nobody will acknowledge: that the leader has the updates is enough. */
function settle(turn: Turn, launch: Launch, upTo: number): void {
  const { frameworkId, taskId } = launch;
  for (const { number, status } of [...launch.pending]) {
    if (number > upTo || !status.uuid) break;
    append(turn, { updateAcknowledged: { task: { frameworkId, taskId }, uuid: status.uuid } });
  }
  advance(turn, launch);
}

function onOperationsTaken(turn: Turn, numbers: readonly number[]): void {
  for (const number of numbers) {
    const operation = turn.state.operations.get(number);
    // Without an id of its own nobody is told of it, and nobody acknowledges.
    if (operation?.taken.command?.applyOperation?.operation?.id) continue;
    if (operation !== undefined) forgetOperation(turn, operation);
  }
}
