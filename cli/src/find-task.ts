import type { Operator, TaskSummary } from '@mesobus/sdk/operator';
import { isEndState } from '@mesobus/sdk/scheduler';
import { CommandError } from './command-error.ts';
import { findByPrefix } from './find-by-prefix.ts';

/** No task of the ledger is meant. */
export class NoSuchTaskError extends CommandError {}

/**
 * The task that `<task>` or `<framework>/<task>` means; both may be beginnings of ids. One that lives goes before those
 * that have ended.
 *
 * @throws {CommandError} there is none, or it could be several
 */
export async function findTask(
  operator: Pick<Operator, 'tasks'>,
  wanted: string,
  options: { readonly includeEnded: boolean },
): Promise<TaskSummary> {
  const slash = wanted.indexOf('/');
  const framework = slash === -1 ? '' : wanted.slice(0, slash);
  const task = wanted.slice(slash + 1);
  const candidates: TaskSummary[] = [];
  for await (const one of operator.tasks({ includeEnded: options.includeEnded })) {
    if (one.frameworkId.startsWith(framework) && one.id.startsWith(task)) candidates.push(one);
  }
  const alive = candidates.filter(({ state }) => !isEndState(state));
  const exact = candidates.filter(({ id }) => id === task);
  const exactAlive = alive.filter(({ id }) => id === task);
  const best = [exactAlive, exact, alive, candidates].find((list) => list.length > 0) ?? [];
  const names = ({ frameworkId, id }: TaskSummary): string[] => [`${frameworkId}/${id}`, id];
  const listing = options.includeEnded ? 'mesobus ps --all' : 'mesobus ps';
  const [only] = best;
  if (only === undefined) throw new NoSuchTaskError(`Cannot find task '${wanted}'; '${listing}' lists what there is`);
  return best.length === 1 ? only : findByPrefix('task', task, best, names, listing);
}
