import { decode, mesobus } from '@mesobus/protos';
import { type TaskStatus, taskStatusOf } from '../scheduler/task-status.ts';

/** One launch of a task, from the offer to its end, as far as the log and its history know. Times are in ms since 1970. */
export interface TaskStory {
  readonly frameworkId: string;
  readonly taskId: string;
  readonly agentId: string;
  readonly role: string;
  /** Of its trace, in hex; empty if it has none. */
  readonly traceId: string;
  readonly allocation: { readonly beganAtMs: number; readonly decidedAtMs: number };
  readonly offeredAtMs: number;
  readonly acceptedAtMs: number;
  /** When the leader wrote the launch into the log, and where; absent if the history does not have it any more. */
  readonly committed?: { readonly atMs: number; readonly logIndex: number };
  readonly updates: readonly TaskUpdate[];
  readonly kills: readonly TaskKill[];
  /** When it left the ledger; absent if it is there, or nobody knows. */
  readonly removedAtMs?: number;
}

/** One status of a task. */
export interface TaskUpdate {
  readonly status: TaskStatus;
  /** When whoever made it said so. */
  readonly saidAtMs: number;
  /** When the leader had it. */
  readonly takenAtMs: number;
  /** When the acknowledgement was written into the log; absent if it was not yet. */
  readonly acknowledgedAtMs?: number;
}

export interface TaskKill {
  readonly atMs: number;
  /** Who asked for it; empty if it was the master itself. */
  readonly principal: string;
  /** Set if its resources were taken back for others: why. */
  readonly why: string;
}

interface Draft {
  launched: mesobus.v1.TaskLaunched;
  committed?: { atMs: number; logIndex: number };
  changes: { changed: mesobus.v1.TaskChanged; atMs: number }[];
  kills: TaskKill[];
  removedAtMs?: number;
}

/** Puts what was found together, launch by launch: a task id may have been used more than once. */
export class TaskStories {
  readonly #drafts = new Map<string, Draft[]>();

  /** A record of the history. Those of one task come in the order in which they were written. */
  add({ record, writtenAtMs: atMs, logIndex }: mesobus.v1.TaskFact): void {
    const { taskLaunched, taskChanged, taskRemoved, commandIssued } = decode(mesobus.v1.Record, record);
    if (taskLaunched) {
      this.#launch(taskLaunched).committed = { atMs, logIndex };
      return;
    }
    const draft = this.#latest(taskChanged?.task ?? taskRemoved?.task ?? commandIssued?.command?.killTask?.task);
    if (draft === undefined) return; // its launch is older than what was looked at
    if (taskChanged?.commandNumber === draft.launched.commandNumber) draft.changes.push({ changed: taskChanged, atMs });
    else if (taskRemoved?.commandNumber === draft.launched.commandNumber) draft.removedAtMs = atMs;
    else if (commandIssued?.command?.killTask) {
      const why = commandIssued.command.killTask.preempted;
      draft.kills.push({ atMs: commandIssued.issuedAtMs, principal: commandIssued.principal, why });
    }
  }

  /** A task of the ledger: for what the history does not have any more. */
  addLedger({ launched, latest }: mesobus.v1.TaskView): void {
    if (!launched) return;
    const key = { frameworkId: launched.frameworkId, taskId: launched.task?.taskId.value ?? '' };
    const known = this.#latest(key);
    const draft = known?.launched.commandNumber === launched.commandNumber ? known : this.#launch(launched);
    const last = draft.changes.at(-1)?.changed;
    const isNews = latest !== null && (last === undefined || latest.changedAtMs > last.changedAtMs);
    if (isNews) draft.changes.push({ changed: latest, atMs: latest.changedAtMs });
  }

  /** By the time of their launch. */
  all(): TaskStory[] {
    return [...this.#drafts.values()]
      .flat()
      .map(storyOf)
      .sort((a, b) => a.acceptedAtMs - b.acceptedAtMs);
  }

  #launch(launched: mesobus.v1.TaskLaunched): Draft {
    const key = keyOf(launched.frameworkId, launched.task?.taskId.value ?? '');
    const draft: Draft = { launched, changes: [], kills: [] };
    this.#drafts.set(key, [...(this.#drafts.get(key) ?? []), draft]);
    return draft;
  }

  #latest(task: mesobus.v1.TaskKey | null | undefined | { frameworkId: string; taskId: string }): Draft | undefined {
    return task ? this.#drafts.get(keyOf(task.frameworkId, task.taskId))?.at(-1) : undefined;
  }
}

const keyOf = (frameworkId: string, taskId: string): string => `${frameworkId}\0${taskId}`;

function storyOf({ launched, committed, changes, kills, removedAtMs }: Draft): TaskStory {
  const { frameworkId, agentId, role, traceparent, offeredAtMs, acceptedAtMs } = launched;
  const decidedAtMs = offeredAtMs - launched.decidedToOfferedMs;
  return {
    frameworkId,
    taskId: launched.task?.taskId.value ?? '',
    agentId,
    role,
    traceId: traceparent.split('-')[1] ?? '',
    allocation: { beganAtMs: decidedAtMs - launched.roundMs, decidedAtMs },
    offeredAtMs,
    acceptedAtMs,
    ...(committed && { committed }),
    updates: updatesOf(changes),
    kills,
    ...(removedAtMs !== undefined && { removedAtMs }),
  };
}

/** A change may say a status, or that one was acknowledged, or both. */
function updatesOf(changes: Draft['changes']): TaskUpdate[] {
  const updates = new Map<
    number,
    { status: TaskStatus; saidAtMs: number; takenAtMs: number; acknowledgedAtMs?: number }
  >();
  for (const { changed, atMs } of changes) {
    const { status, updateNumber, acknowledgedNumber, changedAtMs } = changed;
    // Those that masters make have no number of their own: each is told from the others by when it was made.
    const key = status && status.uuid.length === 0 ? -changedAtMs : updateNumber;
    if (status && !updates.has(key)) {
      updates.set(key, { status: taskStatusOf(status), saidAtMs: status.timestamp * 1_000, takenAtMs: changedAtMs });
    }
    for (const [number, update] of updates) {
      if (number > 0 && number <= acknowledgedNumber) update.acknowledgedAtMs ??= atMs;
    }
  }
  return [...updates.values()];
}
