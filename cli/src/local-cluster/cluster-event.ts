/** What happens to the processes of a local cluster. */
export type ClusterEvent =
  | { readonly kind: 'orphan_ended'; readonly name: string; readonly pid: number }
  | { readonly kind: 'started'; readonly name: string; readonly pid: number }
  | { readonly kind: 'ready'; readonly name: string; readonly pid: number; readonly restarted: boolean }
  /** It ended though nobody asked it to; it is started again after `retryMs`. */
  | {
      readonly kind: 'died';
      readonly name: string;
      readonly pid: number;
      readonly how: string;
      readonly retryMs: number;
    }
  /** It did not end in time and got SIGKILL. */
  | { readonly kind: 'overdue'; readonly name: string; readonly pid: number; readonly deadlineMs: number }
  | { readonly kind: 'stopped'; readonly name: string; readonly pid: number }
  /** An agent that was down could not be started to end its tasks: they may go on. */
  | { readonly kind: 'tasks_left'; readonly name: string; readonly why: string };

/** One line for people. */
export function describeClusterEvent(event: ClusterEvent): string {
  if (event.kind === 'tasks_left') return `the tasks of ${event.name} may go on, for it cannot end them: ${event.why}`;
  const who = `${event.name} (pid ${event.pid})`;
  switch (event.kind) {
    case 'orphan_ended':
      return `${who} was left behind by a cluster that ended badly: it is ended`;
    case 'started':
      return `${who} starts`;
    case 'ready':
      return event.restarted ? `${who} is ready again` : `${who} is ready`;
    case 'died':
      return `${who} ${event.how}; it starts again in ${event.retryMs} ms`;
    case 'overdue':
      return `${who} did not end within ${event.deadlineMs / 1000} s and is killed`;
    case 'stopped':
      return `${who} has stopped`;
  }
}
