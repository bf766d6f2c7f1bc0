import { mesos } from '@mesobus/protos';
import { askKills } from './carry-out-kill.ts';
import { askShutdown } from './executors.ts';
import { killsHere } from './kills-of.ts';
import { sendRequest } from './send-request.ts';
import { shutAll } from './shut-by.ts';
import { isLive } from './state.ts';
import { append, log, type Turn } from './turn.ts';

/** What is granted on top of the tasks' own grace, and then for their last updates. */
const endMs = 5_000;
const lastUpdatesMs = 2_000;
const unregisterMs = 2_000;
/** No task delays the end for longer, whatever grace it asks for. */
const maxGraceMs = 60_000;

/** Of the tasks that executors leave then. */
const killedByShutdown = {
  state: mesos.v1.TaskState.TASK_KILLED,
  reason: mesos.v1.TaskStatus.Reason.REASON_EXECUTOR_TERMINATED,
  message: 'The agent is shutting down',
};

/** Of the process, once the leader has marked the agent gone: whoever starts it again gets a new agent. */
export const goneExitCode = 3;

/** The operator wants this agent to end together with its tasks. */
export function onShutdownAsked(turn: Turn, why: string): void {
  beginShutdown(turn, why, 0);
}

/** The agent's id is over: the next process on this work directory registers as a new agent. */
export function retire(turn: Turn): void {
  const { identity } = turn.state;
  if (identity && !identity.retired) append(turn, { identity: { ...identity, retired: true } });
}

/** Ends all tasks, then this agent. */
export function beginShutdown(turn: Turn, why: string, exitCode: number): void {
  const { state } = turn;
  if (state.shutdown !== undefined) return;
  log(turn, 'info', 'Shutting down: all tasks are killed', { why });
  const kills = killsHere(state, () => true).map((kill) => ({ ...kill, graceMs: Math.min(kill.graceMs, maxGraceMs) }));
  const shut = shutAll(state, state.executors.values(), killedByShutdown).map(({ executor, ending }) => ({
    executor,
    ending: { ...ending, graceMs: Math.min(ending.graceMs ?? 0, maxGraceMs) },
  }));
  const longest = Math.max(0, ...[...kills, ...shut.map(({ ending }) => ending)].map(({ graceMs }) => graceMs ?? 0));
  const deadline = turn.at + longest + endMs;
  state.shutdown = { why, exitCode, deadline, updatesBy: undefined, phase: 'ending_tasks' };
  askKills(turn, kills);
  askShutdown(turn, shut);
}

/** Goes on with the shutdown as far as it can. */
export function progressShutdown(turn: Turn): void {
  const { state, at } = turn;
  const { shutdown } = state;
  if (shutdown === undefined) return;
  if (shutdown.phase === 'ending_tasks' && hasEnded(turn)) {
    if (state.registration.kind === 'registered') {
      shutdown.phase = 'unregistering';
      shutdown.deadline = at + unregisterMs;
      sendRequest(turn, { kind: 'unregister' }, { unregister: {} });
    } else shutdown.phase = 'stopped';
  }
  if (shutdown.phase === 'unregistering' && at >= shutdown.deadline) shutdown.phase = 'stopped';
  if (shutdown.phase !== 'stopped') return;
  state.shutdown = { ...shutdown, phase: 'unregistering', deadline: Number.POSITIVE_INFINITY }; // says it once
  turn.effects.push({ kind: 'stop', exitCode: shutdown.exitCode, reason: shutdown.why });
}

/** All tasks have ended and the leader has heard of it, or has had its time. */
function hasEnded({ state, at }: Turn): boolean {
  const { shutdown } = state;
  if (shutdown === undefined || at >= shutdown.deadline) return true;
  if ([...state.launches.values(), ...state.executors.values()].some(isLive)) return false;
  shutdown.updatesBy ??= at + lastUpdatesMs;
  const told = [...state.unacknowledged].every(({ sent, latestNumber }) => sent >= latestNumber);
  return (told && state.updateRequests === 0) || at >= shutdown.updatesBy;
}
