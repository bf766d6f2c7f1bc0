import type { mesobus } from '@mesobus/protos';
import { findLatest, isDelegated, isLive, type Launch, type State } from './state.ts';

/** The task whose standing still, or going on, a command changes. One that an executor runs is that executor's business. */
export function pauseIn(
  state: State,
  { pauseTask, resumeTask }: mesobus.v1.AgentCommand.$Properties,
): { readonly launch: Launch; readonly paused: boolean } | undefined {
  const task = (pauseTask ?? resumeTask)?.task;
  const launch = task && findLatest(state, task.frameworkId ?? '', task.taskId ?? '');
  const paused = !!pauseTask;
  if (!launch || !isLive(launch) || isDelegated(launch) || launch.paused === paused) return undefined;
  return { launch, paused };
}
