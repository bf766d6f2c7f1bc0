// npm run bench -- <name>: prints one JSON object with the figures and, beside them, the floor measured in the same run.
import { parseArgs } from 'node:util';
import { wholeNumber } from '../command-line.ts';
import { type AgentKind, agentKinds, benchAgent } from './agent.ts';
import { type AllocatorBenchOptions, benchAllocator, shapes } from './allocator.ts';
import { benchLaunch } from './launch.ts';
import { benchLog } from './log.ts';
import { benchRecovery, type RecoveryOptions } from './recovery.ts';

type Options = RecoveryOptions & AllocatorBenchOptions & { readonly kind: AgentKind };

const benches: Readonly<Record<string, { run: (options: Options) => unknown; tells: string }>> = {
  agent: {
    run: benchAgent,
    tells: `short tasks that one agent starts and ends a second, and a thousand that sleep; --kind ${agentKinds.join('|')}`,
  },
  allocator: {
    run: benchAllocator,
    tells:
      'rounds over all agents, and after one change; --agents 50000 --frameworks 200 ' +
      `--shape ${shapes.join('|')}, --curve for many sizes`,
  },
  launch: {
    run: benchLaunch,
    tells:
      'from accept to the running command, from its exit to the next offer, and bursts of 500, 2,000 and 5,000 tasks',
  },
  recovery: {
    run: benchRecovery,
    tells: 'a master that starts cold; --agents 50000 --tasks 1000000, --log-only without a snapshot',
  },
  log: {
    run: benchLog,
    tells:
      'records that the log takes a second with one and three replicas, lazy and always synced, beside bare appends',
  },
};

const usage = `Usage: npm run bench -- <name>\n\n${Object.entries(benches)
  .map(([name, { tells }]) => `  ${name.padEnd(9)}  ${tells}`)
  .join('\n')}\n`;

/** @throws {Error} the command line cannot be used */
function readCommandLine() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      help: { type: 'boolean', short: 'h' },
      agents: { type: 'string', default: '50000' },
      tasks: { type: 'string', default: '1000000' },
      'log-only': { type: 'boolean', default: false },
      frameworks: { type: 'string', default: '200' },
      shape: { type: 'string', default: 'add' },
      curve: { type: 'boolean', default: false },
      kind: { type: 'string', default: 'cgroup' },
    },
  });
  const { help = false, 'log-only': logOnly } = values;
  const name = positionals.join(' ');
  const bench = benches[name];
  if (!help && bench === undefined) throw new Error(`Cannot run the benchmark '${name}': there is none of that name.`);
  const [agents, tasks] = [wholeNumber('--agents', values.agents, 1), wholeNumber('--tasks', values.tasks, 0)];
  const frameworks = wholeNumber('--frameworks', values.frameworks, 1);
  const shape = shapes.find((one) => one === values.shape);
  if (shape === undefined)
    throw new Error(`Cannot use --shape '${values.shape}': it takes one of ${shapes.join(', ')}`);
  const kind = agentKinds.find((one) => one === values.kind);
  if (kind === undefined)
    throw new Error(`Cannot use --kind '${values.kind}': it takes one of ${agentKinds.join(', ')}`);
  const options = { agents, tasks, logOnly, frameworks, shape, curve: values.curve, kind };
  return { run: help ? undefined : bench?.run, options };
}

function used<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n\n${usage}`);
    process.exitCode = 2;
    return undefined;
  }
}

const line = used(readCommandLine);
if (line?.run !== undefined) process.stdout.write(`${JSON.stringify(await line.run(line.options))}\n`);
else if (line !== undefined) process.stdout.write(usage);
