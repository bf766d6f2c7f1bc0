import type { Operator, TaskStory, TaskSummary } from '@mesobus/sdk/operator';
import { CommandError } from '../command-error.ts';
import { findByPrefix } from '../find-by-prefix.ts';
import { findTask, NoSuchTaskError } from '../find-task.ts';

/** The launch is written after the offer, and clocks differ a little. */
const marginMs = 10_000;

/**
 * What became of the task that `<task>` or `<framework>/<task>` means: of its last launch. One that the ledger does not have
 * any more is looked for in the history.
 *
 * @param sinceMs - so far back the history is looked through for a task that has left the ledger; ms since 1970
 * @throws {CommandError} there is none, or it could be several
 */
export async function findStory(
  operator: Operator,
  wanted: string,
  sinceMs: number,
  onProgress: (lookedAtUntilMs: number) => void,
): Promise<TaskStory> {
  const known = await findTask(operator, wanted, { includeEnded: true }).catch((error: unknown) => {
    if (error instanceof NoSuchTaskError) return undefined;
    throw error;
  });
  if (known !== undefined) return knownStory(operator, known, onProgress);
  const slash = wanted.indexOf('/');
  const [frameworkId, taskId] = [wanted.slice(0, Math.max(0, slash)), wanted.slice(slash + 1)];
  if (taskId === '') throw new CommandError(`Cannot look for task '${wanted}': write the beginning of its id`);
  const found = await operator.taskStories({ frameworkId, taskId, sinceMs }, onProgress);
  const tasks = new Map(found.map((story) => [`${story.frameworkId}/${story.taskId}`, story]));
  if (tasks.size === 0) {
    const since = new Date(sinceMs).toISOString();
    throw new CommandError(
      `Cannot find task '${wanted}': the ledger has none, nor the history since ${since}; say --since to look further back`,
    );
  }
  const names = (story: TaskStory): string[] => [`${story.frameworkId}/${story.taskId}`, story.taskId];
  return findByPrefix('task', slash === -1 ? taskId : wanted, [...tasks.values()], names, 'mesobus ps --all');
}

async function knownStory(
  operator: Operator,
  known: TaskSummary,
  onProgress: (lookedAtUntilMs: number) => void,
): Promise<TaskStory> {
  const { frameworkId, id: taskId, launchedAt } = known;
  const wanted = { frameworkId, taskId, sinceMs: launchedAt.getTime() - marginMs, known };
  const stories = await operator.taskStories(wanted, onProgress);
  const own = stories.filter((story) => story.frameworkId === frameworkId && story.taskId === taskId);
  const last = own.at(-1);
  if (last === undefined)
    throw new CommandError(`Cannot tell what became of task '${taskId}': its record is not whole`);
  return last;
}
