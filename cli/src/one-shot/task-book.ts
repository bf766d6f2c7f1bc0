import type { TaskState, TaskStatus } from '@mesobus/sdk/scheduler';
import { exitCodeOf } from './exit-code.ts';

/** What the book needs to know of a status update. */
export type BookedStatus = Pick<TaskStatus, 'taskId' | 'state' | 'message' | 'ended' | 'agentId'>;

interface Entry {
  readonly name: string;
  /** How often it was put back into the queue. */
  readonly retries: number;
  status: BookedStatus | undefined;
}

/** A launch that never happened (its offer was gone) is tried again so often. */
const maxRetries = 20;

/** Which tasks wait, run and have ended. Knows neither time nor bus. */
export class TaskBook {
  private readonly waiting: Entry[];
  private readonly launched = new Map<string, Entry>();
  private readonly states = new Map<TaskState, number>();
  private readonly total: number;
  private ended = 0;
  private worst = 0;

  constructor(name: string, count: number) {
    this.total = count;
    const nameOf = (index: number): string => (count === 1 ? name : `${name}-${index + 1}`);
    this.waiting = Array.from({ length: count }, (_, index) => ({
      name: nameOf(index),
      retries: 0,
      status: undefined,
    }));
  }

  /** How many are not launched yet. */
  get pending(): number {
    return this.waiting.length;
  }

  /** All have ended. */
  get done(): boolean {
    return this.ended === this.total;
  }

  /** The worst of those that have ended; 0 if all have finished. */
  get exitCode(): number {
    return this.worst;
  }

  /** Tasks that were launched and have not ended. */
  get live(): string[] {
    return [...this.launched].filter(([, { status }]) => status?.ended !== true).map(([taskId]) => taskId);
  }

  /** One task that is known to the master and has not ended. */
  get running(): { taskId: string; agentId?: string } | undefined {
    for (const [taskId, { status }] of this.launched) {
      if (status === undefined || status.ended) continue;
      return { taskId, ...(status.agentId !== undefined && { agentId: status.agentId }) };
    }
    return undefined;
  }

  /** How many ended in each state. */
  get endStates(): ReadonlyMap<TaskState, number> {
    return this.states;
  }

  /** Takes so many tasks out of the queue: their ids, never used before, and their names. */
  take(count: number): { taskId: string; name: string }[] {
    return this.waiting.splice(0, count).map((entry) => {
      const taskId = entry.retries === 0 ? entry.name : `${entry.name}.${entry.retries}`;
      this.launched.set(taskId, entry);
      return { taskId, name: entry.name };
    });
  }

  /** Gives up what waits: it counts as ended in no state. */
  dropPending(): void {
    this.ended += this.waiting.length;
    this.waiting.length = 0;
  }

  /** Notes a status. @returns what it means: news, nothing new, or that the launch has to be tried again */
  note(status: BookedStatus): 'news' | 'nothing' | 'again' {
    const entry = this.launched.get(status.taskId);
    if (entry === undefined || entry.status?.ended === true) return 'nothing';
    if (status.state === 'TASK_DROPPED' && entry.retries < maxRetries) {
      this.launched.delete(status.taskId);
      this.waiting.push({ name: entry.name, retries: entry.retries + 1, status: undefined });
      return 'again';
    }
    const isNew = entry.status?.state !== status.state;
    entry.status = status;
    if (status.ended) this.end(status);
    return isNew ? 'news' : 'nothing';
  }

  nameOf(taskId: string): string {
    return this.launched.get(taskId)?.name ?? taskId;
  }

  private end(status: BookedStatus): void {
    this.ended += 1;
    this.states.set(status.state, (this.states.get(status.state) ?? 0) + 1);
    this.worst = Math.max(this.worst, exitCodeOf(status));
  }
}
