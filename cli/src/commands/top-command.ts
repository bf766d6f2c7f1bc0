import type { Operator } from '@mesobus/sdk/operator';
import { Command } from 'commander';
import { findAgent } from '../lists/list-tasks.ts';
import { type Streams, writeJson, writeTo } from '../output/streams.ts';
import { renderTable } from '../output/table.ts';
import { agentUseColumns, agentUses, type Sample, taskUseColumns, taskUses } from '../top/top-rows.ts';
import { withOperator } from '../with-operator.ts';
import { type ClusterFlags, duration, withConnection, withJson } from './options.ts';

interface TopFlags extends ClusterFlags {
  readonly once?: boolean;
  readonly interval: number;
  readonly agent?: string;
}

/** Agents measure no more often. */
const minIntervalMs = 1_000;
const clearScreen = '\u001b[H\u001b[2J';

/** `top` */
export function topCommand(streams: Streams): Command {
  const command = new Command('top')
    .description('show what tasks and agents use, live; the busiest tasks first')
    .option('--once', 'print it once, as it does where nobody looks')
    .option('--interval <duration>', 'how often', duration, 2_000)
    .option('--agent <name>', 'of one agent: its name or id, or the beginning of one')
    .action((flags: TopFlags) => withOperator(flags, (operator) => top(operator, streams, flags)));
  return withJson(withConnection(command));
}

async function top(operator: Operator, streams: Streams, flags: TopFlags): Promise<void> {
  const isLive = flags.once !== true && flags.json !== true && process.stdout.isTTY;
  const intervalMs = Math.max(minIntervalMs, flags.interval);
  let before = await sample(operator, streams, flags);
  do {
    // What is measured once a second must be another measurement.
    await new Promise((resolve) => setTimeout(resolve, isLive ? intervalMs : minIntervalMs + 100));
    const after = await sample(operator, streams, flags);
    const tasks = taskUses(before, after);
    const agents = agentUses(after, tasks);
    if (flags.json === true) return writeJson(streams, { agents, tasks });
    const text = `${renderTable(agentUseColumns, agents)}\n${renderTable(taskUseColumns, tasks)}`;
    await writeTo(streams.out, isLive ? `${clearScreen}${upTo(text, process.stdout.rows)}` : text);
    before = after;
  } while (isLive);
}

const upTo = (text: string, rows = 24): string =>
  text
    .split('\n')
    .slice(0, rows - 1)
    .join('\n');

async function sample(operator: Operator, streams: Streams, { agent }: TopFlags): Promise<Sample[]> {
  const agents = (await operator.agents()).filter(({ lifecycle }) => lifecycle === 'admitted');
  const asked = agent === undefined ? agents : [findAgent(agents, agent)];
  const samples = await Promise.all(
    asked.map(async ({ name: agentName }) => {
      try {
        return { agentName, usage: await operator.usage(agentName) };
      } catch {
        streams.err.write(`mesobus: agent ${agentName} does not say what it uses: it is away\n`);
        return undefined;
      }
    }),
  );
  return samples.filter((one) => one !== undefined);
}
