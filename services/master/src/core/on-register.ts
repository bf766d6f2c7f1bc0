import { encode, mesobus, mesos } from '@mesobus/protos';
import { type AgentEntry, canMove, isTerminal, type TaskEntry } from '@mesobus/registry/core';
import {
  attributesFromWire,
  formatAttributes,
  fromWire,
  nonRevocable,
  type Resources,
  toWire,
  tryUse,
  type WireResource,
} from '@mesobus/sdk/resources';
import { connect, hear } from './agent-presence.ts';
import type { AgentTurn } from './agent-turn.ts';
import { agentLinkOf, agentRecord, availableOf } from './agents.ts';
import { notAllowed, wantedByAgent } from './authorization.ts';
import { recordCursor } from './commands.ts';
import { agentRemoved, endTasks, retireAgent } from './end-agent.ts';
import { compareExecutors } from './executors.ts';
import { agentChanged } from './feed.ts';
import { findLiveFramework } from './frameworks.ts';
import { downMachine, placeAgent } from './machines.ts';
import { rescindOffers } from './offers.ts';
import { equalBytes } from './on-acknowledge.ts';
import { forgetEstimate } from './on-revocable-estimate.ts';
import { clusterRecord } from './on-subscribe.ts';
import {
  decidedResources,
  findOperation,
  isPending,
  maxAgentBytes,
  type OperationRecord,
  operationRemoved,
  tellOperations,
} from './operations.ts';
import { rescindAboveLimits } from './rescind-for-quotas.ts';
import type { AgentLink, State } from './state.ts';
import { masterStatus, type TaskWord, tellStatuses } from './statuses.ts';
import type { Turn } from './turn.ts';

type Register = mesobus.v1.RegisterAgent;
const { TASK_GONE, TASK_UNREACHABLE } = mesos.v1.TaskState;
const { REASON_AGENT_REREGISTERED, REASON_RECONCILIATION } = mesos.v1.TaskStatus.Reason;
const { OPERATION_DROPPED } = mesos.v1.OperationState;
const { ADMITTED } = mesobus.v1.AgentRecord.Lifecycle;

/** An agent that has heard nothing addressed to it for so long registers again, unasked. */
export const agentSilenceTimeoutMs = 75_000;
/** Processes that are remembered as superseded, per agent: of those before nothing is on its way any more. */
const maxSuperseded = 4;

/** An agent registers: for the first time, again, or as another one under a known name. */
export function onRegister(turn: AgentTurn, register: Register): void {
  const { agentName, state } = turn;
  const problem = registrationProblem(turn, register);
  if (problem !== undefined) {
    turn.refuse('call_invalid', agentName, problem);
    return;
  }
  const denied = notAllowed(state, agentName, wantedByAgent(agentName));
  if (denied !== undefined) {
    turn.refuse('not_authorized', agentName, denied);
    return;
  }
  const machine = downMachine(state, register.info?.hostname ?? '');
  if (machine !== undefined) {
    turn.refuse(
      'machine_down',
      agentName,
      `maintenance of '${machine.id.hostname || machine.id.ip}' has started`,
      'barrier',
    );
    return;
  }

  const known = state.ledger.agentsByName.get(agentName);
  if (known?.record.registrationKey === register.registrationKey) {
    registerAgain(turn, known, register);
    return;
  }
  const other = state.ledger.agents.get(turn.request.agentId);
  if (state.goneKeys.has(register.registrationKey) || (other !== undefined && other !== known)) {
    turn.refuse('agent_gone', agentName, undefined, 'barrier');
    return;
  }
  admit(turn, known, register);
}

function registrationProblem(turn: AgentTurn, register: Register): string | undefined {
  const { agentName, request } = turn;
  if (register.agentName !== agentName) return `it names itself '${register.agentName}'`;
  if (register.registrationKey === '') return 'its registration key is empty';
  if (request.incarnation === '') return 'its incarnation is empty';
  if (!register.info) return "its part 'info' is missing";
  if (register.info.domain && !turn.state.config.masterInfo.domain) {
    return 'it has a domain and this master has none; start the masters with --domain too';
  }
  const unfit = resourcesProblem(register);
  if (unfit !== undefined) return unfit;
  const bytes = encode(mesobus.v1.AgentRecord, saidOf(turn, request.agentId, register)).length;
  return bytes > maxAgentBytes ? `what it says of itself takes ${bytes} bytes, of at most ${maxAgentBytes}` : undefined;
}

function resourcesProblem({ info, checkpointedResources }: Register): string | undefined {
  try {
    const has = fromWire([...(info?.resources ?? []), ...checkpointedResources]);
    const lent = has.find(({ revocable }) => revocable);
    return lent && `its '${lent.name}' are revocable; that is what it estimates to be idle, and not configured`;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** A new agent id; whoever had the name before is retired in the same entry. */
function admit(turn: AgentTurn, retired: AgentEntry | undefined, register: Register): void {
  const { state } = turn;
  const number = state.ledger.cluster.nextAgentNumber;
  const agentId = `${state.config.masterId}-S${number}`;
  const cluster = clusterRecord(state, { nextAgentNumber: number + 1 });
  const agent = new mesobus.v1.AgentRecord({ ...saidOf(turn, agentId, register), registeredAtMs: turn.at });
  if (retired === undefined) turn.transaction([{ cluster }, { agent }]);
  else {
    const records = [agentRemoved(turn, retired), { cluster }, { agent }];
    retireAgent(turn, retired, 'another agent registered under its name', records);
  }
  turn.log('info', 'agent admitted', { agent: agentId, name: turn.agentName });
  const entry = state.ledger.agents.get(agentId) as AgentEntry;
  const link = agentLinkOf(state, entry);
  const executors = register.executors.map(({ run }) => run?.number ?? 0);
  welcome(turn, entry, link, { tasks: register.tasks.map(keyOf), executors });
}

function registerAgain(turn: AgentTurn, agent: AgentEntry, register: Register): void {
  const { state, request } = turn;
  const link = agentLinkOf(state, agent);
  if (agent.record.supersededIncarnations.includes(request.incarnation)) {
    turn.refuse('incarnation_superseded', turn.agentName, undefined, 'barrier');
    return;
  }
  // Commands that a process has taken it does not lose: this was sent before what it has said since.
  const heard = Math.max(link.cursor, link.resourcesCursor);
  if (agent.record.incarnation === request.incarnation && register.cursor < heard) {
    turn.refuse('call_invalid', turn.agentName, `its cursor ${register.cursor} is behind ${heard}, which it has said`);
    return;
  }
  const oldTotal = agent.total;
  const oldInfo = agent.record.info;
  // Whatever was decided about the agent stays: it is drained or deactivated as before.
  const isBack = agent.record.unreachableAtMs > 0;
  const said = {
    ...saidOf(turn, agent.id, register),
    supersededIncarnations: supersededBy(agent.record, request.incarnation),
    ...(isBack && { unreachableAtMs: 0 }),
  };
  const record = agentRecord(agent, said);
  const records: mesobus.v1.Record.$Properties[] = hasChanged(agent.record, record) ? [{ agent: record }] : [];
  records.push(...lostOperations(turn, agent, register));
  link.resourcesCursor = register.cursor;
  const unknown = reconcile(turn, agent, register, records);
  if (agent.total !== oldTotal) rescindOffers(turn, link.offers, 'rescinded'); // what they hold may be no more
  if (!sameAttributes(oldInfo, agent.record.info)) state.filters.liftOn(agent.id); // as whoever allocates does

  catchUp(turn, agent, link, register.cursor);
  turn.log('info', 'agent registered again', { agent: agent.id, name: turn.agentName, cursor: register.cursor });
  welcome(turn, agent, link, unknown);
}

function sameAttributes(before: mesos.v1.AgentInfo | null, now: mesos.v1.AgentInfo | null): boolean {
  const [a, b] = [before, now].map((info) => attributesFromWire(info?.attributes ?? []));
  return formatAttributes(a ?? []) === formatAttributes(b ?? []);
}

/** What the agent says of itself. */
function saidOf(turn: AgentTurn, agentId: string, register: Register): mesobus.v1.AgentRecord.$Properties {
  const { agentName, registrationKey, bootId, version, capabilities } = register;
  const info = register.info ? { ...register.info, id: new mesos.v1.AgentID({ value: agentId }) } : {};
  return {
    agentId,
    agentName,
    registrationKey,
    incarnation: turn.request.incarnation,
    bootId,
    info: new mesos.v1.AgentInfo(info as mesos.v1.AgentInfo),
    version,
    capabilities,
    checkpointedResources: resourcesOf(turn, agentId, register),
    lifecycle: ADMITTED,
    reregisteredAtMs: turn.at,
  };
}

/** Its reservations and volumes: as it says, with what is on its way to it. */
function resourcesOf(
  { state }: Turn,
  agentId: string,
  { info, checkpointedResources, cursor }: Register,
): WireResource[] {
  const operations = state.ledger.agents.get(agentId)?.operations;
  const checkpointed = fromWire(checkpointedResources);
  if (checkpointed.length === 0 && !operations?.size) return [];
  return toWire(decidedResources(operations ?? new Map(), fromWire(info?.resources ?? []), { checkpointed, cursor }));
}

/** Thousands of agents register at once with a new leader: those that are as they were make no records. */
function hasChanged(before: mesobus.v1.AgentRecord, now: mesobus.v1.AgentRecord): boolean {
  const said = new mesobus.v1.AgentRecord({ ...now, reregisteredAtMs: before.reregisteredAtMs });
  return !equalBytes(encode(mesobus.v1.AgentRecord, before), encode(mesobus.v1.AgentRecord, said));
}

/** The agent says what it has checkpointed: that is where sending goes on. */
function catchUp(turn: Turn, agent: AgentEntry, link: AgentLink, cursor: number): void {
  if (cursor > agent.lastCommand) {
    const fields = { agent: agent.id, cursor, lastCommand: agent.lastCommand };
    turn.log(
      'warn',
      'an agent has obeyed commands that the log does not have: new ones get numbers above them',
      fields,
    );
    link.released = cursor;
  }
  // An agent that has lost a part of its disk gets the numbers that it lacks again: its cursor may not jump.
  link.cursor = cursor;
  link.sent = link.cursor;
  recordCursor(turn, agent, link);
}

/** Operations that the agent had, and does not know: it has lost them, and its resources are as it says. */
function lostOperations(
  turn: Turn,
  agent: AgentEntry,
  { operations, cursor }: Register,
): mesobus.v1.Record.$Properties[] {
  const known = new Set(operations.map(({ uuid }) => findOperation(agent, uuid.value)));
  const isLost = (record: OperationRecord): boolean =>
    record.commandNumber <= cursor && isPending(record) && !known.has(record);
  tellOperations(turn, agent, OPERATION_DROPPED, 'The agent has lost the operation', isLost);
  return [...agent.operations.values()].filter(isLost).map(operationRemoved);
}

/**
 * Compares what the agent runs with what the log says, in one transaction with its record, which comes first: an agent
 * that has tasks is admitted. A task that was out of reach and runs is back. A task at or below the cursor that the agent
 * does not report has ended.
 *
 * @returns what it reports and should end: of no framework, ended by decision, or another launch of the same id
 */
function reconcile(
  turn: Turn,
  agent: AgentEntry,
  register: Register,
  records: mesobus.v1.Record.$Properties[],
): Unknown {
  const { tasks, cursor } = register;
  const reported = new Set<TaskEntry>();
  const back: TaskWord[] = [];
  const unknown: mesobus.v1.LaunchKey.$Properties[] = [];
  const room = new Room(turn.state, agent);
  for (const task of tasks) {
    const known = findLiveFramework(turn.state, task.frameworkId)?.tasks.get(task.taskId);
    const isThis = known?.agentId === agent.id && known.commandNumber === task.commandNumber;
    if (isThis) reported.add(known);
    if (isTerminal(task.state)) continue; // it stays as it is until its updates come
    const returns = isThis && known.state === TASK_UNREACHABLE;
    if (!isThis || isTerminal(known.state) || (returns && !room.take(known))) unknown.push(keyOf(task));
    else if (returns && canMove(TASK_UNREACHABLE, task.state)) {
      back.push({ task: known, status: backStatus(turn, known, task.state) });
    }
  }
  const lost = [...agent.tasks].filter(
    (task) => !isTerminal(task.state) && task.commandNumber <= cursor && !reported.has(task),
  );
  const message = 'Reconciliation: the task is unknown to its agent';
  const executors = compareExecutors(turn, agent, register, (resources) => room.take({ resources }));
  const before = [
    ...records,
    ...executors.records,
    ...back.map((word) => ({ taskChanged: backChange(word, turn.at) })),
  ];
  endTasks(turn, lost, { state: TASK_GONE, reason: REASON_RECONCILIATION, message }, { before });
  tellStatuses(turn, back);
  return { tasks: unknown, executors: executors.unknown };
}

/** What an agent reports and should end. */
interface Unknown {
  readonly tasks: mesobus.v1.LaunchKey.$Properties[];
  /** By the numbers of their runs. */
  readonly executors: readonly number[];
}

/**
 * What tasks that return may hold again. While their agent was out of reach nobody else could take it; one that is brought
 * up only by a later registration may be too late.
 */
class Room {
  readonly #isReserved: boolean;
  #left: Resources;

  constructor(state: State, agent: AgentEntry) {
    this.#isReserved = agent.record.lifecycle !== ADMITTED;
    this.#left = availableOf(state, agent);
  }

  take({ resources }: Pick<TaskEntry, 'resources'>): boolean {
    if (this.#isReserved) return true;
    // Whether what runs revocably may go on is the agent's to say.
    const rest = tryUse(this.#left, nonRevocable(resources));
    this.#left = rest ?? this.#left;
    return rest !== undefined;
  }
}

function backStatus({ at }: Turn, task: TaskEntry, state: mesos.v1.TaskState): mesos.v1.TaskStatus {
  const { taskId, agentId } = task;
  const message = 'The agent is back, and the task with it';
  return masterStatus({ taskId, state, reason: REASON_AGENT_REREGISTERED, message, agentId }, at);
}

/** The status stays the agent's own: its uuid is still to be acknowledged. */
function backChange({ task, status }: TaskWord, at: number): mesobus.v1.TaskChanged.$Properties {
  const { frameworkId, taskId, commandNumber, updateNumber, acknowledgedNumber } = task;
  const numbers = { commandNumber, updateNumber, acknowledgedNumber };
  return { task: { frameworkId, taskId }, ...numbers, state: status.state, changedAtMs: at };
}

const keyOf = ({ frameworkId, taskId, commandNumber }: mesobus.v1.AgentTask): mesobus.v1.LaunchKey.$Properties => ({
  frameworkId,
  taskId,
  commandNumber,
});

/** Answers once the registration is committed, and no deposed leader: then the agent takes part. */
function welcome(turn: AgentTurn, agent: AgentEntry, link: AgentLink, unknown: Unknown): void {
  const { incarnation } = turn.request;
  placeAgent(turn.state, agent);
  agentChanged(turn.state, agent.id);
  rescindAboveLimits(turn, agent);
  if (link.incarnation !== incarnation) forgetEstimate(turn, agent, link);
  link.incarnation = incarnation;
  link.registered = false;
  turn.state.recovered.delete(agent.id);
  hear(turn, link);
  link.lastAddressedMs = turn.at;
  const registered = {
    agentId: agent.id,
    heartbeatIntervalMs: turn.state.config.agentPingTimeoutMs,
    silenceTimeoutMs: agentSilenceTimeoutMs,
    unknownTasks: unknown.tasks,
    unknownExecutors: [...unknown.executors],
    lastCommand: agent.lastCommand,
  };
  turn.answer('barrier', { registered });
  turn.emit({
    kind: 'committed',
    when: 'committed',
    input: { kind: 'agent_committed', agentId: agent.id, incarnation },
  });
}

/** A process under the same identity that came before is not listened to again, whoever leads. */
function supersededBy({ incarnation, supersededIncarnations }: mesobus.v1.AgentRecord, now: string): string[] {
  if (incarnation === now) return supersededIncarnations;
  return [...supersededIncarnations, incarnation].slice(-maxSuperseded);
}

/** The registration is committed: the agent gets its commands, and its resources are offered. */
export function onAgentCommitted(turn: Turn, agentId: string, incarnation: string): void {
  const link = turn.state.agents.get(agentId);
  const agent = turn.state.ledger.agents.get(agentId);
  if (link === undefined || agent === undefined || link.incarnation !== incarnation) return;
  link.registered = true;
  connect(turn, agent, link);
}
