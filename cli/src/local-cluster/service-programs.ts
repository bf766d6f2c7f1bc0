import { fileURLToPath } from 'node:url';
import type { ClusterPaths } from './cluster-paths.ts';
import type { Program } from './supervised.ts';

export interface ServiceSettings {
  /** Separated by commas. */
  readonly nats: string;
  readonly token: string;
  readonly cluster: string;
  readonly logLevel?: string | undefined;
  readonly otlpEndpoint?: string | undefined;
  /** Added to the environment of every service. */
  readonly env?: Readonly<Record<string, string>> | undefined;
}

/** Shutdown hooks have up to 5 s each, and then there should be time to write and exit. */
const serviceStopMs = 15_000;
/** An agent that leaves waits for its tasks, a minute at most, for their last updates and for the master; then the same. */
const agentStopMs = 90_000;

/** How many of each service run, and how many NATS servers keep the log. */
export interface ControlSettings {
  readonly registries: number;
  readonly masters: number;
  readonly allocators: number;
  readonly replicas: number;
}

/** `master` if there is one, else `master-1` and so on. */
export const namesOf = (what: string, count: number): string[] =>
  count === 1 ? [what] : Array.from({ length: count }, (_, index) => `${what}-${index + 1}`);

/** The services of a cluster apart from its agents, in the order in which they start. */
export function controlPrograms(control: ControlSettings, settings: ServiceSettings, paths: ClusterPaths): Program[] {
  const { registries, masters, allocators } = control;
  // All servers share this machine's disk and its power: more syncing would only make it slower.
  const replicas = ['--replicas', String(control.replicas), '--accept-lazy-fsync'];
  const program = (name: string, service: string, args: readonly string[]): Program => ({
    ...nodeProgram(name, `@mesobus/${service}/main`, args, settings, paths),
    stopSignal: 'SIGTERM',
    stopDeadlineMs: serviceStopMs,
  });
  return [
    ...namesOf('registry', registries).map((name) => program(name, 'registry', replicas)),
    ...namesOf('master', masters).map((name) => program(name, 'master', replicas)),
    ...namesOf('allocator', allocators).map((name) => program(name, 'allocator', ['--id', name])),
  ];
}

export interface AgentSettings {
  readonly name: string;
  /** As `--resources` of the agent takes it. */
  readonly resources: string;
  readonly attributes?: string | undefined;
}

/** A handful of agents need not spread their return to NATS; and what each is given changes with the free disk. */
const fewAgents = [
  ...['--nats-reconnect-wait', '100ms', '--nats-reconnect-jitter', '100ms'],
  ...['--reconfiguration-policy', 'any'],
];

/** SIGUSR1 has an agent kill its tasks and leave for good; SIGTERM leaves them to its successor. */
export function agentProgram(agent: AgentSettings, settings: ServiceSettings, paths: ClusterPaths): Program {
  const { name, resources, attributes } = agent;
  const args = ['--name', name, '--work-dir', paths.workDirOf(name), '--resources', resources, ...fewAgents];
  if (attributes !== undefined) args.push('--attributes', attributes);
  const program = nodeProgram(name, '@mesobus/agent/main', args, settings, paths);
  return {
    ...program,
    // glibc keeps an arena of freed memory for each thread: on an agent it is the tasks that would pay for it.
    env: { MALLOC_ARENA_MAX: '2', ...program.env },
    stopSignal: 'SIGUSR1',
    stopDeadlineMs: agentStopMs,
  };
}

function nodeProgram(
  name: string,
  module: string,
  args: readonly string[],
  settings: ServiceSettings,
  paths: ClusterPaths,
): Omit<Program, 'stopSignal' | 'stopDeadlineMs'> {
  return {
    name,
    command: process.execPath,
    args: [...nodeFlags(process.execArgv), fileURLToPath(import.meta.resolve(module)), ...args],
    env: serviceEnvironment(settings, paths),
    log: paths.logOf(name),
  };
}

/** The token goes by the environment: everyone can read the arguments of a process. */
function serviceEnvironment(settings: ServiceSettings, paths: ClusterPaths): Record<string, string | undefined> {
  // What is meant for the command (MESOBUS_NATS_CREDS, say) must not change its cluster.
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('MESOBUS_'));
  const { nats, token, cluster, logLevel, otlpEndpoint } = settings;
  return {
    ...Object.fromEntries(inherited),
    NODE_COMPILE_CACHE: paths.compileCache,
    MESOBUS_NATS: nats,
    MESOBUS_NATS_TOKEN: token,
    MESOBUS_CLUSTER: cluster,
    ...(logLevel !== undefined && { MESOBUS_LOG_LEVEL: logLevel }),
    ...(otlpEndpoint !== undefined && { MESOBUS_OTLP_ENDPOINT: otlpEndpoint }),
    ...settings.env,
  };
}

/** Flags that are about this process alone, and whether a value follows. */
const ownFlags = /^(-e|--eval|-p|--print|-c|--check|-i|--interactive|--test|--watch|--inspect)/;
const takesValue = new Set(['-e', '--eval', '-p', '--print', '-pe']);

/** The flags of node (conditions, memory) that a child should have too. */
export function nodeFlags(execArgv: readonly string[]): string[] {
  return execArgv.filter((flag, at) => !ownFlags.test(flag) && !takesValue.has(execArgv[at - 1] ?? ''));
}
