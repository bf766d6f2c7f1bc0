import { mesos } from '@mesobus/protos';
import { askKills } from './carry-out-kill.ts';
import { sameStatus, statusOf } from './check-status.ts';
import { ownGraceMs } from './kills-of.ts';
import { makeUpdate } from './make-update.ts';
import { idsIn } from './spans.ts';
import { isDelegated, isLive, type Launch, type Millis } from './state.ts';
import { describeStatus } from './task-outcome.ts';
import { placeOf } from './task-place.ts';
import { log, roll, type Turn } from './turn.ts';
import { withDefaults } from './with-defaults.ts';

const { CheckInfo, HealthCheck, TaskState } = mesos.v1;
const { REASON_TASK_CHECK_STATUS_UPDATED, REASON_TASK_HEALTH_CHECK_STATUS_UPDATED } = mesos.v1.TaskStatus.Reason;
const { SOURCE_EXECUTOR } = mesos.v1.TaskStatus.Source;

/** A health check ends its task when it fails too often; a general one only says what it sees. */
export type CheckKind = 'health' | 'general';

/** How a task is looked at. */
export type Probe =
  | { readonly kind: 'command'; readonly command: mesos.v1.CommandInfo.$Properties }
  | {
      readonly kind: 'http';
      readonly scheme: 'http' | 'https';
      readonly port: number;
      readonly path: string;
      readonly ipv6: boolean;
    }
  | { readonly kind: 'tcp'; readonly port: number; readonly ipv6: boolean };

/** What was seen. */
export type CheckResult =
  | {
      readonly kind: 'command';
      /** Raw wait status. */
      readonly status: number;
      /** The end of what it wrote. */
      readonly output: string;
    }
  | { readonly kind: 'http'; readonly statusCode: number }
  | { readonly kind: 'tcp'; readonly succeeded: boolean; readonly message: string }
  /** Nothing in time, or no answer: the task does not do what it should. */
  | { readonly kind: 'failed'; readonly message: string }
  /** There was no looking at it: that says nothing of the task. */
  | { readonly kind: 'unknown'; readonly message: string };

/** A check of a task that runs. Made anew by each process. */
export interface Check {
  readonly kind: CheckKind;
  readonly launch: Launch;
  readonly probe: Probe;
  readonly intervalMs: number;
  /** 0: it may take for ever. */
  readonly timeoutMs: number;
  /** Up to here failures do not count, until it has succeeded once. */
  readonly graceUntil: Millis;
  /** So many failures in a row end the task. */
  readonly maxFailures: number;
  /** Infinity while it is under way. */
  nextAt: Millis;
  /** Of the run that is awaited: what comes of others does not count. */
  run: number;
  hasSucceeded: boolean;
  failures: number;
}

/** So many are begun at a time: when there are more, they spread over the next ticks. */
export const maxChecksPerTick = 20;

/** While so many updates wait to be acknowledged, none is added for a check: what has changed is said later. */
export const maxUpdatesWaiting = 16;

const checkKey = (kind: CheckKind, containerId: string): string => `${kind}\0${containerId}`;

/**
 * Begins to check a task that has come to run, if it says so; an executor of its framework's does it itself.
 *
 * @param spread - it runs already, like others: their checks are not to begin all at one time
 */
export function beginChecks(turn: Turn, launch: Launch, spread = false): void {
  const { healthCheck, check } = launch.task ?? {};
  if (isDelegated(launch) || launch.kill !== undefined) return;
  if (healthCheck) {
    const info = HealthCheck.create(healthCheck); // knows the defaults
    const graceUntil = turn.at + info.gracePeriodSeconds * 1000;
    const rules = { graceUntil, maxFailures: info.consecutiveFailures };
    begin(turn, launch, { kind: 'health', info, probe: probeOfHealth(info), ...rules }, spread);
  }
  if (check) {
    const info = CheckInfo.create(check);
    const rules = { graceUntil: 0, maxFailures: Number.POSITIVE_INFINITY };
    begin(turn, launch, { kind: 'general', info, probe: probeOf(info), ...rules }, spread);
  }
}

interface Begun extends Pick<Check, 'kind' | 'graceUntil' | 'maxFailures'> {
  readonly info: Pick<mesos.v1.CheckInfo, 'delaySeconds' | 'intervalSeconds' | 'timeoutSeconds'>;
  readonly probe: Probe | undefined;
}

function begin({ state, at }: Turn, launch: Launch, { info, probe, ...rules }: Begun, spread: boolean): void {
  if (probe === undefined) return; // the leader lets none pass that lacks it
  const intervalMs = info.intervalSeconds * 1000;
  state.checks.set(checkKey(rules.kind, launch.containerId), {
    ...rules,
    ...{ launch, probe, intervalMs },
    timeoutMs: info.timeoutSeconds * 1000,
    nextAt: at + info.delaySeconds * 1000 + (spread ? Math.floor(roll(state) * intervalMs) : 0),
    run: 0,
    hasSucceeded: false,
    failures: 0,
  });
}

function probeOf({ type, command, http, tcp }: mesos.v1.CheckInfo.$Properties): Probe | undefined {
  const { COMMAND, HTTP, TCP } = CheckInfo.Type;
  if (type === COMMAND && command?.command) return { kind: 'command', command: withDefaults(command.command) };
  if (type === HTTP && http)
    return { kind: 'http', scheme: 'http', port: http.port, path: http.path ?? '', ipv6: false };
  return type === TCP && tcp ? { kind: 'tcp', port: tcp.port, ipv6: false } : undefined;
}

function probeOfHealth({ type, command, http, tcp }: mesos.v1.HealthCheck.$Properties): Probe | undefined {
  const { COMMAND, HTTP, TCP } = HealthCheck.Type;
  const { IPv6 } = mesos.v1.NetworkInfo.Protocol;
  if (type === COMMAND && command) return { kind: 'command', command: withDefaults(command) };
  if (type === TCP && tcp) return { kind: 'tcp', port: tcp.port, ipv6: tcp.protocol === IPv6 };
  if (type !== HTTP || !http) return undefined;
  const scheme = http.scheme === 'https' ? 'https' : 'http';
  return { kind: 'http', scheme, port: http.port, path: http.path ?? '', ipv6: http.protocol === IPv6 };
}

// ---- time

/** Time has passed: begins the checks that are due. */
export function runChecks(turn: Turn): void {
  const { state, at } = turn;
  let begun = 0;
  for (const [key, check] of state.checks) {
    const { launch } = check;
    if (!isLive(launch) || launch.kill !== undefined) state.checks.delete(key);
    else if (launch.paused) postpone(turn, check);
    else if (check.nextAt <= at && begun < maxChecksPerTick) {
      begun += 1;
      state.checks.delete(key); // behind the others
      state.checks.set(key, check);
      run(turn, check);
    }
  }
}

/** What stands still cannot answer: what was asked of it does not count, and it is asked when it goes on. */
function postpone({ at }: Turn, check: Check): void {
  check.run += 1;
  check.nextAt = Math.max(at + check.intervalMs, Number.isFinite(check.nextAt) ? check.nextAt : 0);
}

function run({ state, effects }: Turn, check: Check): void {
  check.run += 1;
  check.nextAt = Number.POSITIVE_INFINITY;
  const { kind, launch, probe, timeoutMs } = check;
  const { containerId } = launch;
  effects.push({
    ...{ kind: 'run_check', containerId, check: kind, run: check.run, probe, timeoutMs },
    task: placeOf(state, launch),
  });
}

// ---- what was seen

/** A check has been carried out. */
export function onCheckResult(
  turn: Turn,
  said: { readonly containerId: string; readonly check: CheckKind; readonly run: number; readonly result: CheckResult },
): void {
  const check = turn.state.checks.get(checkKey(said.check, said.containerId));
  if (check === undefined || check.run !== said.run || Number.isFinite(check.nextAt)) return;
  check.nextAt = turn.at + check.intervalMs;
  const { launch } = check;
  if (!isLive(launch) || launch.kill !== undefined || launch.paused) return;
  const { result } = said;
  if (result.kind === 'unknown') {
    log(turn, 'debug', `Cannot check a task: ${result.message}`, {
      task: launch.taskId,
      container: launch.containerId,
    });
  } else if (check.kind === 'health') judgeHealth(turn, check, result);
  else sayStatus(turn, check, statusOf(launch, result));
}

function judgeHealth(turn: Turn, check: Check, result: CheckResult): void {
  const { launch, graceUntil, maxFailures } = check;
  const problem = problemOf(result);
  if (problem === undefined) {
    check.hasSucceeded = true;
    check.failures = 0;
    sayHealth(turn, launch, true, 'The health check succeeds');
    return;
  }
  if (!check.hasSucceeded && turn.at <= graceUntil) return; // it is only starting
  check.failures += 1;
  sayHealth(turn, launch, false, `The health check fails: ${problem}`);
  if (check.failures < maxFailures) return;
  const times = check.failures === 1 ? '' : ` ${check.failures} times in a row`;
  const unhealthy = `Killed: its health check has failed${times}: ${problem}`;
  log(turn, 'info', 'A task is killed for its health check has failed', {
    task: launch.taskId,
    problem,
    ...idsIn(launch),
  });
  launch.healthy = false;
  askKills(turn, [{ launch, graceMs: ownGraceMs(launch), unhealthy }]);
}

/** What is wrong with a task of which this was seen; undefined: nothing. */
function problemOf(result: CheckResult): string | undefined {
  if (result.kind === 'command') {
    if (result.status === 0) return undefined;
    return `${describeStatus(result.status)}${result.output === '' ? '' : `: ${result.output}`}`;
  }
  if (result.kind === 'http') {
    const { statusCode } = result;
    return statusCode >= 200 && statusCode < 400 ? undefined : `HTTP status ${statusCode}`;
  }
  return result.kind === 'tcp' && result.succeeded ? undefined : result.message;
}

// ---- what is said of it

function sayHealth(turn: Turn, launch: Launch, healthy: boolean, message: string): void {
  if (launch.healthy === healthy || launch.pending.length >= maxUpdatesWaiting) return;
  launch.healthy = healthy;
  say(turn, launch, REASON_TASK_HEALTH_CHECK_STATUS_UPDATED, message);
}

function sayStatus(turn: Turn, { launch }: Check, status: mesos.v1.CheckStatusInfo.$Properties): void {
  if (sameStatus(launch.checkStatus, status) || launch.pending.length >= maxUpdatesWaiting) return;
  launch.checkStatus = status;
  say(turn, launch, REASON_TASK_CHECK_STATUS_UPDATED);
}

function say(turn: Turn, launch: Launch, reason: mesos.v1.TaskStatus.Reason, message?: string): void {
  makeUpdate(turn, launch, { state: TaskState.TASK_RUNNING, source: SOURCE_EXECUTOR, reason, message });
}
