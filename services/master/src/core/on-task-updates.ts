import { encode, type mesobus, mesos } from '@mesobus/protos';
import { type AgentEntry, canMove, type FrameworkEntry, isTerminal, type TaskEntry } from '@mesobus/registry/core';
import type { AgentTurn } from './agent-turn.ts';
import { agentChanged } from './feed.ts';
import { findLiveFramework, linkOf } from './frameworks.ts';
import { noteEnded, relayAcknowledgement } from './on-acknowledge.ts';
import type { FrameworkLink, PendingUpdate } from './state.ts';
import { updateEvent } from './statuses.ts';
import { idsIn, retrace } from './traces.ts';

const { TASK_UNREACHABLE } = mesos.v1.TaskState;

type TaskUpdate = mesobus.v1.TaskUpdate;
type Gap = mesobus.v1.UpdateGap.$Properties;

const uuidBytes = 16;
/** Updates of one task that wait for acknowledgement here; the agent has them all and sends them again. */
const maxPendingPerTask = 100;

/** An agent says how its tasks are. */
export function onTaskUpdates(turn: AgentTurn, agent: AgentEntry, updates: readonly TaskUpdate[]): void {
  const gaps: Gap[] = [];
  for (const update of updates) {
    const gap = onTaskUpdate(turn, agent, update);
    if (gap !== undefined) gaps.push(gap);
  }
  turn.answer('now', { taskUpdatesTaken: { gaps } });
}

function onTaskUpdate(turn: AgentTurn, agent: AgentEntry, update: TaskUpdate): Gap | undefined {
  const { status, frameworkId, number } = update;
  if (status?.uuid.length !== uuidBytes || number < 1) {
    turn.state.tally.invalidStatusUpdates.count += 1;
    turn.log('warn', 'an update is malformed and dropped', { agent: agent.id, framework: frameworkId, number });
    return undefined;
  }
  const framework = findLiveFramework(turn.state, frameworkId);
  const task = framework?.tasks.get(status.taskId.value);
  if (framework === undefined || task?.commandNumber !== update.commandNumber || task.agentId !== agent.id) {
    turn.state.tally.invalidStatusUpdates.count += 1;
    // Nobody waits for it. Only a leader that still leads may say so: another may know the task.
    acknowledge(turn, agent, update, status, 'barrier');
    return undefined;
  }
  if (number > task.updateNumber + 1) {
    const { taskId, commandNumber, updateNumber } = task;
    return { launch: { frameworkId, taskId, commandNumber }, expectedNumber: updateNumber + 1 };
  }
  turn.state.tally.validStatusUpdates.count += 1;
  if (number > task.updateNumber) take(turn, framework, task, update, status);
  else if (number <= task.acknowledgedNumber && isAgentsOwn(task)) {
    acknowledge(turn, agent, update, status, 'committed'); // the acknowledgement was lost on its way
    return undefined;
  }
  forward(turn, framework, task, update, status);
  return undefined;
}

/** Whether the acknowledged number counts updates that the framework has really acknowledged. */
const isAgentsOwn = (task: TaskEntry): boolean => task.status === undefined || task.status.uuid.length > 0;

function acknowledge(
  turn: AgentTurn,
  agent: AgentEntry,
  { frameworkId }: TaskUpdate,
  { taskId, uuid }: mesos.v1.TaskStatus,
  when: 'barrier' | 'committed',
): void {
  relayAcknowledgement(turn, agent.id, { frameworkId, taskId: taskId.value }, uuid, when);
}

/** The next update of its task: its record rides with the next entry, a terminal one makes an entry. */
function take(
  turn: AgentTurn,
  framework: FrameworkEntry,
  task: TaskEntry,
  update: TaskUpdate,
  status: mesos.v1.TaskStatus,
): void {
  const { frameworkId, taskId, commandNumber, acknowledgedNumber } = task;
  const state = newState(task, update, status);
  const ends = isTerminal(state) && !isTerminal(task.state);
  const legal = state === status.state || !isTerminal(task.state);
  const taskChanged = {
    task: { frameworkId, taskId },
    commandNumber,
    state,
    ...(legal && { status: forTheLog(status) }),
    updateNumber: update.number,
    acknowledgedNumber,
    changedAtMs: turn.at,
  };
  turn.commit([{ taskChanged }], ends ? 'urgent' : 'riding');
  if (ends) {
    agentChanged(turn.state, task.agentId);
    noteEnded(turn, linkOf(turn.state, framework, turn.at), task);
  }
  if (!legal) {
    const fields = { task: taskId, from: String(task.state), to: String(status.state), ...idsIn(update.traceparent) };
    turn.log('info', 'an update is forwarded that cannot change the state of its task', fields);
  }
}

const maxStatusBytes = 64 * 1024;
const maxMessageLength = 4096;

/** What the log keeps of a status: all but its data; of a huge one only what identifies it. */
function forTheLog(status: mesos.v1.TaskStatus): mesos.v1.TaskStatus {
  const { data: _, ...kept } = status;
  const small = new mesos.v1.TaskStatus(kept as mesos.v1.TaskStatus);
  if (encode(mesos.v1.TaskStatus, small).length <= maxStatusBytes) return small;
  const { taskId, state, source, reason, agentId, timestamp, uuid, message } = status;
  const short = { taskId, state, source, reason, agentId, timestamp, uuid };
  return new mesos.v1.TaskStatus({ ...short, message: message.slice(0, maxMessageLength) });
}

/**
 * The newest state that the agent knows, where the task may move there. One that was out of reach comes back by its agent's
 * registration alone: until then its resources may be somebody else's.
 */
function newState(task: TaskEntry, { latestState }: TaskUpdate, { state }: mesos.v1.TaskStatus): mesos.v1.TaskState {
  if (isTerminal(latestState) && (canMove(task.state, latestState) || task.state === latestState)) return latestState;
  const isBack = task.state !== TASK_UNREACHABLE || isTerminal(state);
  return isBack && canMove(task.state, state) ? state : task.state;
}

/** To the scheduler, at once. What it does not acknowledge, the agent sends again. */
function forward(
  turn: AgentTurn,
  framework: FrameworkEntry,
  task: TaskEntry,
  update: TaskUpdate,
  status: mesos.v1.TaskStatus,
): void {
  const link = linkOf(turn.state, framework, turn.at);
  retrace(turn, task, turn.state.agents.get(task.agentId)?.commandsBefore ?? 0);
  const traceparent = update.traceparent || task.launched.traceparent;
  awaitAcknowledgement(link, {
    number: update.number,
    commandNumber: task.commandNumber,
    agentId: task.agentId,
    status,
    traceparent,
  });
  turn.tell(framework.id, [updateEvent(status, traceparent)]);
  if (traceparent === '' || !turn.state.config.tracing) return;
  const attributes = { 'mesobus.task_id': task.taskId, 'mesobus.task_state': mesos.v1.TaskState[status.state] ?? '' };
  turn.span({ name: 'forward status', parent: traceparent, startMs: turn.at, attributes });
}

function awaitAcknowledgement({ pending }: FrameworkLink, update: PendingUpdate): void {
  const taskId = update.status.taskId.value;
  const waiting = (pending.get(taskId) ?? []).filter(
    ({ number, commandNumber }) => commandNumber === update.commandNumber && number !== update.number,
  );
  const updates = [...waiting, update].sort((a, b) => a.number - b.number);
  pending.set(taskId, updates.slice(0, maxPendingPerTask));
}
