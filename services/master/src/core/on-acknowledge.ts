import type { mesobus, mesos } from '@mesobus/protos';
import { type FrameworkEntry, isCompleted, type TaskEntry } from '@mesobus/registry/core';
import type { CallTurn } from './call-turn.ts';
import { sendLoose } from './commands.ts';
import type { FrameworkLink, State } from './state.ts';
import { idsIn, traceAcknowledgement } from './traces.ts';
import type { Turn } from './turn.ts';

interface Acknowledged {
  readonly number: number;
  readonly commandNumber: number;
  readonly agentId: string;
  /** Ids of the agent's span of it, where this leader has forwarded it. */
  readonly traceparent?: string;
}

/** A framework has taken in an update. The agent hears of it only once the update's record is committed. */
export function onAcknowledge(turn: CallTurn, { taskId, uuid }: mesos.v1.scheduler.Call.Acknowledge): void {
  const { framework, state } = turn;
  const task = framework.tasks.get(taskId.value);
  const waits = state.frameworks.get(framework.id)?.pending.has(taskId.value) ?? false;
  const acknowledged = waits ? takePending(state, framework, taskId.value, uuid) : latestOf(task, uuid);
  if (acknowledged === undefined) {
    state.tally.invalidAcknowledgements.count += 1;
    turn.log('debug', 'an acknowledgement fits no update that waits for one', { task: taskId.value });
    turn.accept('barrier', false);
    return;
  }
  state.tally.validAcknowledgements.count += 1;
  const { number, commandNumber, agentId, traceparent = '' } = acknowledged;
  if (task?.commandNumber === commandNumber) recordAcknowledged(turn, framework, task, number);
  turn.accept('barrier', true);
  const key = { frameworkId: framework.id, taskId: taskId.value };
  const parent = traceparent || (task?.launched.traceparent ?? '');
  traceAcknowledgement(turn, key, { parent, asked: turn.traceparent });
  relayAcknowledgement(turn, agentId, key, uuid, 'committed');
}

/** The update that waits first, if it is this one: the agent takes them in order too. */
function takePending(
  state: State,
  framework: FrameworkEntry,
  taskId: string,
  uuid: Uint8Array,
): Acknowledged | undefined {
  const link = state.frameworks.get(framework.id);
  const first = link?.pending.get(taskId)?.[0];
  if (link === undefined || first === undefined || !equalBytes(first.status.uuid, uuid)) return undefined;
  dropPending(link, taskId, first.number);
  return first;
}

/** Forgets the updates of a task up to a number. */
export function dropPending(link: FrameworkLink, taskId: string, upTo: number): void {
  const rest = (link.pending.get(taskId) ?? []).filter(({ number }) => number > upTo);
  if (rest.length === 0) link.pending.delete(taskId);
  else link.pending.set(taskId, rest);
}

/** A leader that is new has not forwarded the update itself: the ledger has the latest. */
function latestOf(task: TaskEntry | undefined, uuid: Uint8Array): Acknowledged | undefined {
  if (task?.status === undefined || task.acknowledgedNumber >= task.updateNumber) return undefined;
  if (!equalBytes(task.status.uuid, uuid)) return undefined;
  return { number: task.updateNumber, commandNumber: task.commandNumber, agentId: task.agentId };
}

export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length > 0 && a.length === b.length && a.every((byte, i) => byte === b[i]);
}

function recordAcknowledged(turn: Turn, framework: FrameworkEntry, task: TaskEntry, number: number): void {
  const { frameworkId, taskId, commandNumber, state, updateNumber, changedAtMs } = task;
  const key = { frameworkId, taskId };
  const taskChanged = { task: key, commandNumber, state, updateNumber, acknowledgedNumber: number, changedAtMs };
  turn.commit([{ taskChanged }], 'riding');
  if (!isCompleted(task)) return;
  turn.state.frameworks.get(frameworkId)?.ended.delete(task);
  trimCompleted(turn, framework);
}

/** The oldest of too many completed tasks leave the ledger. */
export function trimCompleted(turn: Turn, framework: FrameworkEntry): void {
  const excess = framework.completed.size - turn.state.config.maxCompletedTasksPerFramework;
  const removed: mesobus.v1.Record.$Properties[] = [];
  for (const { frameworkId, taskId, commandNumber } of framework.completed) {
    if (removed.length >= excess) break;
    turn.state.frameworks.get(frameworkId)?.pending.delete(taskId);
    removed.push({ taskRemoved: { task: { frameworkId, taskId }, commandNumber } });
  }
  turn.commit(removed, 'riding');
}

/** A task has ended. A framework that never acknowledges must not fill the ledger. */
export function noteEnded(turn: Turn, link: FrameworkLink, task: TaskEntry): void {
  link.ended.add(task);
  const [oldest] = link.ended;
  if (link.ended.size <= turn.state.config.maxUnacknowledgedTasksPerFramework || oldest === undefined) return;
  link.ended.delete(oldest);
  const { frameworkId, taskId, commandNumber } = oldest;
  if (turn.state.ledger.frameworks.get(frameworkId)?.tasks.get(taskId) !== oldest) return;
  link.pending.delete(taskId);
  turn.commit([{ taskRemoved: { task: { frameworkId, taskId }, commandNumber } }], 'riding');
  turn.log('warn', 'too many updates are not acknowledged: the oldest ended task is forgotten', {
    framework: frameworkId,
    task: taskId,
    ...idsIn(oldest.launched.traceparent),
  });
}

export function relayAcknowledgement(
  turn: Turn,
  agentId: string,
  task: mesobus.v1.TaskKey.$Properties,
  uuid: Uint8Array,
  when: 'committed' | 'barrier',
): void {
  const link = turn.state.agents.get(agentId);
  if (link !== undefined) sendLoose(turn, link, [{ number: 0, acknowledgeUpdate: { task, uuid } }], when);
}
