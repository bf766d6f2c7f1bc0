// npm run bench -- <name>: prints one JSON object with the figures and, beside them, the floor measured in the same run.
import { parseArgs } from 'node:util';
import { benchLaunch } from './launch.ts';
import { benchLog } from './log.ts';
import { benchRecovery } from './recovery.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    help: { type: 'boolean', short: 'h' },
    agents: { type: 'string', default: '50000' },
    tasks: { type: 'string', default: '1000000' },
    'log-only': { type: 'boolean', default: false },
  },
});

const benches: Readonly<Record<string, { run: () => Promise<unknown>; tells: string }>> = {
  launch: {
    run: benchLaunch,
    tells:
      'from accept to the running command, from its exit to the next offer, and bursts of 500, 2,000 and 5,000 tasks',
  },
  recovery: {
    run: () =>
      benchRecovery({ agents: Number(values.agents), tasks: Number(values.tasks), logOnly: values['log-only'] }),
    tells: 'a master that starts cold; --agents 50000 --tasks 1000000, --log-only without a snapshot',
  },
  log: {
    run: benchLog,
    tells:
      'records that the log takes a second with one and three replicas, lazy and always synced, beside bare appends',
  },
};

const usage = `Usage: npm run bench -- <name>\n\n${Object.entries(benches)
  .map(([name, { tells }]) => `  ${name}  ${tells}`)
  .join('\n')}\n`;

const [name] = positionals;
const bench = name === undefined ? undefined : benches[name];
if (values.help) process.stdout.write(usage);
else if (bench === undefined || positionals.length > 1) {
  process.stderr.write(`Cannot run the benchmark '${positionals.join(' ')}': there is none of that name.\n\n${usage}`);
  process.exitCode = 2;
} else {
  process.stdout.write(`${JSON.stringify(await bench.run())}\n`);
}
