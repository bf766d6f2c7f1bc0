import { Command, Option } from 'commander';
import { type Streams, writeJson, writeTo } from '../output/streams.ts';
import { findStory } from '../trace/find-story.ts';
import { renderTree, storyTree } from '../trace/story-tree.ts';
import { withOperator } from '../with-operator.ts';
import { type ClusterFlags, duration, withConnection, withJson } from './options.ts';

interface TraceFlags extends ClusterFlags {
  readonly since: number;
  readonly jaegerUrl?: string;
}

const usualSinceMs = 3_600_000;
/** Whoever waits at a terminal hears how far it is. */
const quietMs = 2_000;

export function traceCommand(streams: Streams): Command {
  const command = new Command('trace')
    .description(
      'tell what became of a task, from its offer to its end: from the log and its history alone, also with tracing off and ' +
        'after the task has left the ledger',
    )
    .argument('<task>', 'its id, or <framework>/<task>; both may be the beginning of one')
    .addOption(
      new Option('--since <duration>', 'so far back to look for a task that has left the ledger')
        .argParser(duration)
        .default(usualSinceMs, '1h'),
    )
    .addOption(new Option('--jaeger-url <url>', 'print a link to the trace in this Jaeger').env('MESOBUS_JAEGER_URL'))
    .action(async (wanted: string, { since, jaegerUrl, json, ...flags }: TraceFlags) => {
      const began = Date.now();
      const story = await withOperator(flags, (operator) =>
        findStory(operator, wanted, began - since, (untilMs) => {
          if (Date.now() - began < quietMs) return;
          streams.err.write(`mesobus: has read the history until ${new Date(untilMs).toISOString()}\n`);
        }),
      );
      const { frameworkId, taskId, agentId, traceId } = story;
      const link = jaegerUrl !== undefined && traceId !== '' ? linkTo(jaegerUrl, traceId) : undefined;
      const tree = storyTree(story);
      if (json === true) {
        const about = { frameworkId, taskId, agentId, traceId, ...(link !== undefined && { jaeger: link }) };
        return writeJson(streams, { ...about, tree });
      }
      const trace = traceId === '' ? '' : `, trace ${traceId}`;
      const head = `task ${frameworkId}/${taskId} on agent ${agentId}${trace}, from ${new Date(tree.atMs).toISOString()}\n`;
      return writeTo(streams.out, `${head}${link === undefined ? '' : `${link}\n`}\n${renderTree(tree)}`);
    });
  return withJson(withConnection(command));
}

const linkTo = (jaegerUrl: string, traceId: string): string => `${jaegerUrl.replace(/\/+$/, '')}/trace/${traceId}`;
