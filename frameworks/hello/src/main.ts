#!/usr/bin/env node
import { parseArgs } from 'node:util';
import { startTracing } from '@mesobus/sdk/service';
import { type HelloOptions, runHello } from './hello.ts';
import { runHelloWithExecutor } from './with-executor.ts';

const help = `Runs a few tasks wherever there is room, and shows their lives.

Usage: mesobus-hello [options]

  --executor           run them in one executor of the framework's own, and talk with it
  --tasks <n>          how many (10; 3 with --executor)
  --cpus <n>           of each (0.1)
  --mem <MB>           of each (32)
  --command <line>     what each runs, for the shell (says hello, sleeps for a second)
  --image <name>       of Docker, that each runs in (none)
  --offer-timeout <s>  how long to wait for the first offer (30)
  --nats <url>         the cluster (MESOBUS_NATS, else .mesobus/context.json)
  --token <token>      for NATS
  --cluster <name>     its name (main)
`;

const settings = {
  executor: { type: 'boolean' },
  tasks: { type: 'string' },
  cpus: { type: 'string' },
  mem: { type: 'string' },
  command: { type: 'string' },
  image: { type: 'string' },
  'offer-timeout': { type: 'string' },
  nats: { type: 'string' },
  token: { type: 'string' },
  cluster: { type: 'string' },
  help: { type: 'boolean' },
} as const;

type Flags = ReturnType<typeof parseArgs<{ options: typeof settings }>>['values'];

function readOptions(flags: Flags): HelloOptions {
  const { tasks, cpus, mem, command, image, nats, token, cluster } = flags;
  const offerTimeout = flags['offer-timeout'];
  return {
    ...(tasks !== undefined && { tasks: numberOf('--tasks', tasks) }),
    ...(cpus !== undefined && { cpus: numberOf('--cpus', cpus) }),
    ...(mem !== undefined && { mem: numberOf('--mem', mem) }),
    ...(offerTimeout !== undefined && { offerTimeoutMs: numberOf('--offer-timeout', offerTimeout) * 1000 }),
    ...(command !== undefined && { command }),
    ...(image !== undefined && { image }),
    ...(nats !== undefined && { nats }),
    ...(token !== undefined && { token }),
    ...(cluster !== undefined && { cluster }),
  };
}

function numberOf(flag: string, text: string): number {
  const value = Number(text);
  if (Number.isFinite(value) && value > 0) return value;
  throw new TypeError(`Cannot use '${text}' for ${flag}: give a number above 0`);
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: settings });
  if (values.help) return console.log(help);
  const options = readOptions(values);
  // With a collector, each offer's trace shows this framework's decisions beside what the master and the agents did.
  const endpoint = process.env['OTEL_EXPORTER_OTLP_ENDPOINT'];
  const tracing = await startTracing({ service: 'hello', instance: String(process.pid), endpoint });
  try {
    await (values.executor ? runHelloWithExecutor(options) : runHello(options));
  } finally {
    await tracing.shutdown();
  }
}

try {
  await main();
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
}
