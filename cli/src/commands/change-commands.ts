import { Command, InvalidArgumentError } from 'commander';
import { findTask } from '../find-task.ts';
import { findFramework } from '../lists/list-tasks.ts';
import { type Streams, writeJson, writeTo } from '../output/streams.ts';
import { withOperator } from '../with-operator.ts';
import { type ClusterFlags, duration, withConnection, withJson } from './options.ts';

interface Weight {
  readonly role: string;
  readonly weight: number;
}

/** Gathers `role=weight` arguments. */
export function weightOf(text: string, before: readonly Weight[] = []): Weight[] {
  const at = text.lastIndexOf('=');
  const weight = at < 1 ? Number.NaN : Number(text.slice(at + 1) || Number.NaN);
  if (!Number.isFinite(weight) || weight <= 0) {
    throw new InvalidArgumentError("It must be a role with a weight above 0, for example 'ads=2'.");
  }
  return [...before, { role: text.slice(0, at), weight }];
}

/** `weights`, `teardown`, `kill`, `pause` and `resume`. */
export function changeCommands(streams: Streams): Command[] {
  const say = (flags: ClusterFlags, text: string, value: unknown): Promise<void> =>
    flags.json === true ? writeJson(streams, value) : writeTo(streams.out, `${text}\n`);

  const weights = new Command('weights')
    .description('set what roles may claim beside each other')
    .argument('<role=weight...>', 'for example ads=2 batch=0.5', weightOf)
    .action(async (given: Weight[], flags: ClusterFlags) => {
      await withOperator(flags, (operator) => operator.updateWeights(given));
      await say(flags, given.map(({ role, weight }) => `role ${role} has weight ${weight}`).join('\n'), given);
    });
  const teardown = new Command('teardown')
    .description('remove a framework and kill its tasks')
    .argument('<framework>', 'its id or name, or the beginning of one')
    .action(async (wanted: string, flags: ClusterFlags) => {
      const { id, name } = await withOperator(flags, async (operator) => {
        const framework = await findFramework(operator, wanted);
        await operator.teardown(framework.id);
        return framework;
      });
      await say(flags, `framework ${id} (${name}) is removed; its tasks are killed`, { frameworkId: id, name });
    });
  const kill = new Command('kill')
    .description('kill a task')
    .argument('<task>', 'its id, or <framework>/<task>; beginnings will do')
    .option('--grace <duration>', "how long it may take to end by itself [default: the task's own]", duration)
    .action(async (wanted: string, flags: ClusterFlags & { grace?: number }) => {
      const { frameworkId, id: taskId } = await withOperator(flags, async (operator) => {
        const task = await findTask(operator, wanted, { includeEnded: false });
        const grace = flags.grace === undefined ? {} : { gracePeriodMs: flags.grace };
        await operator.killTask({ frameworkId: task.frameworkId, taskId: task.id, ...grace });
        return task;
      });
      await say(flags, `task ${frameworkId}/${taskId} is being killed`, { frameworkId, taskId });
    });
  const pausing = (name: 'pause' | 'resume', description: string, said: string): Command =>
    new Command(name)
      .description(description)
      .argument('<task>', 'its id, or <framework>/<task>; beginnings will do')
      .action(async (wanted: string, flags: ClusterFlags) => {
        const { frameworkId, id: taskId } = await withOperator(flags, async (operator) => {
          const task = await findTask(operator, wanted, { includeEnded: false });
          const key = { frameworkId: task.frameworkId, taskId: task.id };
          await (name === 'pause' ? operator.pauseTask(key) : operator.resumeTask(key));
          return task;
        });
        await say(flags, `task ${frameworkId}/${taskId} ${said}`, { frameworkId, taskId });
      });
  const pause = pausing(
    'pause',
    'have a task stand still, with all that it holds, until it is resumed or killed',
    'is being paused',
  );
  const resume = pausing('resume', 'have a paused task go on', 'goes on');
  return [weights, teardown, kill, pause, resume].map((command) => withJson(withConnection(command)));
}
