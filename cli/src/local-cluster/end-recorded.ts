import type { ClusterEvent } from './cluster-event.ts';
import type { RecordedProcess } from './context-file.ts';
import { isRunning, signalProcess, untilGone } from './process-identity.ts';

/** The longest that an agent takes to end its tasks in order. */
const deadlineMs = 90_000;
const afterKillMs = 5000;

/**
 * Ends what a cluster left behind whose own process is gone: the agents first, with their tasks, while there is still a
 * master to tell; then the rest from last to first, nats-server at the end. Only the very processes recorded, never
 * others that have their pids now.
 *
 * @throws {Error} one cannot be ended
 */
export async function endRecorded(
  processes: readonly RecordedProcess[],
  report: (event: ClusterEvent) => void,
): Promise<void> {
  const left = processes.filter(isRunning);
  await Promise.all(left.filter(({ agent }) => agent).map((agent) => end(agent, 'SIGUSR1', report)));
  for (const one of left.filter(({ agent }) => !agent).reverse()) await end(one, 'SIGTERM', report);
}

async function end(
  recorded: RecordedProcess,
  signal: NodeJS.Signals,
  report: (event: ClusterEvent) => void,
): Promise<void> {
  const { name, pid } = recorded;
  signalProcess(recorded, signal);
  if (!(await untilGone(recorded, deadlineMs))) {
    report({ kind: 'overdue', name, pid, deadlineMs });
    signalProcess(recorded, 'SIGKILL');
    if (!(await untilGone(recorded, afterKillMs))) {
      throw new Error(
        `Cannot end ${name} (pid ${pid}): it survives SIGKILL; see what 'ps -o stat,wchan -p ${pid}' says`,
      );
    }
  }
  report({ kind: 'orphan_ended', name, pid });
}
