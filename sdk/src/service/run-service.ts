import { randomBytes } from 'node:crypto';
import { closeSync, writeSync } from 'node:fs';
import { constants } from 'node:os';
import type { CommonOptions } from './common-options.ts';
import { ConfigError, TextWanted } from './config-error.ts';
import { type ConfigDefinition, type ConfigOf, defineConfig, type OptionTable } from './define-config.ts';
import { createHealth, type Health } from './health.ts';
import { startHttp } from './http.ts';
import { loadConfig } from './load-config.ts';
import { createLogger, type Logger } from './logger.ts';
import { createMetrics, type Metrics } from './metrics.ts';
import { Shutdown, type ShutdownHook } from './shutdown.ts';
import { startTracing } from './start-tracing.ts';
import { version } from './version.ts';

/** What a service gets to start with. */
export interface ServiceContext<Config> {
  readonly config: Config;
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly health: Health;
  /** Unique per process start: `<name>-<16 hex digits>`. */
  readonly instance: string;
  /** Aborted when the service begins to stop. */
  readonly signal: AbortSignal;
  /**
   * Adds something to be done before the process ends; what was added last is done first.
   *
   * @param options.deadlineMs - how long is waited for it; default 5000
   */
  onShutdown(what: string, hook: ShutdownHook, options?: { readonly deadlineMs?: number }): void;
  /** Ends the process in order, as SIGTERM does, with a reason for the log. */
  stop(reason: string, exitCode?: number): void;
}

export interface Service<Table extends OptionTable> {
  /** `master`; the command is `mesobus-master`. */
  readonly name: string;
  /** One sentence for `--help`. */
  readonly summary: string;
  /** Its own options; the common ones are there anyway. */
  readonly options: Table;
  /** Resolves when the service does its work: then it is ready. */
  start(context: ServiceContext<ConfigOf<CommonOptions & Table>>): Promise<void> | void;
}

/**
 * The main of every process: configuration, log, traces, HTTP, signals, readiness.
 *
 * - SIGTERM, SIGINT: shutdown in order, exit 0; a second one exits at once.
 * - Configuration that cannot be used: the problems on standard error, exit 2.
 * - `start` fails, or anything is thrown and not caught: a fatal line, exit 1.
 * - When `start` resolves: the line `ready`, and `ready <instance>\n` to the file descriptor in MESOBUS_READY_FD, which is
 *   then closed.
 */
export async function runService<Table extends OptionTable>(service: Service<Table>): Promise<void> {
  // Taken out of the environment, so that no child process believes that it is meant.
  const readyFd = process.env['MESOBUS_READY_FD'];
  delete process.env['MESOBUS_READY_FD'];
  const definition = defineConfig({
    command: `mesobus-${service.name}`,
    summary: service.summary,
    options: service.options,
  });
  const config = await configOrExit(definition);
  // The common part is read through its own type: TypeScript does not resolve it through an open table.
  const common = config as ConfigOf<CommonOptions>;
  const log = createLogger(service.name, { level: common.logLevel, secrets: secretsOf(definition, config) });
  const shutdown = new Shutdown(log);
  exitOnCrash(log);
  exitOnSignals(shutdown);
  stayAlive();
  try {
    const context = await prepare(service.name, common, log, shutdown);
    log.info(
      { version, instance: context.instance, node: process.version, config: shown(definition, config) },
      'starting',
    );
    await service.start({ ...context, config });
    if (shutdown.signal.aborted) return;
    context.health.check('started', () => undefined);
    log.info({ instance: context.instance, startedMs: Math.round(performance.now()) }, 'ready');
    tellReady(readyFd, context.instance, log);
  } catch (error) {
    const cannot = error instanceof ConfigError;
    if (cannot) process.stderr.write(`${error.message}\n`);
    // What breaks because the service is already stopping changes nothing about how it stops.
    else if (shutdown.signal.aborted) log.warn({ err: error }, 'the start was interrupted');
    else log.fatal({ err: error }, 'the service cannot start');
    await shutdown.run(cannot ? 'the configuration cannot be used' : 'the service cannot start', cannot ? 2 : 1);
  }
}

async function configOrExit<Table>(definition: ConfigDefinition<Table>): Promise<ConfigOf<Table>> {
  try {
    return await loadConfig(definition);
  } catch (error) {
    if (error instanceof TextWanted) return leave(process.stdout, error.text, 0);
    if (error instanceof ConfigError) return leave(process.stderr, `${error.message}\n`, 2);
    throw error;
  }
}

/** Writes all of the text, even into a pipe, and exits. */
function leave(stream: NodeJS.WriteStream, text: string, exitCode: number): Promise<never> {
  return new Promise(() => stream.write(text, () => process.exit(exitCode)));
}

async function prepare(
  name: string,
  config: ConfigOf<CommonOptions>,
  log: Logger,
  shutdown: Shutdown,
): Promise<Omit<ServiceContext<never>, 'config'>> {
  const instance = `${name}-${randomBytes(8).toString('hex')}`;
  const metrics = createMetrics();
  const health = createHealth();
  health.check('started', () => 'the service is still starting');
  shutdown.signal.addEventListener('abort', () => health.check('started', () => 'the service is stopping'));
  const { otlpEndpoint: endpoint, traceSample: sample } = config;
  const tracing = await startTracing({ service: name, instance, endpoint, sample, onProblem: oncePerMinute(log) });
  shutdown.add('send the last traces', () => tracing.shutdown(), 2_000);
  if (config.http !== undefined) {
    const http = await startHttp({ address: config.http, service: name, instance, metrics, health });
    shutdown.add('close the HTTP server', () => http.close(), 1_000);
    log.info({ url: http.url }, 'serving /metrics, /health and /version');
  }
  return {
    log,
    metrics,
    health,
    instance,
    signal: shutdown.signal,
    onShutdown: (what, hook, { deadlineMs = 5_000 } = {}) => shutdown.add(what, hook, deadlineMs),
    stop: (reason, exitCode = 0) => void shutdown.run(reason, exitCode),
  };
}

function exitOnCrash(log: Logger): void {
  const crash = (what: string) => (error: unknown) => {
    log.fatal({ err: error }, what);
    process.exit(1);
  };
  process.on('uncaughtException', crash('an error was not caught'));
  process.on('unhandledRejection', crash('a rejected promise was not handled'));
}

function exitOnSignals(shutdown: Shutdown): void {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      if (shutdown.signal.aborted) process.exit(128 + constants.signals[signal]);
      void shutdown.run(signal, 0);
    });
  }
}

/** A service runs until it is told to stop, even in a moment in which it waits for nothing. */
function stayAlive(): void {
  setInterval(() => undefined, 2 ** 30);
}

function tellReady(readyFd: string | undefined, instance: string, log: Logger): void {
  if (readyFd === undefined || readyFd === '') return;
  try {
    const fd = Number(readyFd);
    if (!Number.isInteger(fd) || fd < 3)
      throw new RangeError(`'${readyFd}' is not the number of a file descriptor above 2`);
    writeSync(fd, `ready ${instance}\n`);
    closeSync(fd);
  } catch (error) {
    log.warn({ err: error }, 'cannot tell MESOBUS_READY_FD that the service is ready');
  }
}

/** The exporter repeats itself as long as a collector is away; the log need not. */
function oncePerMinute(log: Logger): (problem: string) => void {
  let quietUntil = Number.NEGATIVE_INFINITY;
  return (problem) => {
    if (performance.now() < quietUntil) return;
    quietUntil = performance.now() + 60_000;
    log.warn({ problem }, 'traces may be lost');
  };
}

function secretsOf<Table>(definition: ConfigDefinition<Table>, config: ConfigOf<Table>): string[] {
  const values = Object.entries(config);
  const keys = new Set(definition.options.filter(({ option }) => option.secret).map(({ key }) => key));
  return values.flatMap(([key, value]) => (keys.has(key) && typeof value === 'string' ? [value] : []));
}

/** The configuration as a log may show it. */
function shown<Table>(definition: ConfigDefinition<Table>, config: ConfigOf<Table>): Record<string, unknown> {
  const secrets = new Set(definition.options.filter(({ option }) => option.secret).map(({ key }) => key));
  const given = Object.entries(config).filter(([, value]) => value !== undefined);
  return Object.fromEntries(given.map(([key, value]) => [key, secrets.has(key) ? '[secret]' : value]));
}
