import { spawn } from 'node:child_process';
import { closeSync, openSync, writeSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { parseAttributes, parseResources } from '@mesobus/sdk/resources';
import type { LogLevel } from '@mesobus/sdk/service';
import { Command, InvalidArgumentError, Option } from 'commander';
import { CommandError } from '../command-error.ts';
import { lockOwner } from '../local-cluster/claim-folder.ts';
import { makeFolders } from '../local-cluster/cluster-paths.ts';
import {
  type ClusterEvent,
  type ClusterPaths,
  clusterPaths,
  describeClusterEvent,
  FolderInUseError,
  type LocalCluster,
  logTail,
  readLocalContext,
  startLocalCluster,
} from '../local-cluster/index.ts';
import { isRunning } from '../local-cluster/process-identity.ts';
import { nodeFlags } from '../local-cluster/service-programs.ts';
import { type Streams, writeTo } from '../output/streams.ts';
import { clusterName, wholeNumber } from './options.ts';

interface UpFlags {
  readonly agents: number;
  readonly nats: '1' | '3';
  readonly masters: number;
  readonly allocators: number;
  readonly registries: number;
  readonly port?: number;
  readonly dir: string;
  readonly resources?: string;
  readonly attributes?: string;
  readonly cluster: string;
  readonly otlpEndpoint?: string;
  readonly logLevel?: string;
  readonly detach?: boolean;
}

/** Says how the started cluster may be used; set by a parent that waits for that and then leaves. */
const tellFd = 3;
const tellVariable = 'MESOBUS_UP_TELL';

/** Refuses here what every agent would refuse, so that nothing is started for it. */
const checkedBy =
  (parse: (text: string) => unknown) =>
  (text: string): string => {
    try {
      parse(text);
      return text;
    } catch (error) {
      throw new InvalidArgumentError((error as Error).message);
    }
  };

const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const satisfies LogLevel[];

/** `up`: a cluster on this machine until it is told to stop. */
export function upCommand(streams: Streams, exit: (code: number) => void): Command {
  return new Command('up')
    .description('start a cluster on this machine: nats-server, registry, master, allocator and agents')
    .option('--agents <number>', 'how many agents', wholeNumber(0, 1000), 1)
    .addOption(
      new Option('--nats <number>', 'how many NATS servers; each keeps the log').choices(['1', '3']).default('1'),
    )
    .option('--masters <number>', 'how many masters; one leads', wholeNumber(1, 9), 1)
    .option('--allocators <number>', 'how many allocators; one is appointed', wholeNumber(1, 9), 1)
    .option('--registries <number>', 'how many registries', wholeNumber(1, 9), 1)
    .option(
      '--port <port>',
      'of its (first) nats-server, on loopback [default: one that is free]',
      wholeNumber(1, 65_535),
    )
    .option('--dir <folder>', 'where state, logs and sandboxes are kept', '.mesobus')
    .option('--resources <resources>', 'of each agent [default: this machine, divided]', checkedBy(parseResources))
    .option('--attributes <attributes>', 'of each agent, for example rack:abc', checkedBy(parseAttributes))
    .option('--cluster <name>', 'the name of the cluster', clusterName, 'main')
    .option('--otlp-endpoint <url>', 'the OTLP/HTTP collector that traces go to')
    .addOption(new Option('--log-level <level>', 'of the services').choices(logLevels))
    .option('-d, --detach', 'leave it running in the background when it is ready')
    .action(async (flags: UpFlags) =>
      exit(flags.detach === true ? await detach(streams, flags) : await up(streams, flags)),
    );
}

async function up(streams: Streams, flags: UpFlags): Promise<number> {
  const told = process.env[tellVariable] === '1';
  delete process.env[tellVariable];
  const say = (line: string): void => void streams.out.write(`${line}\n`);
  const stop = stopSignal();
  const startedAtMs = performance.now();
  try {
    const { detach: _, nats, ...options } = flags;
    const report = (event: ClusterEvent): void => {
      if (event.kind !== 'started') say(describeClusterEvent(event));
    };
    await using cluster = await startLocalCluster({
      ...options,
      natsServers: nats === '3' ? 3 : 1,
      report,
      signal: stop,
    });
    const seconds = ((performance.now() - startedAtMs) / 1000).toFixed(1);
    say(welcome(cluster, flags, `the cluster is ready after ${seconds} s`));
    if (told) tellParent();
    await aborted(stop);
    say('stopping: the tasks are killed');
    await cluster.stop();
    say(`stopped; state and sandboxes stay in ${cluster.dir} until '${commandName()} down --purge'`);
    return 0;
  } catch (error) {
    if (error instanceof FolderInUseError) return alreadyUp(streams, clusterPaths(flags.dir), error.owner.pid);
    if (stop.aborted) return 0;
    throw error;
  }
}

/** Aborted by Ctrl-C, SIGTERM or a terminal that is closed; what comes later changes nothing, all is under way. */
function stopSignal(): AbortSignal {
  const controller = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => controller.abort(new CommandError(`Stopped by ${signal}`)));
  }
  return controller.signal;
}

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });

function welcome(cluster: Pick<LocalCluster, 'nats' | 'context' | 'dir'>, flags: UpFlags, first: string): string {
  const isNearest = path.basename(cluster.dir) === '.mesobus';
  const context = isNearest ? '' : ` --context ${cluster.context}`;
  const dir = isNearest ? '' : ` --dir ${cluster.dir}`;
  const command = commandName();
  return [
    first,
    `  nats     ${cluster.nats}`,
    `  context  ${cluster.context}`,
    `  logs     ${path.join(cluster.dir, 'logs')}`,
    `  try      ${command} run${context} -- echo hello`,
    `  stop     ${flags.detach === true ? '' : 'Ctrl-C, or '}${command} down${dir}`,
  ].join('\n');
}

/** What to type here: where npx runs it, `mesobus` alone is not in the PATH. */
const commandName = (): string => (process.env['npm_command'] === 'exec' ? 'npx mesobus' : 'mesobus');

async function alreadyUp(streams: Streams, paths: ClusterPaths, owner: number): Promise<number> {
  const context = readLocalContext(paths.context);
  const pids = (context?.processes ?? []).map(({ name, pid }) => `${name} ${pid}`).join(', ');
  const what = context?.ready === true ? 'runs already' : 'is being started or stopped already';
  const lines = [
    `a cluster ${what} in ${paths.dir} (process ${owner}); nothing was started`,
    ...(context === undefined
      ? []
      : [`  nats     ${context.nats}`, `  context  ${paths.context}`, `  pids     ${pids}`]),
  ];
  await writeTo(streams.out, `${lines.join('\n')}\n`);
  return 0;
}

/** The parent reads until the pipe closes. */
function tellParent(): void {
  try {
    writeSync(tellFd, 'ready\n');
    closeSync(tellFd);
  } catch {
    // The parent did not wait; the cluster stands anyway.
  }
}

/** Starts the same in a session of its own and waits until it is ready. */
async function detach(streams: Streams, flags: UpFlags): Promise<number> {
  const paths = clusterPaths(flags.dir);
  makeFolders(paths);
  const owner = lockOwner(paths.lock);
  if (owner !== undefined && isRunning(owner)) return alreadyUp(streams, paths, owner.pid); // its log goes on
  const log = paths.logOf('up');
  const output = openSync(log, 'w', 0o600);
  const main = fileURLToPath(new URL(import.meta.url.endsWith('.ts') ? '../main.ts' : '../main.js', import.meta.url));
  const child = spawn(process.execPath, [...nodeFlags(process.execArgv), main, 'up', ...argumentsOf(flags)], {
    env: { ...process.env, [tellVariable]: '1' },
    stdio: ['ignore', output, output, 'pipe'],
    detached: true,
  });
  const ended = new Promise<number>((resolve, reject) => {
    child.once('error', reject).once('exit', (code) => resolve(code ?? 1));
  });
  const ready = new Promise<'ready'>((resolve) => {
    createInterface({ input: child.stdio[tellFd] as Readable }).once('line', () => resolve('ready'));
  });
  const first = await Promise.race([ready, ended]);
  if (first !== 'ready') {
    // Also when a cluster runs already, which is said there.
    await writeTo(first === 0 ? streams.out : streams.err, `${logTail(log, 40)}\n`);
    return first;
  }
  child.unref();
  const context = readLocalContext(paths.context);
  const where = { nats: context?.nats ?? '', context: paths.context, dir: paths.dir };
  await writeTo(streams.out, `${welcome(where, flags, `the cluster runs in the background (process ${child.pid})`)}\n`);
  return 0;
}

function argumentsOf({ detach: _, otlpEndpoint, logLevel, ...flags }: UpFlags): string[] {
  const given = { ...flags, 'otlp-endpoint': otlpEndpoint, 'log-level': logLevel };
  return Object.entries(given).flatMap(([name, value]) => (value === undefined ? [] : [`--${name}`, String(value)]));
}
