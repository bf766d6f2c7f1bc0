// Running tasks are asked back for a framework in a role, and killed if they still run then. See docs/adr/0014-reclaiming.md.
import { mesos } from '@mesobus/protos';
import { type FrameworkEntry, holdingKey, type TaskEntry } from '@mesobus/registry/core';
import { allocate, type Resources, sum, toWire } from '@mesobus/sdk/resources';
import { inactiveBecause } from './agents.ts';
import { agentChanged } from './feed.ts';
import type { SchedulerEvent } from './messages.ts';
import { killTask } from './on-kill.ts';
import { lackedBy, protects, wants } from './reclaim-rules.ts';
import { type Reclaimability, runningOf } from './reclaimable.ts';
import type { FrameworkLink, Offer, State } from './state.ts';
import type { Turn } from './turn.ts';

const EventType = mesos.v1.scheduler.Event.Type;

/** What was freed is kept for the claimant for so long; and what is free while killed tasks take their time. */
const keepFreedMs = 10_000;
const keepForKilledMs = 300_000;

export interface Claimant {
  readonly frameworkId: string;
  readonly role: string;
}

/** What one framework is asked to give back in one role. */
interface AskedBack {
  readonly offerId: string;
  readonly frameworkId: string;
  /** Whom it was asked: another subscription knows nothing of it. */
  readonly link: FrameworkLink;
  answered: boolean;
}

/** Tasks of one agent on their way out, and for whom. */
export interface Reclaim {
  readonly agentId: string;
  readonly claimant: Claimant;
  /** What the claimant lacked is a part of its guarantee; else of its fair share. */
  readonly forGuarantee: boolean;
  readonly why: string;
  /** What still runs then is killed, in ms since 1970. */
  readonly killAtMs: number;
  readonly tasks: readonly TaskEntry[];
  /** By {@link holdingKey}. */
  readonly asked: Map<string, AskedBack>;
  /** When they were killed, in ms since 1970. */
  killedAtMs: number | undefined;
  /** Since when none of the tasks runs any more, in ms since 1970. */
  freedAtMs: number | undefined;
}

/** Soft state: the next leader hears of it anew from its allocator. Only the kills are in the log. */
export interface Reclaims {
  /** By agent: one at a time on each. */
  readonly byAgent: Map<string, Reclaim>;
  readonly reclaimability: WeakMap<TaskEntry, Reclaimability>;
}

export const createReclaims = (): Reclaims => ({ byAgent: new Map(), reclaimability: new WeakMap() });

/** Asks for tasks that may be taken, and notes what becomes of it. */
export function beginReclaim(
  turn: Turn,
  { agentId, claimant, why }: Pick<Reclaim, 'agentId' | 'claimant' | 'why'>,
  tasks: readonly TaskEntry[],
): void {
  const { state, at } = turn;
  const reclaim: Reclaim = {
    agentId,
    claimant,
    forGuarantee: lackedBy(state, claimant.role),
    why,
    killAtMs: at + state.config.reclaimNoticeMs,
    tasks,
    asked: new Map(),
    killedAtMs: undefined,
    freedAtMs: undefined,
  };
  state.reclaims.byAgent.set(agentId, reclaim);
  askBack(turn, reclaim);
  agentChanged(state, agentId);
  turn.log('info', 'tasks are asked back', { ...fieldsOf(reclaim), tasks: tasks.length });
}

const fieldsOf = ({ agentId, claimant, why }: Reclaim): Record<string, string> => ({
  agent: agentId,
  framework: claimant.frameworkId,
  role: claimant.role,
  why,
});

/** Each framework that is there and was not asked yet hears what it should give back, and until when. */
function askBack(turn: Turn, reclaim: Reclaim): void {
  const { state } = turn;
  const { agentId, asked, killAtMs } = reclaim;
  for (const [key, own] of Map.groupBy(runningOf(reclaim), ({ frameworkId, role }) => holdingKey(frameworkId, role))) {
    const { frameworkId, role } = own[0] as TaskEntry;
    const link = state.frameworks.get(frameworkId);
    if (!link?.connected || asked.get(key)?.link === link) continue;
    state.offerNumber += 1;
    const offerId = `${state.config.masterId}-O${state.offerNumber}`;
    asked.set(key, { offerId, frameworkId, link, answered: false });
    const resources = allocate(sum(own.map((task) => task.resources)), role);
    turn.tell(frameworkId, [inverseOfferEvent({ offerId, agentId, frameworkId, killAtMs, resources })]);
  }
}

/** A framework answers. Whether it agrees or not: what still runs when it is time is killed. */
export function onReclaimAnswered(
  { state }: Turn,
  framework: FrameworkEntry,
  { inverseOfferIds }: mesos.v1.scheduler.Call.AcceptInverseOffers,
): void {
  if (state.reclaims.byAgent.size === 0) return;
  const ids = new Set(inverseOfferIds.map(({ value }) => value));
  for (const { asked } of state.reclaims.byAgent.values()) {
    for (const one of asked.values()) if (one.frameworkId === framework.id && ids.has(one.offerId)) one.answered = true;
  }
}

/** Goes on with everything that is under way. Looked at again and again. */
export function progressReclaims(turn: Turn): void {
  for (const reclaim of [...turn.state.reclaims.byAgent.values()]) progress(turn, reclaim);
}

function progress(turn: Turn, reclaim: Reclaim): void {
  const running = runningOf(reclaim);
  const because = whyOver(turn, reclaim, running);
  if (because !== undefined) end(turn, reclaim, because);
  else if (running.length === 0) withdraw(turn, reclaim);
  else if (reclaim.killedAtMs !== undefined) return;
  else if (turn.at >= reclaim.killAtMs) kill(turn, reclaim, running);
  else askBack(turn, reclaim);
}

/** Why nothing more comes of it; undefined if it goes on. */
function whyOver({ state, at }: Turn, reclaim: Reclaim, running: readonly TaskEntry[]): string | undefined {
  const { agentId, claimant, killAtMs, killedAtMs } = reclaim;
  const agent = state.ledger.agents.get(agentId);
  if (agent === undefined || inactiveBecause(state, agent) !== undefined) return 'its agent is away';
  if (!stillWanted(state, reclaim)) return 'whoever it was for lacks it no more';
  if (running.length === 0) {
    reclaim.freedAtMs ??= at;
    return at - reclaim.freedAtMs >= keepFreedMs ? 'what was freed is not taken' : undefined;
  }
  if (killedAtMs !== undefined) return at - killedAtMs >= keepForKilledMs ? 'the tasks do not end' : undefined;
  // What is guaranteed may be another amount by now, and other tasks may have ended.
  const isNeeded = at >= killAtMs && !protects(state, claimant.role, running, reclaim);
  return isNeeded ? 'guarantees need the tasks' : undefined;
}

function stillWanted(state: State, { claimant, forGuarantee }: Reclaim): boolean {
  return wants(state, claimant) && (!forGuarantee || lackedBy(state, claimant.role));
}

function kill(turn: Turn, reclaim: Reclaim, running: readonly TaskEntry[]): void {
  const agent = turn.state.ledger.agents.get(reclaim.agentId);
  if (agent === undefined) return;
  reclaim.killedAtMs = turn.at;
  const why = `Its resources were asked back: ${reclaim.why}`;
  for (const task of running) killTask(turn, task, agent, null, { principal: '', by: 'master', asked: '' }, why);
  withdraw(turn, reclaim);
  turn.log('info', 'tasks that were asked back are killed', { ...fieldsOf(reclaim), tasks: running.length });
}

/** The claimant has been offered what was freed for it: others may have the rest. */
export function onClaimantServed({ state }: Turn, { agentId, frameworkId, role }: Offer): void {
  const reclaim = state.reclaims.byAgent.get(agentId);
  const { claimant } = reclaim ?? {};
  if (reclaim === undefined || claimant?.frameworkId !== frameworkId || claimant.role !== role) return;
  if (runningOf(reclaim).length === 0) state.reclaims.byAgent.delete(agentId);
}

function end(turn: Turn, reclaim: Reclaim, because: string): void {
  withdraw(turn, reclaim);
  turn.state.reclaims.byAgent.delete(reclaim.agentId);
  agentChanged(turn.state, reclaim.agentId);
  turn.log('info', 'tasks are no longer asked back', { ...fieldsOf(reclaim), because });
}

/** Takes back what was not answered. */
function withdraw(turn: Turn, { asked }: Reclaim): void {
  for (const { offerId, frameworkId, link, answered } of asked.values()) {
    if (!answered && turn.state.frameworks.get(frameworkId) === link) turn.tell(frameworkId, [rescindEvent(offerId)]);
  }
  asked.clear();
}

function rescindEvent(offerId: string): SchedulerEvent {
  const rescindInverseOffer = { inverseOfferId: { value: offerId } };
  return { event: { type: EventType.RESCIND_INVERSE_OFFER, rescindInverseOffer } };
}

interface Asking {
  readonly offerId: string;
  readonly agentId: string;
  readonly frameworkId: string;
  readonly killAtMs: number;
  readonly resources: Resources;
}

/** It names what is asked back; what is unavailable from then on is that, and no end is known. */
function inverseOfferEvent({ offerId, agentId, frameworkId, killAtMs, resources }: Asking): SchedulerEvent {
  const inverseOffer = {
    id: { value: offerId },
    frameworkId: { value: frameworkId },
    agentId: { value: agentId },
    unavailability: { start: { nanoseconds: BigInt(Math.round(killAtMs)) * 1_000_000n } },
    resources: toWire(resources),
  };
  return { event: { type: EventType.INVERSE_OFFERS, inverseOffers: { inverseOffers: [inverseOffer] } } };
}
