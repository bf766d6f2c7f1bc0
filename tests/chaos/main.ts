// npm run chaos -- <name>: hurts a cluster of real processes and counts what was lost or doubled. Prints one JSON object
// per scenario; progress goes to standard error. Exits with 1 if anything was lost or doubled.
import { parseArgs } from 'node:util';
import { wholeNumber } from '../command-line.ts';
import { agentCrashes } from './agent-crashes.ts';
import { failover } from './failover.ts';
import { agents, allocator, framework, registry } from './kills.ts';
import { nats } from './nats.ts';
import { partition } from './partition.ts';
import { pause } from './pause.ts';
import type { Scenario } from './scenario.ts';

const scenarios: Readonly<Record<string, Scenario>> = {
  failover,
  nats,
  pause,
  allocator,
  registry,
  agents,
  'agent-crashes': agentCrashes,
  framework,
  partition,
};

const usage = `Usage: npm run chaos -- <name> [--tasks <number>] [--rounds <number>] [--keep]\n\n${[
  ...Object.entries(scenarios).map(([name, { tells }]) => [name, tells]),
  ['all', 'every one of them, one after the other'],
]
  .map(([name, tells]) => `  ${name?.padEnd(13)} ${tells}`)
  .join('\n')}\n`;

const interrupt = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => interrupt.abort(new Error(`stopped by ${signal}`)));
}

/** Whatever waits for longer waits for ever. */
const limitMs = 1_200_000;

interface Flags {
  readonly tasks: number;
  readonly rounds: number;
  readonly keep: boolean;
}

/** @returns whether nothing was lost, doubled, or otherwise wrong */
async function run(name: string, scenario: Scenario, { tasks, rounds, keep }: Flags): Promise<boolean> {
  const beganAt = performance.now();
  const say = (line: string): void => {
    const seconds = ((performance.now() - beganAt) / 1000).toFixed(1).padStart(6);
    process.stderr.write(`${seconds} s  ${name}: ${line}\n`);
  };
  const limit = AbortSignal.timeout(limitMs);
  const signal = AbortSignal.any([interrupt.signal, limit]);
  try {
    const result = await scenario.run({ tasks, rounds, keep, say, signal });
    if ('skipped' in result) {
      process.stdout.write(`${JSON.stringify({ bench: name, ...result })}\n`);
      return true;
    }
    const { outcome, figures, wrong: other = [] } = result;
    const counts = (['lost', 'doubled', 'unreported', 'reported_twice'] as const).filter((what) => outcome[what] > 0);
    const wrong = [...counts.map((what) => `${outcome[what]} ${what}`), ...other];
    const { tasks: count, lost, doubled, ...rest } = outcome;
    const { kills, ...measured } = figures;
    const seconds = Math.round((performance.now() - beganAt) / 1000);
    const report = { bench: name, kills, tasks: count, lost, doubled, ...measured, ...rest, seconds, wrong };
    process.stdout.write(`${JSON.stringify(report)}\n`);
    return wrong.length === 0;
  } catch (error) {
    say(`failed: ${(error as Error).stack}`);
    const why = limit.aborted ? `it has not come to rest within ${limitMs / 60_000} minutes` : (error as Error).message;
    process.stdout.write(`${JSON.stringify({ bench: name, wrong: [why] })}\n`);
    return false;
  }
}

/** @throws {Error} the command line cannot be used */
function readCommandLine(): { chosen: [string, Scenario][]; help: boolean; flags: Flags } {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      help: { type: 'boolean', short: 'h' },
      tasks: { type: 'string', default: '1000' },
      rounds: { type: 'string', default: '300' },
      keep: { type: 'boolean', default: false },
    },
  });
  const { help = false, keep } = values;
  const wanted = positionals.join(' ');
  const chosen = Object.entries(scenarios).filter(([name]) => wanted === name || wanted === 'all');
  if (!help && chosen.length === 0) throw new Error(`Cannot run the scenario '${wanted}': there is none of that name.`);
  const tasks = wholeNumber('--tasks', values.tasks, 1);
  const flags = { tasks, rounds: wholeNumber('--rounds', values.rounds, 1), keep };
  return { chosen, help, flags };
}

try {
  const { chosen, help, flags } = readCommandLine();
  if (help) process.stdout.write(usage);
  else {
    for (const [name, scenario] of chosen) {
      if (interrupt.signal.aborted) break;
      if (!(await run(name, scenario, flags))) process.exitCode = 1;
    }
    process.exit(); // whatever an interrupted scenario still waits for
  }
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n\n${usage}`);
  process.exitCode = 2;
}
