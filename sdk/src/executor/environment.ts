import { existsSync } from 'node:fs';
import { parseDuration } from '../service/duration.ts';

/** What an agent tells the executors that it starts. */
export interface ExecutorEnvironment {
  readonly frameworkId: string;
  readonly executorId: string;
  readonly agentId: string;
  /** Where the agent listens. */
  readonly agent: { readonly socketPath: string } | { readonly host: string; readonly port: number };
  /** Absent where the agent does not ask who calls. */
  readonly token: string | undefined;
  /** The executor's own folder. */
  readonly sandbox: string;
  /** From SHUTDOWN to the end of its container. */
  readonly shutdownGraceMs: number;
  /** So long it waits for an agent that is away; 0: it ends with it. */
  readonly recoveryTimeoutMs: number;
  /** At least so often it tries to subscribe. */
  readonly maxBackoffMs: number;
}

/** Mesos' defaults. */
const shutdownGraceMs = 5_000;
const recoveryTimeoutMs = 15 * 60_000;
const maxBackoffMs = 2_000;

/** @throws {TypeError} it is not the environment of an executor; the message says what is missing */
export function readEnvironment(env: Readonly<Record<string, string | undefined>>): ExecutorEnvironment {
  const need = (name: string): string => {
    const value = env[name];
    if (value !== undefined && value !== '') return value;
    throw new TypeError(`Cannot find the agent of this executor: ${name} is not set; let an agent start the executor`);
  };
  const duration = (name: string, otherwise: number): number => {
    const text = env[name];
    const value = text === undefined ? otherwise : parseDuration(text);
    if (value !== undefined) return value;
    throw new TypeError(`Cannot read ${name}: '${text}' is not a duration such as 5secs`);
  };
  return {
    frameworkId: need('MESOS_FRAMEWORK_ID'),
    executorId: need('MESOS_EXECUTOR_ID'),
    agentId: env['MESOS_SLAVE_ID'] ?? '',
    agent: agentIn(env, need),
    token: env['MESOS_EXECUTOR_AUTHENTICATION_TOKEN'],
    sandbox: env['MESOS_SANDBOX'] ?? process.cwd(),
    shutdownGraceMs: duration('MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD', shutdownGraceMs),
    recoveryTimeoutMs: env['MESOS_CHECKPOINT'] === '1' ? duration('MESOS_RECOVERY_TIMEOUT', recoveryTimeoutMs) : 0,
    maxBackoffMs: duration('MESOS_SUBSCRIPTION_BACKOFF_MAX', maxBackoffMs),
  };
}

/** The domain socket, where it can be seen from here: nobody else can take its place while the agent is away. */
function agentIn(
  env: Readonly<Record<string, string | undefined>>,
  need: (name: string) => string,
): ExecutorEnvironment['agent'] {
  const socketPath = env['MESOS_DOMAIN_SOCKET'];
  if (socketPath !== undefined && existsSync(socketPath)) return { socketPath };
  const endpoint = need('MESOS_AGENT_ENDPOINT');
  const { hostname, port } = new URL(`http://${endpoint}`);
  return { host: hostname.replace(/^\[|\]$/g, ''), port: Number(port) };
}
