import { type mesobus, mesos } from '@mesobus/protos';
import { acknowledge, acknowledgeOperation } from './acknowledge.ts';
import { askKills, carryOutKill } from './carry-out-kill.ts';
import { forgetToldExecutors } from './executor-ends.ts';
import { askShutdown, shutDown } from './executors.ts';
import type { Effect, Input } from './index.ts';
import { killsOf } from './kills-of.ts';
import { ordersIn, runsHere, standingOf } from './launch-orders.ts';
import { makeRefusal } from './make-update.ts';
import { obey } from './obey.ts';
import { beginShutdown, goneExitCode, retire } from './on-shutdown-asked.ts';
import { pauseIn } from './pause-in.ts';
import { carryOutPause } from './pausing.ts';
import { registerAsAsked } from './register.ts';
import { sandboxPath } from './sandbox-path.ts';
import { executorsShutBy } from './shut-by.ts';
import { spanOfWord } from './spans.ts';
import { startLaunch, startUnbegun } from './start-launches.ts';
import { compareEpochs, executorKey, type Launch, launchKey, type State } from './state.ts';
import { type FailedVolume, judgeOperation } from './take-operation.ts';
import { tellExecutor } from './tell-executor.ts';
import { append, defer, log, nextUuid, type Turn } from './turn.ts';
import { uuidText } from './uuid-text.ts';

type Command = mesobus.v1.AgentCommand.$Properties;

const { MESSAGE } = mesos.v1.executor.Event.Type;

/** The leader wants something done. */
export function onCommands(turn: Turn, input: Extract<Input, { kind: 'commands' }>): void {
  const { state } = turn;
  const { deliveryId, epoch, message } = input;
  const refusal = refuse(turn, input);
  if (refusal !== undefined) {
    turn.effects.push({ kind: 'refuse', deliveryId, ...refusal });
    return;
  }
  state.heardAt = turn.at;
  const { registration } = state;
  const isNews = registration.kind === 'registered' && compareEpochs(epoch, registration.epoch) > 0;
  if (!message.agentId || isNews) registerAsAsked(turn); // without an id: the leader does not know this process

  for (const command of message.commands ?? []) {
    if (!command.number) takeUnnumbered(turn, command);
    else if (command.number === state.cursor + 1) take(turn, command, input.failedVolumes ?? []);
  }
  defer(turn, { kind: 'reply', deliveryId, cursor: state.cursor }, state.answerPosition);
}

function refuse(
  turn: Turn,
  { epoch, message }: Extract<Input, { kind: 'commands' }>,
): { code: Extract<Effect, { kind: 'refuse' }>['code']; subject: string; why: string } | undefined {
  const { state } = turn;
  const { agentName, incarnation } = state.config;
  if (message.incarnation !== incarnation) {
    return { code: 'incarnation_superseded', subject: agentName, why: 'the commands are for another process' };
  }
  const agentId = state.identity?.agentId ?? '';
  // The answer to the first registration may be overtaken by the first commands: they name this very process.
  const learns = state.recovered && agentId === '' && state.registration.kind === 'asked' && !!message.agentId;
  const asksToRegister = state.recovered && !message.agentId && (message.commands ?? []).length === 0;
  if (!asksToRegister && !learns && (!state.recovered || agentId === '' || message.agentId !== agentId)) {
    return { code: 'agent_unknown', subject: message.agentId ?? '', why: `this agent has the id '${agentId}'` };
  }
  if (!obey(turn, epoch)) {
    return { code: 'superseded_master', subject: agentName, why: `it has obeyed epoch ${state.obeyed.epoch}` };
  }
  if (state.room === 'full' && (message.commands ?? []).length > 0) {
    return { code: 'overloaded', subject: agentName, why: 'its disk is full, and it can write nothing down' };
  }
  if (learns) append(turn, { identity: { ...state.identity, agentId: message.agentId } });
  return undefined;
}

/** Takes the next command: into the journal first, and only then into effect. */
function take(turn: Turn, command: Command, failedVolumes: readonly FailedVolume[]): void {
  const { state } = turn;
  const shut = executorsShutBy(state, command).map(({ executor }) => executor);
  const ending = killsOf(state, command).map(({ launch }) => launch);
  const pause = pauseIn(state, command);
  const failed = failedVolumes.find(({ number }) => number === command.number);
  const apply = command.applyOperation;
  const operationStatus = apply ? { operationStatus: judgeOperation(state, apply, nextUuid(state), failed) } : {};
  append(turn, {
    commandTaken: {
      command,
      ...(isLaunch(command) && { takenAtMs: turn.at }),
      ...containersFor(state, command),
      ...operationStatus,
    },
  });
  state.answerPosition = state.appended;
  defer(turn, { kind: 'cursor', cursor: state.cursor, checkpointed: state.checkpointed });

  for (const launch of ending) {
    if (command.killTask)
      spanOfWord(turn, 'kill task', launch, { parent: launch.trace, link: command.traceparent ?? '' });
    carryOutKill(turn, launch);
  }
  for (const executor of shut) shutDown(turn, executor);
  if (pause !== undefined) carryOutPause(turn, pause.launch);
  for (const launch of launchesUnder(state, command)) begin(turn, launch);
  startUnbegun(turn);
  forgetToldExecutors(turn);
  const operation = state.operations.get(state.cursor);
  if (operation !== undefined) defer(turn, { kind: 'operation', operation });
  if (command.shutdownAgent) endAsGone(turn, command.shutdownAgent);
}

const isLaunch = (command: Command): boolean => !!command.runTask || !!command.runTaskGroup;

/** Those of the tasks that the agent runs itself, and that of an executor that is not there yet. */
function containersFor(state: State, command: Command): mesobus.v1.CommandTaken.$Properties {
  const place = (frameworkId: string, name: string): mesobus.v1.TakenContainer.$Properties => {
    const containerId = uuidText(nextUuid(state));
    return { containerId, sandbox: sandboxPath(frameworkId, name, containerId) };
  };
  const orders = ordersIn({ command });
  const [first] = orders;
  if (first === undefined) return {};
  const { frameworkId, executor, isGrouped } = first;
  const own = runsHere(first) ? orders.map(({ taskId }) => place(frameworkId, taskId)) : [];
  const starts = executor !== undefined && standingOf(state, first) === 'starts';
  return {
    ...(isGrouped ? { group: own } : own[0]),
    ...(starts && { executor: place(frameworkId, executor.executorId.value) }),
  };
}

/** The launches that a command has put into the books. */
function launchesUnder({ launches }: State, command: Command): Launch[] {
  const number = command.number ?? 0;
  const keys = ordersIn({ command }).map(({ frameworkId, taskId }) => launchKey(number, frameworkId, taskId));
  const killed = command.killTask?.task;
  if (killed) keys.push(launchKey(number, killed.frameworkId ?? '', killed.taskId ?? ''));
  return keys.map((key) => launches.get(key)).filter((launch) => launch !== undefined);
}

function begin(turn: Turn, launch: Launch): void {
  if (launch.refusal !== undefined) makeRefusal(turn, launch);
  else startLaunch(turn, launch);
}

/** The leader has marked this agent gone: what it was is over. */
function endAsGone(turn: Turn, { message }: mesobus.v1.ShutdownAgent.$Properties): void {
  retire(turn);
  beginShutdown(turn, message || 'the leader says so', goneExitCode);
}

function takeUnnumbered(turn: Turn, command: Command): void {
  const { acknowledgeUpdate, acknowledgeOperationUpdate, shutdownAgent, frameworkMessage } = command;
  if (acknowledgeUpdate) acknowledge(turn, acknowledgeUpdate);
  else if (acknowledgeOperationUpdate) acknowledgeOperation(turn, acknowledgeOperationUpdate);
  else if (shutdownAgent) endAsGone(turn, shutdownAgent);
  else if (frameworkMessage) passOn(turn, frameworkMessage);
  else if (command.reactivateAgent) append(turn, { drainingChanged: {} });
  else if (command.shutdownFramework || command.shutdownExecutor || command.killTask || command.drainAgent) {
    if (command.drainAgent) append(turn, { drainingChanged: { drain: command.drainAgent } });
    askKills(turn, killsOf(turn.state, command));
    askShutdown(turn, executorsShutBy(turn.state, command));
  } else log(turn, 'warn', 'Dropped a command that needs a number and has none');
}

/** A word of a scheduler to an executor: carried once, or lost. */
function passOn(turn: Turn, message: mesobus.v1.FrameworkMessage.$Properties): void {
  const [framework, id] = [message.frameworkId ?? '', message.executorId ?? ''];
  const executor = turn.state.byExecutor.get(executorKey(framework, id));
  const data = message.data ?? new Uint8Array();
  if (executor?.connected) tellExecutor(turn, executor, { type: MESSAGE, message: { data } });
  else log(turn, 'info', 'Dropped a message to an executor that is not there', { framework, executor: id });
}
