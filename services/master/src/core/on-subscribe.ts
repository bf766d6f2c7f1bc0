import { mesobus, mesos } from '@mesobus/protos';
import type { FrameworkEntry } from '@mesobus/registry/core';
import { notAllowed, wantedByFramework } from './authorization.ts';
import type { CallerTurn } from './call-turn.ts';
import { conductOfSuccessor } from './conduct.ts';
import { filtersLifted, frameworkChanged } from './feed.ts';
import { type FrameworkClaim, frameworkProblem } from './framework-problem.ts';
import { isRemoved, linkOf, rolesOf } from './frameworks.ts';
import type { SchedulerEvent, Stream } from './messages.ts';
import { dropOffers } from './offers.ts';
import { demandProblem, takeDemand } from './on-demand.ts';
import { unacknowledgedOperations } from './operations.ts';
import { type FrameworkLink, type State, subscriberKey } from './state.ts';
import { errorEvent, updateEvent } from './statuses.ts';
import type { Turn } from './turn.ts';

const EventType = mesos.v1.scheduler.Event.Type;
const { GONE } = mesobus.v1.AgentRecord.Lifecycle;

/** Seconds between two heartbeats on a scheduler's stream. */
export const heartbeatIntervalSeconds = 15;
/** Instances that are remembered as superseded, per framework; older ones are told by their generation. */
const maxSuperseded = 16;

/** A scheduler subscribes: as a new framework, again, or in the place of an older instance. */
export function onSubscribe(turn: CallerTurn, { subscribe, frameworkId }: mesos.v1.scheduler.Call): void {
  if (!subscribe) {
    turn.refuse('call_invalid', 'SUBSCRIBE', "its part 'subscribe' is missing");
    return;
  }
  const { frameworkInfo: info, suppressedRoles, offerConstraints } = subscribe;
  const id = info.id?.value ?? '';
  const claim = { info, suppressedRoles, offerConstraints };
  const problem =
    frameworkProblem(claim, turn.state.config) ??
    identityProblem(turn, info, frameworkId?.value ?? '') ??
    (turn.call.demand === null ? undefined : demandProblem(turn.call.demand, rolesOf(info)));
  if (problem !== undefined) {
    turn.refuse('call_invalid', id || info.name, problem);
    return;
  }
  const denied = notAllowed(turn.state, turn.principal, wantedByFramework(info));
  if (denied !== undefined) {
    turn.refuse('not_authorized', id || info.name, denied);
    return;
  }

  if (id === '') {
    const known = findSubscribed(turn);
    if (known === undefined) subscribeNew(turn, claim);
    else if (known.record.instanceId === turn.call.instanceId) subscribeAgain(turn, known, claim);
    else turn.refuse('instance_superseded', known.id, undefined, 'barrier'); // another has taken over what it made
    return;
  }
  const framework = turn.state.ledger.frameworks.get(id);
  if (framework === undefined) {
    turn.refuse('framework_unknown', id, undefined, 'barrier');
    return;
  }
  if (isRemoved(framework)) {
    turn.refuse('framework_removed', id, undefined, 'barrier');
    return;
  }
  if (framework.record.principal !== turn.principal) {
    turn.refuse('framework_not_yours', id);
    return;
  }
  if (isSuperseded(turn, framework)) {
    turn.refuse('instance_superseded', id, undefined, 'barrier');
    return;
  }
  subscribeAgain(turn, framework, claim);
}

function identityProblem(turn: CallerTurn, info: mesos.v1.FrameworkInfo, callId: string): string | undefined {
  if (callId !== (info.id?.value ?? '')) return "'framework_id' is not 'framework_info.id'";
  if (info.principal !== '' && info.principal !== turn.principal)
    return `'framework_info.principal' is '${info.principal}', but the caller is '${turn.principal}'`;
  return undefined;
}

/** The framework that the same scheduler, or the same call, has made: its reply was lost. */
function findSubscribed(turn: CallerTurn): FrameworkEntry | undefined {
  const { state, principal, call } = turn;
  const id =
    state.subscribers.get(subscriberKey(principal, 'call', call.callId)) ??
    state.subscribers.get(subscriberKey(principal, 'instance', call.instanceId));
  return id === undefined ? undefined : state.ledger.frameworks.get(id);
}

function isSuperseded({ call }: CallerTurn, { record }: FrameworkEntry): boolean {
  if (record.supersededInstances.includes(call.instanceId)) return true;
  return call.instanceId !== record.instanceId && call.generation > 0 && call.generation < record.generation;
}

function subscribeNew(turn: CallerTurn, claim: FrameworkClaim): void {
  const { state, principal, call, at } = turn;
  const { cluster } = state.ledger;
  const number = cluster.nextFrameworkNumber;
  const id = `${state.config.masterId}-${String(number).padStart(4, '0')}`;
  const record = new mesobus.v1.FrameworkRecord({
    frameworkId: id,
    ...saidOf(claim, id, principal),
    principal,
    instanceId: call.instanceId,
    generation: 1,
    registeredAtMs: at,
    reregisteredAtMs: at,
    subscribeCallId: call.callId,
  });
  turn.transaction([{ cluster: clusterRecord(state, { nextFrameworkNumber: number + 1 }) }, { framework: record }]);
  const framework = state.ledger.frameworks.get(id) as FrameworkEntry;
  turn.log('info', 'framework subscribed', { framework: id, name: record.info?.name ?? '', principal });
  welcome(turn, framework, linkOf(state, framework, at));
}

/** The counters from which ids are made, and what else the record holds. */
export function clusterRecord(
  { ledger }: State,
  counters: Partial<Pick<mesobus.v1.ClusterRecord, 'nextAgentNumber' | 'nextFrameworkNumber'>>,
): mesobus.v1.ClusterRecord.$Properties {
  const { incarnation, name, nextAgentNumber, nextFrameworkNumber, minimumCapabilities } = ledger.cluster;
  const kept = { clusterIncarnation: incarnation, name, minimumCapabilities: [...minimumCapabilities] };
  return { ...kept, nextAgentNumber, nextFrameworkNumber, ...counters };
}

function saidOf(claim: FrameworkClaim, id: string, principal: string): mesobus.v1.FrameworkRecord.$Properties {
  const info = new mesos.v1.FrameworkInfo({ ...claim.info, id: new mesos.v1.FrameworkID({ value: id }), principal });
  return { info, suppressedRoles: [...claim.suppressedRoles], offerConstraints: claim.offerConstraints };
}

function subscribeAgain(turn: CallerTurn, framework: FrameworkEntry, claim: FrameworkClaim): void {
  const { state, principal, call, at } = turn;
  const { id, record: before } = framework;
  const said = saidOf(claim, id, principal);
  // As in Mesos, a framework keeps its user and its checkpointing, whatever it says when it returns.
  if (said.info && before.info) {
    said.info.user = before.info.user;
    said.info.checkpoint = before.info.checkpoint;
  }
  const takesOver = before.instanceId !== call.instanceId;
  const generation = takesOver ? before.generation + 1 : before.generation;
  const supersededInstances = takesOver
    ? [...before.supersededInstances, before.instanceId].slice(-maxSuperseded)
    : before.supersededInstances;
  const current = { instanceId: call.instanceId, generation, supersededInstances, reregisteredAtMs: at };
  const renewed = { ...before, ...said, ...current };
  turn.commit([{ framework: new mesobus.v1.FrameworkRecord(renewed) }]);

  const old = state.frameworks.get(id);
  if (old !== undefined) leave(turn, old, takesOver);
  const link = linkOf(state, framework, at);
  for (const [taskId, updates] of old?.pending ?? []) link.pending.set(taskId, updates);
  if (old !== undefined) link.conduct = takesOver ? conductOfSuccessor(old.conduct) : old.conduct;
  welcome(turn, framework, link);
}

/** What the framework had in hand before it subscribed again is void: it starts afresh. */
function leave(turn: CallerTurn, old: FrameworkLink, takesOver: boolean): void {
  dropOffers(turn, old.offers);
  filtersLifted(turn.state, old.frameworkId, []);
  turn.state.frameworks.delete(old.frameworkId);
  frameworkChanged(turn.state, old.frameworkId);
  if (!takesOver) return;
  turn.tellStream(old.stream, [errorEvent('Framework failed over')], 'committed');
  turn.emit({ kind: 'close_stream', when: 'committed', to: old.stream });
  turn.log('info', 'framework failed over', { framework: old.frameworkId, instance: turn.call.instanceId });
}

/** Answers, and lets events flow, once what was recorded is committed. */
function welcome(turn: CallerTurn, framework: FrameworkEntry, link: FrameworkLink): void {
  const { callId, mesosCompatible, demand } = turn.call;
  noteSubscriber(turn.state, framework, callId);
  link.mesosCompatible = mesosCompatible;
  if (demand !== null) takeDemand(link, demand);
  const { generation } = link.stream;
  turn.accept('committed', true, { frameworkId: framework.id, generation });
  const input = { kind: 'framework_committed', frameworkId: framework.id, generation } as const;
  turn.emit({ kind: 'open_stream', when: 'committed', to: link.stream });
  turn.emit({ kind: 'committed', when: 'committed', input });
}

/** Lets a repeated SUBSCRIBE without an id find its framework. */
export function noteSubscriber({ subscribers }: State, { id, record }: FrameworkEntry, callId: string): void {
  for (const instanceId of [record.instanceId, ...record.supersededInstances]) {
    subscribers.set(subscriberKey(record.principal, 'instance', instanceId), id);
  }
  if (record.subscribeCallId === callId) subscribers.set(subscriberKey(record.principal, 'call', callId), id);
}

/** The subscription is committed: its events may flow. */
export function onFrameworkCommitted(turn: Turn, frameworkId: string, generation: number): void {
  const link = turn.state.frameworks.get(frameworkId);
  if (link === undefined || link.stream.generation !== generation) return; // another instance was quicker
  dropOffers(turn, link.offers); // of the same subscription, asked for twice: to the scheduler they are void
  link.subscribed = true;
  link.connected = true;
  link.lastHeartbeatMs = turn.at;
  frameworkChanged(turn.state, frameworkId);
  turn.tell(frameworkId, [
    subscribedEvent(turn.state, link.stream),
    heartbeatEvent,
    ...pendingEvents(turn.state, link),
    ...unacknowledgedOperations(turn.state, frameworkId),
  ]);
}

function subscribedEvent({ config }: State, { frameworkId }: Stream): SchedulerEvent {
  const subscribed = {
    frameworkId: { value: frameworkId },
    heartbeatIntervalSeconds,
    masterInfo: config.masterInfo,
  };
  return { event: { type: EventType.SUBSCRIBED, subscribed } };
}

export const heartbeatEvent: SchedulerEvent = { event: { type: EventType.HEARTBEAT } };

/** Updates that the framework has not acknowledged: whoever subscribes may never have got them. */
function* pendingEvents({ ledger }: State, { pending, ended }: FrameworkLink): Iterable<SchedulerEvent> {
  for (const updates of pending.values()) {
    for (const { status, traceparent } of updates) yield updateEvent(status, traceparent);
  }
  // An agent repeats what is not acknowledged, with its data; for one that is no more the ledger speaks.
  for (const { taskId, agentId, status, launched } of ended) {
    const agent = ledger.agents.get(agentId);
    const isOver = agent === undefined || agent.record.lifecycle === GONE;
    if (isOver && status && status.uuid.length > 0 && !pending.has(taskId)) {
      yield updateEvent(status, launched.traceparent);
    }
  }
}
