import { mesos } from '@mesobus/protos';
import type { Launch } from './state.ts';
import type { Turn } from './turn.ts';

/*
 * The agent's part of the trace of a task. The ids of its spans come from the command that asked for the launch, and the
 * numbers of its updates: an agent that starts again goes on under them, and writes again what it may not have sent.
 */

const { TASK_STAGING, TASK_STARTING } = mesos.v1.TaskState;

/** From the command until there is something to say of the task: it runs, or never will. Written once. */
export function spanOfRun(turn: Turn, launch: Launch): void {
  if (launch.runTraced || isOnItsWay(launch)) return;
  launch.runTraced = true;
  writeRun(turn, launch, turn.at);
}

/** After a start: that it came to run stands in the journal until it is acknowledged, and was perhaps never sent. */
export function spanOfRunAgain(turn: Turn, launch: Launch): void {
  if (isOnItsWay(launch)) return;
  launch.runTraced = true;
  const [first] = launch.pending.filter(({ status: { state } }) => state !== TASK_STAGING && state !== TASK_STARTING);
  if (first !== undefined) writeRun(turn, launch, (first.status.timestamp ?? turn.at / 1000) * 1000);
}

const isOnItsWay = ({ state }: Launch): boolean => state === TASK_STAGING || state === TASK_STARTING;

function writeRun(turn: Turn, launch: Launch, endMs: number): void {
  if (turn.state.config.childTraceparent === undefined) return;
  turn.effects.push({
    kind: 'span',
    name: 'run task',
    identity: launch.trace,
    parent: launch.traceparent,
    startMs: Math.min(launch.taken.takenAtMs || endMs, endMs),
    endMs,
    attributes: { ...idsOf(launch), 'mesobus.task_state': nameOf(launch.state) },
  });
}

export function spanOfStart(turn: Turn, launch: Launch): void {
  const { childTraceparent } = turn.state.config;
  if (childTraceparent === undefined || launch.startedAt === 0) return;
  turn.effects.push({
    kind: 'span',
    name: 'start container',
    identity: childTraceparent(launch.trace, 'start'),
    parent: launch.trace,
    startMs: launch.startedAt,
    endMs: turn.at,
    attributes: idsOf(launch),
  });
}

/**
 * Writes the spans of the updates up to a number that the leader is known to have: it has answered, or the framework's
 * acknowledgement has overtaken the answer.
 */
export function spansOfUpdates(turn: Turn, launch: Launch, upTo: number): void {
  if (turn.state.config.childTraceparent === undefined) return;
  for (const update of launch.pending) {
    // Only the first time: an update that is repeated has its span.
    if (update.number > upTo || update.number <= launch.traced) continue;
    launch.traced = update.number;
    turn.effects.push({
      kind: 'span',
      name: 'status update',
      identity: update.traceparent ?? '',
      parent: launch.trace,
      startMs: (update.status.timestamp ?? turn.at / 1000) * 1000,
      endMs: turn.at,
      attributes: { ...idsOf(launch), 'mesobus.task_state': nameOf(update.status.state) },
    });
  }
}

/**
 * A word of the leader about a task has come. It hangs below what the agent itself has written: the leader that spoke is
 * perhaps dead, and its span never sent.
 *
 * @param link - the span of the leader; may be empty
 */
export function spanOfWord(
  turn: Turn,
  name: 'kill task' | 'acknowledge update',
  launch: Launch,
  { parent, link = '' }: { readonly parent: string; readonly link?: string },
): void {
  const { childTraceparent } = turn.state.config;
  if (childTraceparent === undefined || parent === '') return;
  turn.effects.push({
    kind: 'span',
    name,
    identity: childTraceparent(parent, `${name} ${link}`),
    parent,
    link,
    startMs: turn.at,
    endMs: turn.at,
    attributes: idsOf(launch),
  });
}

/** What a line of the log has about a task that is traced. */
export const idsIn = ({ trace }: Launch): { trace_id?: string; span_id?: string } =>
  trace === '' ? {} : { trace_id: trace.slice(3, 35), span_id: trace.slice(36, 52) };

const nameOf = (state: mesos.v1.TaskState): string => mesos.v1.TaskState[state] ?? '';

const idsOf = ({ taskId, frameworkId, containerId }: Launch): Record<string, string> => ({
  'mesobus.task_id': taskId,
  'mesobus.framework_id': frameworkId,
  ...(containerId !== '' && { 'mesobus.container_id': containerId }),
});
