import type { mesos } from '@mesobus/protos';
import type { TaskState, TaskStatus } from './task-status.ts';

/** So many launches are remembered; of the oldest beyond that nobody asks. */
const maxUnheard = 65_536;

/**
 * States that a master finds and says once: if it dies just then, nobody says them again. All others come from agents,
 * which repeat them until they are acknowledged.
 */
const saidOnce: ReadonlySet<TaskState> = new Set<TaskState>([
  'TASK_DROPPED',
  'TASK_ERROR',
  'TASK_LOST',
  'TASK_GONE',
  'TASK_GONE_BY_OPERATOR',
  'TASK_UNREACHABLE',
  'TASK_UNKNOWN',
]);

type Accept = mesos.v1.scheduler.Call.Accept.$Properties;

export interface UnheardTask {
  readonly taskId: string;
  readonly agentId: string;
}

interface Launch extends UnheardTask {
  /** The master has accepted the call. */
  accepted: boolean;
  /** Asked about, and not answered yet. */
  asked: boolean;
  /** The author does not know that it was asked about. */
  silent: boolean;
}

/** Tasks that were launched and of which no status has come. */
export class UnheardTasks {
  readonly #launches = new Map<string, Launch>();
  /** Asked about for the sake of the launches, without the author: an answer to it may be old when it comes. */
  readonly #questions = new Set<string>();

  /** Before the call is sent: statuses may overtake its answer. */
  launching({ operations }: Accept): readonly Launch[] {
    const infos = (operations ?? []).flatMap(({ launch, launchGroup }) => [
      ...(launch?.taskInfos ?? []),
      ...(launchGroup?.taskGroup?.tasks ?? []),
    ]);
    const launches = infos.map(({ taskId, agentId }) => ({
      taskId: taskId.value ?? '',
      agentId: agentId.value ?? '',
      accepted: false,
      asked: false,
      silent: false,
    }));
    for (const launch of launches) {
      this.#launches.delete(launch.taskId); // the newest stand last
      this.#launches.set(launch.taskId, launch);
    }
    for (const taskId of this.#launches.keys()) {
      if (this.#launches.size <= maxUnheard) break;
      this.#launches.delete(taskId);
    }
    return launches;
  }

  accepted(launches: readonly UnheardTask[]): void {
    for (const launch of launches as readonly Launch[]) launch.accepted = true;
  }

  /** The call was refused: nothing was launched. */
  refused(launches: readonly UnheardTask[]): void {
    for (const launch of launches) {
      if (this.#launches.get(launch.taskId) === launch) this.#launches.delete(launch.taskId);
    }
  }

  /** What a leader said of them may be lost: those that are to be asked about now. */
  ask(): readonly UnheardTask[] {
    const launches = [...this.#launches.values()].filter(({ accepted }) => accepted);
    this.#questions.clear(); // what another leader was asked it does not answer any more
    for (const launch of launches) this.#ask(launch);
    return launches;
  }

  #ask(launch: Launch): void {
    Object.assign(launch, { asked: true, silent: true });
    this.#questions.add(launch.taskId);
  }

  /** Of those asked about the ones without an answer: the master waits for their agents. */
  unanswered(): readonly UnheardTask[] {
    return [...this.#launches.values()].filter(({ accepted, asked }) => accepted && asked);
  }

  /** The author asks himself: every answer is for him. */
  askedByAuthor(): void {
    this.#questions.clear();
    for (const launch of this.#launches.values()) launch.silent = false;
  }

  /** @returns whether the author is to be told: not of an answer that he did not ask for and whose news comes anyway */
  hear({ taskId, state, reason, uuid, ended }: TaskStatus): boolean {
    const launch = this.#launches.get(taskId);
    const isAnswer = uuid === undefined && reason === 'REASON_RECONCILIATION';
    if (isAnswer && this.#questions.delete(taskId) && launch?.asked !== true) {
      // Its end came first, and the author may have launched it again since: of that launch he has yet to hear.
      if (launch !== undefined) this.#ask(launch);
      return false;
    }
    if (launch === undefined || !isAnswer || saidOnce.has(state)) {
      if (!isAnswer && !ended) this.#questions.delete(taskId);
      this.#launches.delete(taskId);
      return true;
    }
    launch.asked = false; // it is alive, and its agent has yet to speak
    return !launch.silent;
  }
}
