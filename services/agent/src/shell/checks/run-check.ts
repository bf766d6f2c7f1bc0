import { connect } from 'node:net';
import { finished } from 'node:stream/promises';
import { setTimeout as wait } from 'node:timers/promises';
import type { CheckResult, Effect, Probe, TaskPlace } from '../../core/index.ts';
import type { InnerProcess } from '../containerizer.ts';
import { httpGet } from '../http-get.ts';
import { tailOf } from '../tail-of.ts';

type RunCheck = Extract<Effect, { kind: 'run_check' }>;
type Command = Extract<Probe, { kind: 'command' }>['command'];

export interface CheckSurroundings {
  /** Runs a command in a container with the environment of its task. */
  runInside(containerId: string, task: TaskPlace, command: Command): InnerProcess;
  /** Of a container with a network of its own. */
  addressOf(containerId: string): Promise<string | undefined>;
}

/** Of what a command writes, so much of its end is told. */
const maxOutputChars = 200;

/** What a command that has ended wrote comes after its end, unless something that it has left holds its output open. */
const maxOutputDelayMs = 1_000;

/** The longest that a timer takes. */
const maxTimeoutMs = 2 ** 31 - 1;

/** Carries out a check. Always says something, unless the check may take for ever and does. */
export async function runCheck(check: RunCheck, containers: CheckSurroundings): Promise<CheckResult> {
  const { probe, timeoutMs } = check;
  const signal =
    timeoutMs > 0 ? AbortSignal.timeout(Math.min(Math.ceil(timeoutMs), maxTimeoutMs)) : new AbortController().signal;
  try {
    if (probe.kind === 'command') return await runCommand(check, probe.command, signal, containers);
    const host = await hostOf(check.containerId, probe.ipv6, containers);
    if (typeof host !== 'string') return host;
    return probe.kind === 'http' ? await askHttp(probe, host, signal) : await connectTcp(probe.port, host, signal);
  } catch (error) {
    return { kind: 'failed', message: signal.aborted ? `no answer within ${timeoutMs} ms` : messageOf(error) };
  }
}

async function runCommand(
  { containerId, task }: RunCheck,
  command: Command,
  signal: AbortSignal,
  containers: CheckSurroundings,
): Promise<CheckResult> {
  let inner: InnerProcess;
  try {
    inner = containers.runInside(containerId, task, command);
  } catch (error) {
    return { kind: 'unknown', message: messageOf(error) };
  }
  inner.stdin.on('error', () => {}); // it need not read
  inner.stdin.end();
  const streams = [inner.stdout, inner.stderr];
  const output = streams.map((stream) => tailOf(stream, maxOutputChars));
  const written = Promise.allSettled(streams.map((stream) => finished(stream)));
  const onAbort = (): void => inner.kill('SIGKILL');
  signal.addEventListener('abort', onAbort);
  const end = await inner.ended;
  signal.removeEventListener('abort', onAbort);
  signal.throwIfAborted();
  await Promise.race([written, wait(maxOutputDelayMs, undefined, { ref: false })]);
  if (end.kind === 'failed')
    return { kind: end.unasked ? 'unknown' : 'failed', message: `its command: ${end.message}` };
  const said = output.map((tail) => tail()).filter((text) => text !== '');
  return { kind: 'command', status: end.status, output: said.join('; ') };
}

/** As Mesos does, it asks where tasks listen that have the network of the machine. */
async function hostOf(
  containerId: string,
  ipv6: boolean,
  containers: CheckSurroundings,
): Promise<string | CheckResult> {
  try {
    return (await containers.addressOf(containerId)) ?? (ipv6 ? '::1' : '127.0.0.1');
  } catch (error) {
    return { kind: 'unknown', message: messageOf(error) };
  }
}

async function askHttp(
  { scheme, port, path }: Extract<Probe, { kind: 'http' }>,
  host: string,
  signal: AbortSignal,
): Promise<CheckResult> {
  const authority = host.includes(':') ? `[${host}]` : host;
  const url = new URL(`${scheme}://${authority}:${port}${path.startsWith('/') ? '' : '/'}${path}`);
  const response = await httpGet(url, { signal, anyCertificate: true });
  response.destroy();
  return { kind: 'http', statusCode: response.statusCode ?? 0 };
}

function connectTcp(port: number, host: string, signal: AbortSignal): Promise<CheckResult> {
  const { promise, resolve } = Promise.withResolvers<CheckResult>();
  const end = (succeeded: boolean, message: string): void => {
    socket.destroy();
    resolve({ kind: 'tcp', succeeded, message });
  };
  const socket = connect({ host, port, signal }, () => end(true, ''));
  socket.on('error', (error) =>
    end(false, signal.aborted ? `no connection to ${host}:${port} in time` : messageOf(error)),
  );
  return promise;
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
