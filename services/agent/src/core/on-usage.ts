import type { mesos } from '@mesobus/protos';
import { fromWire, nonRevocable, resources, revocable, toRevocable, toWire } from '@mesobus/sdk/resources';
import { askKills } from './carry-out-kill.ts';
import { ownGraceMs } from './kills-of.ts';
import { preemptions } from './preempt.ts';
import { estimateIdle, isNews } from './revocable-estimate.ts';
import { sendRequest } from './send-request.ts';
import { isLive, type State } from './state.ts';
import { log, type Turn } from './turn.ts';
import { type Amounts, amountsOf, type ContainerUsage, firstMeasured, type Measured, measuredAgain } from './usage.ts';
import { resourcesOfTask } from './volumes.ts';

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
  const running = [...state.byContainer.values()].filter(({ phase }) => phase === 'running');
  effects.push({ kind: 'measure', containerIds: running.map(({ containerId }) => containerId) });
}

/** What could not be measured counts neither as idle nor as in use. */
function note({ byContainer, lending, config }: State, samples: readonly ContainerUsage[]): void {
  const before = new Map(lending.containers);
  lending.containers.clear();
  for (const sample of samples) {
    const { containerId } = sample;
    const launch = byContainer.get(containerId);
    if (launch?.task === undefined || launch.phase !== 'running') continue;
    const known = before.get(containerId);
    const smoothingMs = config.oversubscription?.smoothingMs ?? 0;
    const now =
      known === undefined
        ? firstMeasured(launch, heldBy(launch.task), sample)
        : measuredAgain(known, sample, smoothingMs);
    lending.containers.set(containerId, now);
  }
}

function heldBy(task: mesos.v1.TaskInfo.$Properties): Pick<Measured, 'regular' | 'revocable'> {
  const held = resourcesOfTask(task);
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
  for (const { launch, why } of yielding) {
    log(turn, 'info', 'A task is killed: it runs on revocable resources', {
      task: launch.taskId,
      framework: launch.frameworkId,
      why,
    });
    askKills(turn, [{ launch, graceMs: Math.min(maxGraceMs, ownGraceMs(launch)), preempted: why }]);
  }
}

/** Tells the leader what lies idle, if that has changed enough. */
export function reviewEstimate(turn: Turn): void {
  const { state } = turn;
  const { lending, config } = state;
  if (config.oversubscription === undefined) return;
  const containers = [...lending.containers.values()].filter(({ launch }) => isLive(launch));
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
