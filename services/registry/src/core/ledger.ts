import { encode, mesobus, type mesos, unknownFields } from '@mesobus/protos';
import {
  add,
  equals,
  fromWire,
  isEmpty,
  noResources,
  type Resources,
  trySubtract,
  unallocate,
} from '@mesobus/sdk/resources';
import { agentTotal } from './agent-total.ts';
import {
  type ChangeOutline,
  type LaunchOutline,
  outlineChanged,
  outlineLaunched,
  outlineTaskFact,
  type SnapshotOutline,
  type TaskFact,
} from './outlines.ts';
import { asBuffer, packBytes, Slice, unpack } from './packed.ts';
import { createRecentCalls, type RecentCalls, recordCall } from './recent-calls.ts';
import { createShardMarks, mark, type ShardMarks, shardOfAgent, shards } from './shard-layout.ts';
import { createSharedResources, type SharedResources } from './shared-resources.ts';
import { type Account, OwnTask } from './task.ts';
import { canMove, holdsResources, isTerminal, type TaskState } from './task-state.ts';

const v1 = mesobus.v1;
const { REMOVED } = v1.FrameworkRecord.Lifecycle;
const { GONE } = v1.AgentRecord.Lifecycle;

/** One launch of a task. A task id used again, after the earlier task has ended, gets a new entry. */
export interface TaskEntry {
  readonly frameworkId: string;
  readonly taskId: string;
  readonly agentId: string;
  /** Decoded each time unless it is recent: take what is needed of it once. */
  readonly launched: mesobus.v1.TaskLaunched;
  /** What it is accounted for while its state holds resources. */
  readonly resources: Resources;
  readonly role: string;
  /** Of the launch, at the agent; the tasks of a group share it. */
  readonly commandNumber: number;
  /**
   * Everything that was launched by the same command, this entry included; undefined if it is no group, and once the
   * agent has the command.
   */
  readonly group?: readonly TaskEntry[] | undefined;
  readonly state: TaskState;
  /** The latest update taken. Decoded each time, as `launched`. */
  readonly status: mesos.v1.TaskStatus | undefined;
  /** That of the latest update taken. */
  readonly statusState: TaskState | undefined;
  /** Of the latest update taken; 0 if none came from the agent. Only grows. */
  readonly updateNumber: number;
  /** The framework has acknowledged up to here. Only grows. */
  readonly acknowledgedNumber: number;
  readonly changedAtMs: number;
  /** A kill of it is committed. */
  readonly killIssued: boolean;
}

/** A run of an executor. It holds its resources until it has ended, whether it has tasks or not. */
export interface ExecutorEntry {
  readonly frameworkId: string;
  readonly executorId: string;
  /** Tells one run from the next. */
  readonly runNumber: number;
  readonly role: string;
  readonly resources: Resources;
  readonly record: mesobus.v1.ExecutorRecord;
}

/** What the tasks and executors of one framework and role hold on one agent together. */
export interface Holding {
  readonly frameworkId: string;
  readonly role: string;
  readonly resources: Resources;
}

export interface AgentEntry {
  readonly id: string;
  readonly record: mesobus.v1.AgentRecord;
  /** With what the agent has checkpointed made in it. */
  readonly total: Resources;
  /** All of its tasks in the ledger, ended and unreachable ones too. */
  readonly tasks: ReadonlySet<TaskEntry>;
  /** Those that have not ended, by {@link executorKeyOf}. */
  readonly executors: ReadonlyMap<string, ExecutorEntry>;
  /** By {@link holdingKey}; no holding is empty. */
  readonly holdings: ReadonlyMap<string, Holding>;
  /** The number of the latest command; the next has this plus one. */
  readonly lastCommand: number;
  /** The agent has checkpointed all commands up to here. */
  readonly cursor: number;
  /** Above the cursor, by number: commands other than launches. */
  readonly commands: ReadonlyMap<number, mesobus.v1.CommandIssued>;
  /** Above the cursor, by number: launches, also of tasks that have ended or left the ledger. Of a group, the first. */
  readonly launches: ReadonlyMap<number, TaskEntry>;
  /** Of the kills among `commands` the highest number, by {@link taskKeyOf}. */
  readonly kills: ReadonlyMap<string, number>;
  /** Those that are not done or that somebody has yet to hear of, by the number of their command. */
  readonly operations: ReadonlyMap<number, mesobus.v1.OperationRecord>;
}

export interface FrameworkEntry {
  readonly id: string;
  /** Of a removed framework little is kept: its id is used up, its name is shown. */
  readonly record: mesobus.v1.FrameworkRecord;
  /** By task id: all in the ledger. */
  readonly tasks: ReadonlyMap<string, TaskEntry>;
  /** Those that have ended and whose terminal update is acknowledged, oldest first. */
  readonly completed: ReadonlySet<TaskEntry>;
  /** Those with an id, by it. */
  readonly operations: ReadonlyMap<string, mesobus.v1.OperationRecord>;
}

export interface CallEntry {
  readonly record: mesobus.v1.CallRecorded;
}

export interface ClusterEntry {
  readonly incarnation: number;
  readonly name: string;
  readonly nextAgentNumber: number;
  readonly nextFrameworkNumber: number;
  readonly minimumCapabilities: readonly string[];
}

/**
 * What all records add up to. Only {@link applyRecord} changes it; everyone else reads. Records are kept as they were
 * given, by reference: whoever applied one must not change it afterwards.
 */
export interface Ledger {
  readonly agents: ReadonlyMap<string, AgentEntry>;
  /** Agents that are not gone; no two have the same name. */
  readonly agentsByName: ReadonlyMap<string, AgentEntry>;
  readonly frameworks: ReadonlyMap<string, FrameworkEntry>;
  /** By call id: of the last ten minutes, in the time of the records. */
  readonly calls: ReadonlyMap<string, CallEntry>;
  /** Those with a weight or a quota. */
  readonly roles: ReadonlyMap<string, mesobus.v1.RoleRecord>;
  /** Those of all agents. */
  readonly operations: ReadonlyMap<string, mesobus.v1.OperationRecord>;
  readonly cluster: ClusterEntry;
  readonly maintenance?: mesobus.v1.MaintenanceRecord;
  /** How many tasks there are, by the number of their state. */
  readonly taskCounts: Readonly<Uint32Array>;
}

/** An id from outside may hold any character, but none of ours holds a NUL. */
export const holdingKey = (frameworkId: string, role: string): string => `${frameworkId}\0${role}`;

export const executorKeyOf = (frameworkId: string, executorId: string): string => `${frameworkId}\0${executorId}`;

// ---- what the reducer alone sees

interface OwnHolding {
  readonly frameworkId: string;
  readonly role: string;
  resources: Resources;
  /** Two tasks hold the same port: the sum cannot be told apart again, and is made anew when one ends. */
  overlapping: boolean;
}

export interface OwnAgent extends AgentEntry {
  readonly shard: number;
  /** It stands among the retired, or nowhere. */
  removed: boolean;
  record: mesobus.v1.AgentRecord;
  total: Resources;
  readonly tasks: Set<OwnTask>;
  executors: Map<string, ExecutorEntry>;
  readonly holdings: Map<string, OwnHolding>;
  lastCommand: number;
  cursor: number;
  commands: Map<number, mesobus.v1.CommandIssued>;
  launches: Map<number, OwnTask>;
  kills: Map<string, number>;
  operations: Map<number, mesobus.v1.OperationRecord>;
}

/** What most agents have: nothing above their cursor. Nothing is ever put into it. */
const none = new Map<never, never>();

const orNew = <K, V>(map: Map<K, V>): Map<K, V> => (map === none ? new Map() : map);

interface OwnFramework extends FrameworkEntry {
  record: mesobus.v1.FrameworkRecord;
  readonly tasks: Map<string, OwnTask>;
  readonly completed: Set<OwnTask>;
  operations: Map<string, mesobus.v1.OperationRecord>;
  /** By role. No part of what the ledger holds: they save memory. */
  readonly accounts: Map<string, Account>;
  /** Its completed tasks came in the order of a snapshot, which is not theirs. */
  unsorted: boolean;
}

export interface OwnLedger extends Ledger {
  readonly agents: Map<string, OwnAgent>;
  readonly agentsByName: Map<string, OwnAgent>;
  /** Removed agents whose tasks are still in the ledger: their ids may not come back. */
  readonly retired: Map<string, OwnAgent>;
  /** Both the agents and the retired. */
  readonly agentsOfShard: Map<number, Set<OwnAgent>>;
  readonly frameworks: Map<string, OwnFramework>;
  readonly calls: RecentCalls['entries'];
  readonly recentCalls: RecentCalls;
  readonly roles: Map<string, mesobus.v1.RoleRecord>;
  readonly operations: Map<string, mesobus.v1.OperationRecord>;
  cluster: ClusterEntry;
  /** Of its latest record: encoded fields that this version does not know. */
  clusterUnknown: readonly Uint8Array[];
  maintenance?: mesobus.v1.MaintenanceRecord;
  readonly taskCounts: Uint32Array;
  /** How many tasks were ever completed: it puts those that are in order. */
  completedTasks: number;
  /** Encoded records of kinds that this version does not know, by their bytes as text: the latest last. */
  readonly unknown: Map<string, Uint8Array>;
  readonly marks: ShardMarks;
  /** No part of what the ledger holds: they save memory. */
  readonly shared: SharedResources;
  readonly warm: WarmTasks;
}

/** Tasks that are kept as messages for a while, since most that are new are asked for again, or end soon. A ring. */
interface WarmTasks {
  readonly tasks: (OwnTask | undefined)[];
  next: number;
}

const maxWarmTasks = 8_192;
/** Of a framework. */
const maxAccounts = 1_000;

/** The numbers of states are below. */
const maxTaskStates = 32;

/** Before the first record about the cluster. */
export const noCluster: ClusterEntry = Object.freeze({
  incarnation: 0,
  name: '',
  nextAgentNumber: 0,
  nextFrameworkNumber: 0,
  minimumCapabilities: [],
});

export function createLedger(): Ledger {
  const marks = createShardMarks();
  const recentCalls = createRecentCalls(marks);
  const ledger: OwnLedger = {
    agents: new Map(),
    agentsByName: new Map(),
    retired: new Map(),
    agentsOfShard: new Map(),
    frameworks: new Map(),
    calls: recentCalls.entries,
    recentCalls,
    roles: new Map(),
    operations: new Map(),
    cluster: noCluster,
    clusterUnknown: [],
    taskCounts: new Uint32Array(maxTaskStates),
    completedTasks: 0,
    unknown: new Map(),
    marks,
    shared: createSharedResources(),
    warm: { tasks: [], next: 0 },
  };
  return ledger;
}

/**
 * Applies a record as it stands in the log or in a snapshot. What this version does not know of it is kept.
 *
 * @param bytes - nobody may change them afterwards
 * @returns false if the bytes are no record: nothing has changed
 */
export function applyEncoded(readable: Ledger, bytes: Uint8Array | Slice): boolean {
  const ledger = readable as OwnLedger;
  const record = bytes instanceof Slice ? bytes : new Slice(asBuffer(bytes));
  let fact: TaskFact | mesobus.v1.Record;
  try {
    fact = outlineTaskFact(ledger.shared, record) ?? unpack(v1.Record, record);
  } catch {
    return false;
  }
  if (fact instanceof v1.Record) applyRecord(ledger, fact);
  else if (fact.kind === 'changed') onTaskChanged(ledger, fact.of);
  else if (fact.kind === 'launched') onTaskLaunched(ledger, fact.of);
  else onTaskSnapshot(ledger, fact.of, record);
  return true;
}

/**
 * Applies one record. Applying it a second time at once changes nothing. A record of something that does not exist, an
 * illegal move and a change of an older launch are void: nothing changes, nothing throws. One of an unknown kind is kept.
 */
export function applyRecord(readable: Ledger, record: mesobus.v1.Record.$Properties): void {
  const ledger = readable as OwnLedger;
  if (record.taskChanged) onTaskChanged(ledger, outlineChanged(filled(v1.TaskChanged, record.taskChanged)));
  else if (record.taskLaunched) {
    onTaskLaunched(ledger, outlineLaunched(ledger.shared, filled(v1.TaskLaunched, record.taskLaunched)));
  } else if (record.taskRemoved) onTaskRemoved(ledger, filled(v1.TaskRemoved, record.taskRemoved));
  else if (record.commandsApplied) onCommandsApplied(ledger, filled(v1.CommandsApplied, record.commandsApplied));
  else if (record.commandIssued) onCommandIssued(ledger, filled(v1.CommandIssued, record.commandIssued));
  else if (record.callRecorded) recordCall(ledger.recentCalls, filled(v1.CallRecorded, record.callRecorded));
  else if (record.agent) onAgent(ledger, filled(v1.AgentRecord, record.agent));
  else if (record.agentRemoved) onAgentRemoved(ledger, filled(v1.AgentRemoved, record.agentRemoved));
  else if (record.framework) onFramework(ledger, filled(v1.FrameworkRecord, record.framework));
  else if (record.frameworkForgotten) onFrameworkForgotten(ledger, record.frameworkForgotten.frameworkId ?? '');
  else if (record.operation) onOperation(ledger, filled(v1.OperationRecord, record.operation));
  else if (record.agentResources) onAgentResources(ledger, filled(v1.AgentResources, record.agentResources));
  else if (record.executor) onExecutor(ledger, filled(v1.ExecutorRecord, record.executor));
  else if (record.taskSnapshot) applyEncoded(ledger, encode(v1.Record, record));
  else if (record.totalsSnapshot) onTotalsSnapshot(ledger, record.totalsSnapshot.completedTasks ?? 0);
  else applySetting(ledger, record);
}

function applySetting(ledger: OwnLedger, record: mesobus.v1.Record.$Properties): void {
  if (unknownFields(record).length > 0) {
    onUnknown(ledger, encode(v1.Record, record));
    return;
  }
  mark(ledger.marks, shards.settings);
  if (record.role) onRole(ledger, filled(v1.RoleRecord, record.role));
  else if (record.maintenance) ledger.maintenance = filled(v1.MaintenanceRecord, record.maintenance);
  else if (record.cluster) onCluster(ledger, filled(v1.ClusterRecord, record.cluster));
}

/** The latest last, so that a version that knows them applies them in their order. */
function onUnknown(ledger: OwnLedger, bytes: Uint8Array): void {
  const text = packBytes(asBuffer(bytes));
  ledger.unknown.delete(text);
  ledger.unknown.set(text, bytes);
  mark(ledger.marks, shards.unknown);
}

/** A plain object lacks the defaults of what it does not set; an instance has them. */
function filled<T extends object, P extends object>(type: new (properties?: P) => T, value: P): T {
  return value instanceof type ? value : new type(value);
}

// ---- agents

function onAgent(ledger: OwnLedger, record: mesobus.v1.AgentRecord): void {
  const id = record.agentId;
  if (id === '' || ledger.retired.has(id)) return;

  const agent = ledger.agents.get(id) ?? newAgent(ledger, id, record);
  mark(ledger.marks, agent.shard);
  if (ledger.agentsByName.get(agent.record.agentName) === agent) ledger.agentsByName.delete(agent.record.agentName);
  agent.record = record;
  agent.total = agentTotal(record);
  if (record.lifecycle === GONE || record.agentName === '') return;

  const namesake = ledger.agentsByName.get(record.agentName);
  if (namesake !== undefined) removeAgent(ledger, namesake); // another registration key retires the old id
  ledger.agentsByName.set(record.agentName, agent);
}

function onAgentResources(ledger: OwnLedger, { agentId, checkpointedResources }: mesobus.v1.AgentResources): void {
  const agent = ledger.agents.get(agentId);
  if (agent === undefined) return;
  mark(ledger.marks, agent.shard);
  agent.record = new v1.AgentRecord({ ...agent.record, checkpointedResources });
  agent.total = agentTotal(agent.record);
}

function newAgent(ledger: OwnLedger, id: string, record: mesobus.v1.AgentRecord): OwnAgent {
  const shard = shardOfAgent(id);
  const agent: OwnAgent = {
    id,
    shard,
    removed: false,
    record,
    total: noResources,
    tasks: new Set(),
    executors: none,
    holdings: new Map(),
    lastCommand: 0,
    cursor: 0,
    commands: none,
    launches: none,
    kills: none,
    operations: none,
  };
  ledger.agents.set(id, agent);
  const peers = ledger.agentsOfShard.get(shard);
  if (peers === undefined) ledger.agentsOfShard.set(shard, new Set([agent]));
  else peers.add(agent);
  return agent;
}

function onAgentRemoved(ledger: OwnLedger, { agentId }: mesobus.v1.AgentRemoved): void {
  const agent = ledger.agents.get(agentId);
  if (agent !== undefined) removeAgent(ledger, agent);
}

function removeAgent(ledger: OwnLedger, agent: OwnAgent): void {
  mark(ledger.marks, agent.shard);
  agent.removed = true;
  ledger.agents.delete(agent.id);
  if (ledger.agentsByName.get(agent.record.agentName) === agent) ledger.agentsByName.delete(agent.record.agentName);
  agent.executors.clear();
  agent.holdings.clear();
  agent.commands.clear();
  for (const number of agent.launches.keys()) dropLaunch(agent, number);
  agent.kills.clear();
  for (const operation of agent.operations.values()) removeOperation(ledger, agent, operation);
  if (agent.tasks.size > 0) ledger.retired.set(agent.id, agent);
  else ledger.agentsOfShard.get(agent.shard)?.delete(agent);
}

// ---- commands

function onCommandIssued(ledger: OwnLedger, issued: mesobus.v1.CommandIssued): void {
  const agent = ledger.agents.get(issued.agentId);
  const { command } = issued;
  if (agent === undefined || !command) return;
  const number = command.number ?? 0;
  if (number < 1 || number <= agent.cursor || agent.commands.has(number) || agent.launches.has(number)) return;
  mark(ledger.marks, agent.shard);
  agent.commands = orNew(agent.commands);
  agent.commands.set(number, issued);
  agent.lastCommand = Math.max(agent.lastCommand, number);
  const killed = command.killTask?.task;
  if (killed) onKill(ledger, agent, killed, number);
}

/** A kill is of what has a lower number. */
function onKill(ledger: OwnLedger, agent: OwnAgent, killed: mesobus.v1.TaskKey.$Properties, number: number): void {
  const key = taskKeyOf(killed);
  agent.kills = orNew(agent.kills);
  agent.kills.set(key, Math.max(number, agent.kills.get(key) ?? 0));
  const task = findTask(ledger, killed);
  if (task?.agent !== agent || task.commandNumber >= number) return;
  task.issueKill();
  keepWarm(ledger.warm, task);
}

export const taskKeyOf = ({ frameworkId, taskId }: mesobus.v1.TaskKey.$Properties): string =>
  `${frameworkId}\0${taskId}`;

function onCommandsApplied(ledger: OwnLedger, { agentId, cursor }: mesobus.v1.CommandsApplied): void {
  const agent = ledger.agents.get(agentId);
  if (agent === undefined || cursor <= agent.cursor) return;
  mark(ledger.marks, agent.shard);
  agent.cursor = cursor;
  agent.lastCommand = Math.max(agent.lastCommand, cursor);
  for (const [number, { command }] of agent.commands) if (number <= cursor) dropCommand(agent, number, command);
  for (const number of agent.launches.keys()) if (number <= cursor) dropLaunch(agent, number);
}

function dropLaunch(agent: OwnAgent, number: number): void {
  const first = agent.launches.get(number);
  for (const task of first?.group ?? []) task.group = undefined;
  agent.launches.delete(number);
}

function dropCommand(agent: OwnAgent, number: number, command: mesobus.v1.AgentCommand | null): void {
  agent.commands.delete(number);
  const killed = command?.killTask?.task;
  const key = killed ? taskKeyOf(killed) : '';
  if (agent.kills.get(key) === number) agent.kills.delete(key);
}

// ---- frameworks

function onFramework(ledger: OwnLedger, record: mesobus.v1.FrameworkRecord): void {
  const id = record.frameworkId;
  if (id === '') return;
  const framework = ledger.frameworks.get(id);
  if (framework?.record.lifecycle === REMOVED) return; // its id is used up
  mark(ledger.marks, shards.frameworks);
  const kept = record.lifecycle === REMOVED ? remainsOf(record) : record;
  if (framework !== undefined) framework.record = kept;
  else ledger.frameworks.set(id, newFramework(id, kept));
}

const newFramework = (id: string, record: mesobus.v1.FrameworkRecord): OwnFramework => ({
  id,
  record,
  tasks: new Map(),
  completed: new Set(),
  operations: none,
  accounts: new Map(),
  unsorted: false,
});

/** Of a removed framework only what tells who it was is kept, and its id is refused. */
function remainsOf(record: mesobus.v1.FrameworkRecord): mesobus.v1.FrameworkRecord {
  const { frameworkId, principal, lifecycle, registeredAtMs, removedAtMs, info } = record;
  const known = info ? { info: { user: info.user, name: info.name } } : {};
  return new v1.FrameworkRecord({ frameworkId, principal, lifecycle, registeredAtMs, removedAtMs, ...known });
}

function onFrameworkForgotten(ledger: OwnLedger, id: string): void {
  const framework = ledger.frameworks.get(id);
  if (framework?.record.lifecycle !== REMOVED) return;
  mark(ledger.marks, shards.frameworks);
  for (const task of framework.tasks.values()) removeTask(ledger, framework, task);
  for (const operation of ledger.operations.values()) {
    const agent = operation.frameworkId === id && ledger.agents.get(operation.agentId);
    if (agent) removeOperation(ledger, agent, operation);
  }
  ledger.frameworks.delete(id);
}

// ---- tasks

function onTaskLaunched(ledger: OwnLedger, launched: LaunchOutline): void {
  const framework = ledger.frameworks.get(launched.frameworkId);
  const agent = ledger.agents.get(launched.agentId);
  const { taskId, resources, commandNumber: number } = launched;
  if (framework === undefined || agent === undefined || taskId === '' || resources === undefined) return;
  if (number < 1 || number <= agent.cursor || agent.commands.has(number)) return;

  const first = agent.launches.get(number);
  if (first !== undefined && !isNewInGroup(first, launched)) return;
  const before = framework.tasks.get(taskId);
  if (before !== undefined && !isTerminal(before.state)) return;

  if (before !== undefined) removeTask(ledger, framework, before);
  const task = new OwnTask(agent, accountOf(framework, launched.role), resources, launched);
  if (number < (agent.kills.get(taskKeyOf(task)) ?? 0)) task.issueKill();
  enter(ledger, framework, task);
  addLaunch(task, launched.groupId);
  keepWarm(ledger.warm, task);
}

function accountOf({ id: frameworkId, accounts }: OwnFramework, role: string): Account {
  const known = accounts.get(role);
  if (known !== undefined) return known;
  const account = newAccount(frameworkId, role);
  if (accounts.size >= maxAccounts) accounts.clear();
  accounts.set(role, account);
  return account;
}

const newAccount = (frameworkId: string, role: string): Account => ({
  frameworkId,
  role,
  key: holdingKey(frameworkId, role),
});

/** To be called whenever a task was changed. */
function keepWarm(warm: WarmTasks, task: OwnTask): void {
  if (!task.queue()) return;
  warm.tasks[warm.next]?.cool();
  warm.tasks[warm.next] = task;
  warm.next = (warm.next + 1) % maxWarmTasks;
}

function count({ taskCounts }: OwnLedger, state: TaskState, by: number): void {
  taskCounts[state] = (taskCounts[state] ?? 0) + by;
}

function enter(ledger: OwnLedger, framework: OwnFramework, task: OwnTask): void {
  mark(ledger.marks, task.agent.shard);
  count(ledger, task.state, 1);
  framework.tasks.set(task.taskId, task);
  task.agent.tasks.add(task);
  if (holdsResources(task.state)) hold(task.agent, task.account.key, task);
}

/** The agent has not confirmed it. */
function addLaunch(task: OwnTask, groupId: string): void {
  const { agent, commandNumber } = task;
  const first = agent.launches.get(commandNumber);
  if (groupId !== '') {
    task.group = first?.group ?? [];
    task.group.push(task);
  }
  agent.launches = orNew(agent.launches);
  if (first === undefined) agent.launches.set(commandNumber, task);
  agent.lastCommand = Math.max(agent.lastCommand, commandNumber);
}

/** Whether another task of a group that is being launched by the same command. */
function isNewInGroup(first: OwnTask, { frameworkId, groupId, taskId }: LaunchOutline): boolean {
  if (first.group === undefined || first.frameworkId !== frameworkId || first.groupId !== groupId) return false;
  return first.group.every((task) => task.taskId !== taskId);
}

function onTaskChanged(ledger: OwnLedger, changed: ChangeOutline): void {
  const task = ledger.frameworks.get(changed.frameworkId)?.tasks.get(changed.taskId);
  if (task === undefined || task.commandNumber !== changed.commandNumber) return;
  if (changed.state !== task.state && !canMove(task.state, changed.state)) return;

  const { agent } = task;
  mark(ledger.marks, agent.shard);
  const held = holdsResources(task.state);
  const holds = holdsResources(changed.state);
  count(ledger, task.state, -1);
  count(ledger, changed.state, 1);
  task.take(changed);
  if (held !== holds && !agent.removed) {
    if (held) release(agent, task.account.key, task);
    else hold(agent, task.account.key, task);
  }
  fileCompleted(ledger, task);
  keepWarm(ledger.warm, task);
}

function fileCompleted(ledger: OwnLedger, task: OwnTask): void {
  const completed = isCompleted(task);
  if (completed === task.completedNumber > 0) return;
  const framework = ledger.frameworks.get(task.frameworkId);
  if (!completed) {
    task.completedNumber = 0;
    framework?.completed.delete(task);
    return;
  }
  ledger.completedTasks += 1;
  mark(ledger.marks, shards.totals);
  task.completedNumber = ledger.completedTasks;
  framework?.completed.add(task);
}

/**
 * Whether nothing more is to be said about a task. Its state may be terminal before the update that says so was taken:
 * an agent tells the latest state ahead of the updates that lead to it.
 */
export function isCompleted(task: TaskEntry): boolean {
  if (!isTerminal(task.state) || task.acknowledgedNumber < task.updateNumber) return false;
  return task.statusState === undefined || isTerminal(task.statusState);
}

function onTaskRemoved(ledger: OwnLedger, removed: mesobus.v1.TaskRemoved): void {
  const task = removed.task ? findTask(ledger, removed.task) : undefined;
  const framework = task && ledger.frameworks.get(task.frameworkId);
  if (framework === undefined || task?.commandNumber !== removed.commandNumber) return;
  removeTask(ledger, framework, task);
}

/** It stays in the agent's launches, if it is above the cursor: command numbers have no gaps. */
function removeTask(ledger: OwnLedger, framework: OwnFramework, task: OwnTask): void {
  const { agent } = task;
  mark(ledger.marks, agent.shard);
  count(ledger, task.state, -1);
  framework.tasks.delete(task.taskId);
  framework.completed.delete(task);
  task.depart();
  agent.tasks.delete(task);
  if (!agent.removed && holdsResources(task.state)) release(agent, task.account.key, task);
  if (!agent.removed || agent.tasks.size > 0) return;
  ledger.retired.delete(agent.id);
  ledger.agentsOfShard.get(agent.shard)?.delete(agent);
}

function findTask(ledger: OwnLedger, key: mesobus.v1.TaskKey.$Properties): OwnTask | undefined {
  return ledger.frameworks.get(key.frameworkId ?? '')?.tasks.get(key.taskId ?? '');
}

// ---- out of a snapshot

function onTaskSnapshot(ledger: OwnLedger, snapshot: SnapshotOutline, record: Slice): void {
  const { launched, latest, departed } = snapshot;
  const agent = launched && ledger.agents.get(launched.agentId);
  if (agent === undefined || launched?.resources === undefined || launched.commandNumber < 1) return;
  const framework = ledger.frameworks.get(launched.frameworkId);
  const { frameworkId, role, resources } = launched;
  const account = framework ? accountOf(framework, role) : newAccount(frameworkId, role);
  const task = new OwnTask(agent, account, resources, launched, latest?.state, record);

  const unconfirmed = task.commandNumber > agent.cursor;
  const first = agent.launches.get(task.commandNumber);
  if (first !== undefined && !isNewInGroup(first, launched)) return;
  if (departed && !unconfirmed) return;
  if (departed) mark(ledger.marks, agent.shard);
  else if (framework === undefined || !enterSnapshot(ledger, framework, task, snapshot.completedNumber)) return;
  if (unconfirmed) addLaunch(task, launched.groupId);
}

/** @returns whether it was new */
function enterSnapshot(ledger: OwnLedger, framework: OwnFramework, task: OwnTask, completedNumber: number): boolean {
  if (task.taskId === '' || framework.tasks.has(task.taskId)) return false;
  enter(ledger, framework, task);
  if (completedNumber === 0 || !isCompleted(task)) fileCompleted(ledger, task);
  else {
    task.completedNumber = completedNumber;
    framework.completed.add(task);
    framework.unsorted = true;
  }
  return true;
}

/** The completed tasks of each framework came by agent; from here on they are in the order of their completion. */
function onTotalsSnapshot(ledger: OwnLedger, completedTasks: number): void {
  if (completedTasks <= ledger.completedTasks) return;
  mark(ledger.marks, shards.totals);
  ledger.completedTasks = completedTasks;
  for (const framework of ledger.frameworks.values()) {
    if (!framework.unsorted) continue;
    const sorted = [...framework.completed].sort((a, b) => a.completedNumber - b.completedNumber);
    framework.completed.clear();
    for (const task of sorted) framework.completed.add(task);
    framework.unsorted = false;
  }
}

// ---- executors

/** Void if what it holds is malformed: the master refuses such an executor. */
function onExecutor(ledger: OwnLedger, record: mesobus.v1.ExecutorRecord): void {
  const agent = ledger.agents.get(record.agentId);
  const executor = executorOf(record);
  if (agent === undefined || executor === undefined) return;
  const key = executorKeyOf(executor.frameworkId, executor.executorId);
  const account = holdingKey(executor.frameworkId, executor.role);
  const before = agent.executors.get(key);
  const isThis = before?.runNumber === executor.runNumber;
  if (record.ended ? !isThis : before !== undefined && before.runNumber > executor.runNumber) return;
  mark(ledger.marks, agent.shard);
  if (before !== undefined) {
    agent.executors.delete(key);
    release(agent, holdingKey(before.frameworkId, before.role), before);
  }
  if (record.ended) return;
  agent.executors = orNew(agent.executors);
  agent.executors.set(key, executor);
  hold(agent, account, executor);
}

function executorOf(record: mesobus.v1.ExecutorRecord): ExecutorEntry | undefined {
  const { frameworkId, info, run } = record;
  const executorId = info?.executorId?.value ?? '';
  const { number: runNumber = 0, role = '' } = run ?? {};
  if (executorId === '' || runNumber < 1) return undefined;
  try {
    const resources = unallocate(fromWire(info?.resources ?? []));
    return { frameworkId, executorId, runNumber, role, resources, record };
  } catch {
    return undefined;
  }
}

// ---- holdings

type Holder = Pick<ExecutorEntry, 'frameworkId' | 'role' | 'resources'>;

function hold(agent: OwnAgent, key: string, { frameworkId, role, resources }: Holder): void {
  if (isEmpty(resources)) return;
  const holding = agent.holdings.get(key);
  if (holding === undefined) {
    agent.holdings.set(key, { frameworkId, role, resources, overlapping: false });
    return;
  }
  const before = holding.resources;
  holding.resources = add(before, resources);
  if (resources.every(({ kind }) => kind === 'scalar')) return;
  const back = trySubtract(holding.resources, resources);
  if (back === undefined || !equals(back, before)) holding.overlapping = true;
}

/** The task's state holds nothing any more, or the task or executor has left the agent. */
function release(agent: OwnAgent, key: string, { resources }: Holder): void {
  const holding = agent.holdings.get(key);
  if (holding === undefined) return;
  const rest = holding.overlapping ? undefined : trySubtract(holding.resources, resources);
  holding.resources = rest ?? heldOn(agent, holding);
  if (isEmpty(holding.resources)) agent.holdings.delete(key);
}

function heldOn(agent: OwnAgent, { frameworkId, role }: OwnHolding): Resources {
  let held = noResources;
  for (const task of agent.tasks) {
    const counts = task.frameworkId === frameworkId && task.role === role && holdsResources(task.state);
    if (counts) held = add(held, task.resources);
  }
  for (const executor of agent.executors.values()) {
    if (executor.frameworkId === frameworkId && executor.role === role) held = add(held, executor.resources);
  }
  return held;
}

// ---- operations

/** What is known of an operation takes the place of what was known before. Void if its id stands for another. */
function onOperation(ledger: OwnLedger, record: mesobus.v1.OperationRecord): void {
  const agent = ledger.agents.get(record.agentId);
  const { commandNumber, removed } = record;
  if (agent === undefined || commandNumber < 1) return;
  const before = agent.operations.get(commandNumber);
  const framework = ledger.frameworks.get(record.frameworkId);
  const namesake = framework?.operations.get(operationIdOf(record));
  const isNobodys = framework === undefined && record.frameworkId !== '';
  if (!removed && (isNobodys || (namesake !== undefined && namesake !== before))) return;
  if (removed) {
    if (before !== undefined) removeOperation(ledger, agent, before);
    return;
  }
  if (before !== undefined) forgetId(ledger, before);
  mark(ledger.marks, shards.operations);
  ledger.operations.set(operationKey(record), record);
  agent.operations = orNew(agent.operations);
  agent.operations.set(commandNumber, record);
  noteId(ledger, record);
}

const operationKey = ({ agentId, commandNumber }: mesobus.v1.OperationRecord): string => `${agentId}\0${commandNumber}`;

function removeOperation(ledger: OwnLedger, agent: OwnAgent, record: mesobus.v1.OperationRecord): void {
  mark(ledger.marks, shards.operations);
  ledger.operations.delete(operationKey(record));
  agent.operations.delete(record.commandNumber);
  forgetId(ledger, record);
}

/** The id that its framework gave it; empty if there is none. */
export const operationIdOf = ({ operation }: mesobus.v1.OperationRecord): string => operation?.info?.id?.value ?? '';

function noteId(ledger: OwnLedger, record: mesobus.v1.OperationRecord): void {
  const framework = ledger.frameworks.get(record.frameworkId);
  const id = operationIdOf(record);
  if (framework === undefined || id === '') return;
  framework.operations = orNew(framework.operations);
  framework.operations.set(id, record);
}

function forgetId(ledger: OwnLedger, record: mesobus.v1.OperationRecord): void {
  const operations = ledger.frameworks.get(record.frameworkId)?.operations;
  if (operations?.get(operationIdOf(record)) === record) operations.delete(operationIdOf(record));
}

// ---- the rest

function onRole(ledger: OwnLedger, record: mesobus.v1.RoleRecord): void {
  if (record.weight === 0 && !record.quota && unknownFields(record).length === 0) ledger.roles.delete(record.role);
  else ledger.roles.set(record.role, record);
}

/** Within an incarnation its counters only grow: an id is never made twice. */
function onCluster(ledger: OwnLedger, record: mesobus.v1.ClusterRecord): void {
  const { incarnation, nextAgentNumber, nextFrameworkNumber } = ledger.cluster;
  if (record.clusterIncarnation < incarnation) return;
  const fresh = record.clusterIncarnation > incarnation;
  const unknown = unknownFields(record);
  if (fresh || unknown.length > 0) ledger.clusterUnknown = unknown;
  ledger.cluster = {
    incarnation: record.clusterIncarnation,
    name: record.name,
    nextAgentNumber: fresh ? record.nextAgentNumber : Math.max(nextAgentNumber, record.nextAgentNumber),
    nextFrameworkNumber: fresh ? record.nextFrameworkNumber : Math.max(nextFrameworkNumber, record.nextFrameworkNumber),
    minimumCapabilities: [...record.minimumCapabilities],
  };
}
