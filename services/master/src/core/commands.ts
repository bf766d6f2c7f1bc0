import type { mesobus } from '@mesobus/protos';
import { type AgentEntry, isTerminal, type TaskEntry, taskKeyOf } from '@mesobus/registry/core';
import { agentLinkOf } from './agents.ts';
import type { AgentLink, State } from './state.ts';
import type { Turn } from './turn.ts';

type Command = mesobus.v1.AgentCommand.$Properties;

/** Commands in one message, at most. */
const commandsPerMessage = 200;
/** Commands that are sent again at a time: an agent that is far behind gets them window by window. */
const commandsPerResend = 2_000;
const firstResendMs = 1_000;
const lastResendMs = 15_000;
/** The log hears of a cursor once it has moved so far, or so long after. */
const cursorStep = 100;
const cursorDelayMs = 1_000;

/** Records a command under the next number of its agent; it is sent once it is committed. */
export function issueCommand(turn: Turn, agent: AgentEntry, command: Command, principal = ''): void {
  const number = agent.lastCommand + 1;
  turn.commit([commandIssued(agent, { ...command, number }, turn.at, principal)]);
  announceCommands(turn, agent, agentLinkOf(turn.state, agent));
}

/** The record of a command; whoever commits it has it announced too. */
export const commandIssued = (
  agent: AgentEntry,
  command: Command,
  at: number,
  principal = '',
): mesobus.v1.Record.$Properties => ({
  commandIssued: { agentId: agent.id, command, issuedAtMs: at, ...(principal !== '' && { principal }) },
});

/** Has everything recorded for the agent so far sent, once it is committed. */
export function announceCommands(turn: Turn, agent: AgentEntry, link: AgentLink): void {
  if (agent.lastCommand <= link.released) return;
  const input = { kind: 'commands_committed', agentId: agent.id, upTo: agent.lastCommand } as const;
  turn.emit({ kind: 'committed', when: 'committed', input });
}

/** Tells an agent something that may be lost or repeated. */
export function sendLoose(
  turn: Turn,
  link: AgentLink,
  commands: readonly Command[],
  when: 'now' | 'committed' | 'barrier',
): void {
  if (link.incarnation === '') return; // it has not registered yet; it will ask again when it has
  for (let from = 0; from < commands.length; from += commandsPerMessage) {
    send(turn, link, commands.slice(from, from + commandsPerMessage), when);
  }
}

export function onCommandsCommitted(turn: Turn, agentId: string, upTo: number): void {
  const link = turn.state.agents.get(agentId);
  const agent = turn.state.ledger.agents.get(agentId);
  if (link === undefined || agent === undefined) return;
  link.released = Math.max(link.released, upTo);
  if (link.connected) sendAbove(turn, agent, link, Math.max(link.sent, link.cursor));
}

/** Sends everything committed that the agent has not confirmed; it ignores what it has. */
export function resendCommands(turn: Turn, agent: AgentEntry, link: AgentLink): void {
  sendAbove(turn, agent, link, link.cursor);
}

function sendAbove(turn: Turn, agent: AgentEntry, link: AgentLink, above: number): void {
  const last = Math.min(link.released, above + commandsPerResend);
  if (last <= above) return;
  for (let first = above + 1; first <= last; first += commandsPerMessage) {
    const commands: Command[] = [];
    for (let number = first; number <= Math.min(last, first + commandsPerMessage - 1); number += 1) {
      commands.push(commandNumbered(turn.state, agent, link, number));
    }
    send(turn, link, commands, 'now');
  }
  link.sent = last;
  awaitAnswer(turn, link);
}

function send(turn: Turn, link: AgentLink, commands: Command[], when: 'now' | 'committed' | 'barrier'): void {
  const { agentId, agentName, incarnation } = link;
  link.lastAddressedMs = turn.at;
  turn.emit({ kind: 'commands', when, agentName, message: { agentId, incarnation, commands } });
}

/** Says that the leader is there, to an agent that has heard nothing for a while. */
export function sendNothing(turn: Turn, link: AgentLink): void {
  send(turn, link, [], 'now');
}

/** Asks whoever runs under the agent's name to register (again): commands for no agent id say so. */
export function askToRegister(turn: Turn, agentName: string, incarnation: string): void {
  turn.emit({ kind: 'commands', when: 'now', agentName, message: { agentId: '', incarnation, commands: [] } });
}

/** The command under a number. A launch whose end is committed is never sent: the kill goes under its number. */
function commandNumbered(state: State, agent: AgentEntry, link: AgentLink, number: number): Command {
  const task = agent.launches.get(number);
  if (task === undefined) {
    // A number that the ledger has forgotten must not leave a gap: nothing is shut down by it.
    const operation = agent.operations.get(number);
    const known = agent.commands.get(number)?.command ?? (operation && commandOf(operation));
    return known ?? { number, shutdownFramework: { frameworkId: '' } };
  }
  const { launched } = task;
  if (launched.run) return withExecutor(state, agent, link, task, launched);
  if (isEnded(state, link, task)) {
    const { frameworkId, taskId } = task;
    const unlaunched = unlaunchedOf(agent, task);
    const killTask = { task: { frameworkId, taskId }, ...(unlaunched && { unlaunched }) };
    return { number, traceparent: launched.traceparent, killTask };
  }
  const framework = state.ledger.frameworks.get(task.frameworkId)?.record.info;
  return {
    number,
    traceparent: launched.traceparent,
    runTask: { framework: framework ?? null, task: launched.task, callId: launched.callId },
  };
}

/** One that has ended is sent as such, for its executor's sake: an agent that has not got that says that it never ran. */
function withExecutor(
  state: State,
  agent: AgentEntry,
  link: AgentLink,
  first: TaskEntry,
  { traceparent, callId, task, executor, groupId, run }: mesobus.v1.TaskLaunched,
): Command {
  const tasks = first.group ?? [first];
  const ended = tasks.find((one) => isEnded(state, link, one));
  const unlaunched = ended && { unlaunched: unlaunchedOf(agent, ended) ?? {} };
  const info = state.ledger.frameworks.get(first.frameworkId)?.record.info;
  const framework = { user: '', name: '', ...info, id: { value: first.frameworkId } };
  const common = { framework, callId, run, ...unlaunched };
  const command = { number: first.commandNumber, traceparent };
  if (groupId === '') return { ...command, runTask: { ...common, task } };
  const group = { tasks: tasks.flatMap(({ launched }) => launched.task ?? []) };
  return { ...command, runTaskGroup: { ...common, executor, group } };
}

/** Of an operation whose command the ledger has forgotten: the agent has lost what it had confirmed. */
function commandOf(record: mesobus.v1.OperationRecord): Command {
  const { commandNumber: number, traceparent, frameworkId, operation, operationUuid } = record;
  return { number, traceparent, applyOperation: { frameworkId, operation: operation?.info ?? null, operationUuid } };
}

/** What its latest kill says of a launch that the agent has never had. */
function unlaunchedOf(agent: AgentEntry, task: TaskEntry): mesobus.v1.Unlaunched.$Properties | null | undefined {
  const kill = agent.commands.get(agent.kills.get(taskKeyOf(task)) ?? 0);
  return kill?.command?.killTask?.unlaunched;
}

/**
 * Notes the command that is about to end a task. Where an earlier one does that already, it counts: nothing that is
 * decided later, and not committed yet, may undo what everybody may see.
 */
export function decideEnd({ ends }: State, task: TaskEntry, commandNumber: number, graceNs: bigint): void {
  const earliest = ends.get(task)?.commandNumber ?? (task.killIssued ? 0 : commandNumber);
  ends.set(task, { commandNumber: earliest, graceNs });
}

function isEnded(state: State, link: AgentLink, task: TaskEntry): boolean {
  if (!task.killIssued && !isTerminal(task.state)) return false;
  return (state.ends.get(task)?.commandNumber ?? 0) <= link.released;
}

// ---- until the cursor moves

function awaitAnswer(turn: Turn, link: AgentLink): void {
  if (link.resendAfterMs > 0) return;
  link.resendAfterMs = firstResendMs;
  link.resendAtMs = turn.at + firstResendMs;
  turn.state.timers.set(link.resendAtMs, { kind: 'resend', agentId: link.agentId });
}

export function onResendDue(turn: Turn, agentId: string): void {
  const link = turn.state.agents.get(agentId);
  const agent = turn.state.ledger.agents.get(agentId);
  if (link === undefined || agent === undefined) return;
  if (!link.connected || link.cursor >= link.released) {
    link.resendAfterMs = 0;
    return;
  }
  if (turn.at >= link.resendAtMs) {
    link.resendAfterMs = Math.min(link.resendAfterMs * 2, lastResendMs);
    link.resendAtMs = turn.at + link.resendAfterMs;
    resendCommands(turn, agent, link);
  }
  turn.state.timers.set(link.resendAtMs, { kind: 'resend', agentId });
}

export function onCommandsAnswered(turn: Turn, agentId: string, incarnation: string, cursor: number): void {
  const link = turn.state.agents.get(agentId);
  const agent = turn.state.ledger.agents.get(agentId);
  if (link === undefined || agent === undefined || link.incarnation !== incarnation) return;
  moveCursor(turn, agent, link, cursor);
}

/** The agent has checkpointed every command up to here. */
export function moveCursor(turn: Turn, agent: AgentEntry, link: AgentLink, cursor: number): void {
  if (cursor <= link.cursor || cursor > link.released) return;
  // It had lost what it had confirmed, and with it tasks perhaps: only now can it be said which.
  const hasAgain = link.cursor < agent.cursor && cursor >= agent.cursor;
  link.cursor = cursor;
  if (hasAgain) askToRegister(turn, link.agentName, link.incarnation);
  if (link.resendAfterMs > 0) {
    link.resendAfterMs = firstResendMs;
    link.resendAtMs = turn.at + firstResendMs;
  }
  if (link.sent < link.released && link.connected) sendAbove(turn, agent, link, Math.max(link.sent, cursor));
  if (cursor - agent.cursor >= cursorStep || turn.at - link.cursorRecordedMs >= cursorDelayMs) {
    recordCursor(turn, agent, link);
  } else if (!link.cursorTimerSet) {
    link.cursorTimerSet = true;
    turn.state.timers.set(turn.at + cursorDelayMs, { kind: 'cursor', agentId: link.agentId });
  }
}

export function onCursorDue(turn: Turn, agentId: string): void {
  const link = turn.state.agents.get(agentId);
  const agent = turn.state.ledger.agents.get(agentId);
  if (link === undefined) return;
  link.cursorTimerSet = false;
  if (agent !== undefined) recordCursor(turn, agent, link);
}

export function recordCursor(turn: Turn, agent: AgentEntry, link: AgentLink): void {
  if (link.cursor <= agent.cursor) return;
  link.cursorRecordedMs = turn.at;
  turn.commit([{ commandsApplied: { agentId: agent.id, cursor: link.cursor } }], 'riding');
}
