import { mesos } from '@mesobus/protos';
import {
  fromWire,
  nonRevocable,
  type Resources,
  resources,
  revocable,
  toRevocable,
  toWire,
} from '@mesobus/sdk/resources';
import { askKills } from './carry-out-kill.ts';
import { askShutdown, neededBy } from './executors.ts';
import { ownGraceMs } from './kills-of.ts';
import { type Preemption, preemptions } from './preempt.ts';
import { estimateIdle, isNews } from './revocable-estimate.ts';
import { sendRequest } from './send-request.ts';
import { shutAll } from './shut-by.ts';
import { idsIn } from './spans.ts';
import { isLive, type State } from './state.ts';
import { stateFor } from './task-outcome.ts';
import { log, type Turn } from './turn.ts';
import {
  type Amounts,
  amountsOf,
  type ContainerUsage,
  firstMeasured,
  type Held,
  type Measured,
  measuredAgain,
} from './usage.ts';
import { resourcesOfTask } from './volumes.ts';

const { TASK_GONE } = mesos.v1.TaskState;
const { REASON_CONTAINER_PREEMPTED } = mesos.v1.TaskStatus.Reason;

/** An estimate that the leader has not answered is told again. */
const repeatMs = 6_000;
/** Whoever must yield has at most so long from SIGTERM to SIGKILL: others need the room. */
const maxGraceMs = 3_000;

/** The containers were measured: what is too much is taken back, what lies idle is told. */
export function onUsage(turn: Turn, samples: readonly ContainerUsage[]): void {
  const { state } = turn;
  if (state.config.oversubscription === undefined) return;
  note(state, samples);
  takeBack(turn);
  reviewEstimate(turn);
}

/** Has the containers measured that run. */
export function measureUsage({ state, at, effects }: Turn): void {
  const { oversubscription } = state.config;
  if (oversubscription === undefined || at < state.lending.nextMeasureAt) return;
  state.lending.nextMeasureAt = at + oversubscription.intervalMs;
  const running = [...state.byContainer.values(), ...state.executors.values()].filter(
    ({ phase, started }) => phase === 'running' && started !== undefined,
  );
  effects.push({ kind: 'measure', containerIds: running.map(({ containerId }) => containerId) });
}

/** What could not be measured counts neither as idle nor as in use. */
function note({ byContainer, executors, lending, config }: State, samples: readonly ContainerUsage[]): void {
  const before = new Map(lending.containers);
  lending.containers.clear();
  for (const sample of samples) {
    const { containerId } = sample;
    const owner = byContainer.get(containerId) ?? executors.get(containerId);
    if (owner?.phase !== 'running') continue;
    const known = before.get(containerId);
    const smoothingMs = config.oversubscription?.smoothingMs ?? 0;
    const held = heldBy(owner);
    const now =
      known === undefined ? firstMeasured(owner, held, sample) : measuredAgain(known, held, sample, smoothingMs);
    lending.containers.set(containerId, now);
  }
}

function heldBy(owner: Measured['owner']): Held {
  const held: Resources = 'launches' in owner ? neededBy(owner) : resourcesOfTask(owner.task ?? {});
  return { regular: amountsOf(nonRevocable(held)), revocable: amountsOf(revocable(held)) };
}

const totalOf = ({ config }: State): Amounts => amountsOf(nonRevocable(fromWire(config.info.resources ?? [])));

function takeBack(turn: Turn): void {
  const { lending, config } = turn.state;
  const yielding = preemptions(
    [...lending.containers.values()],
    totalOf(turn.state),
    config.oversubscription?.margin ?? 0,
  );
  for (const preemption of yielding) {
    const { owner } = preemption;
    const { containerId: container, frameworkId: framework } = owner;
    log(turn, 'info', 'A container is killed: it runs on revocable resources', {
      container,
      framework,
      why: preemption.why,
      ...('launches' in owner ? {} : idsIn(owner)),
    });
    preempt(turn, preemption);
  }
}

/** An executor ends with all of its tasks, and at once, as in Mesos. */
function preempt(turn: Turn, { owner, why: message }: Preemption): void {
  if ('launches' in owner) {
    const outcome = { state: stateFor(owner, TASK_GONE), reason: REASON_CONTAINER_PREEMPTED, message };
    askShutdown(turn, shutAll(turn.state, [owner], { graceMs: 0, ...outcome }));
  } else askKills(turn, [{ launch: owner, graceMs: Math.min(maxGraceMs, ownGraceMs(owner)), preempted: message }]);
}

/** Tells the leader what lies idle, if that has changed enough. */
export function reviewEstimate(turn: Turn): void {
  const { state } = turn;
  const { lending, config } = state;
  if (config.oversubscription === undefined) return;
  const containers = [...lending.containers.values()].filter(({ owner }) => isLive(owner));
  const total = totalOf(state);
  const estimate = estimateIdle(containers, total, config.oversubscription.margin);
  if (!isNews(lending.told, estimate, total)) return;
  lending.told = estimate;
  lending.number += 1;
  tellEstimate(turn);
}

/** Tells the estimate, once this agent is registered; until it is answered, again and again. */
export function tellEstimate(turn: Turn): void {
  const { state } = turn;
  const { lending } = state;
  if (lending.number === 0) return;
  lending.repeatAt = turn.at + repeatMs;
  if (state.registration.kind !== 'registered') return;
  const { number, told } = lending;
  const idle = toRevocable(resources({ cpus: told.cpus / 1_000, mem: told.mem / 1_000 }));
  sendRequest(turn, { kind: 'estimate', number }, { revocableEstimate: { resources: toWire(idle), number } });
}

/** The leader has answered, if only to say that it cannot use it: what it was told of last needs no repeating. */
export function estimateAnswered({ lending }: State, number: number): void {
  if (number === lending.number) lending.repeatAt = Number.POSITIVE_INFINITY;
}
