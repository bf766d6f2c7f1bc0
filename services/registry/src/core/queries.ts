import { mesobus, type mesos } from '@mesobus/protos';
import { add, noResources, type Resources, toWire } from '@mesobus/sdk/resources';
import type { AgentEntry, ExecutorEntry, FrameworkEntry, Ledger, TaskEntry } from './ledger.ts';
import { firstAfter } from './paging.ts';
import { isTerminal } from './task-state.ts';

const { REMOVED } = mesobus.v1.FrameworkRecord.Lifecycle;

/** How many tasks a page has unless the query says; and at most. */
const defaultPage = 1_000;
const maxPage = 10_000;

/** What an answer says beside the ledger. */
export interface RegistryFacts {
  readonly registryId: string;
  readonly epoch: number;
  readonly masterId: string;
  /** Of the last entry that the ledger holds. */
  readonly logIndex: number;
  /** Computed only when it is asked for. */
  ledgerHash(): Uint8Array;
  readonly snapshots?: SnapshotFacts;
}

/** What a registry knows of the snapshots. */
export interface SnapshotFacts {
  /** Of the newest that is confirmed; 0 if there is none. */
  readonly generation: number;
  readonly index: number;
  /** The entries of the log up to here are purged, as far as it knows. */
  readonly truncatedTo: number;
}

export type QueryAnswer =
  | { readonly answer: mesobus.v1.RegistryAnswer }
  /** The query asks for nothing that this version knows, or its page token is not one of ours. */
  | { readonly refused: string };

type AnswerProperties = mesobus.v1.RegistryAnswer.$Properties;

const maxOperations = 1_000;

/** Answers a query from the ledger as it is now. Lists are in order of id. */
export function answerQuery(ledger: Ledger, facts: RegistryFacts, query: mesobus.v1.RegistryQuery): QueryAnswer {
  const answer = answerOf(ledger, facts, query);
  if (typeof answer === 'string') return { refused: answer };
  return { answer: new mesobus.v1.RegistryAnswer({ logIndex: facts.logIndex, ...answer }) };
}

function answerOf(ledger: Ledger, facts: RegistryFacts, query: mesobus.v1.RegistryQuery): AnswerProperties | string {
  if (query.getAgents !== null) return { agents: { agents: agentViews(ledger, query.getAgents) } };
  if (query.getFrameworks !== null) return { frameworks: { frameworks: frameworkViews(ledger, query.getFrameworks) } };
  if (query.getRoles !== null) return { roles: { roles: roleViews(ledger) } };
  if (query.getOperations !== null) return { operations: { operations: operationViews(ledger, query.getOperations) } };
  if (query.getStatus !== null) return { status: status(ledger, facts) };
  if (query.getTasks === null) return 'it asks for nothing that this registry knows';
  const after = readPageToken(query.getTasks.pageToken);
  return after === undefined
    ? 'page_token is not one that a registry gave'
    : { tasks: taskPage(ledger, query.getTasks, after) };
}

// ---- agents

function agentViews(ledger: Ledger, { agentId }: mesobus.v1.GetAgents): mesobus.v1.AgentView.$Properties[] {
  const agents = agentId === '' ? byId(ledger.agents.values()) : present(ledger.agents.get(agentId));
  return agents.map(agentView);
}

function agentView(agent: AgentEntry): mesobus.v1.AgentView.$Properties {
  let allocated = noResources;
  for (const { resources } of agent.holdings.values()) allocated = add(allocated, resources);
  const executors = [...agent.executors.values()].map(executorView);
  return { agent: agent.record, allocated: toWire(allocated), tasks: countLive(agent.tasks), executors };
}

/** Who it is and what it holds: of how it is started there may be much. */
function executorView({ record }: ExecutorEntry): mesobus.v1.ExecutorRecord.$Properties {
  const { executorId, name, resources, type } = record.info ?? {};
  return { ...record, info: { executorId: executorId ?? { value: '' }, name: name ?? '', resources, type } };
}

/** Of one operation may be written much: what it takes and makes stands in its own message. */
function operationViews(
  ledger: Ledger,
  { agentId }: mesobus.v1.GetOperations,
): mesobus.v1.OperationRecord.$Properties[] {
  const all = agentId === '' ? ledger.operations : (ledger.agents.get(agentId)?.operations ?? new Map());
  const views: mesobus.v1.OperationRecord.$Properties[] = [];
  for (const record of all.values()) {
    if (views.length >= maxOperations) break;
    views.push({ ...record, consumed: [], converted: [] });
  }
  return views;
}

// ---- frameworks and roles

function frameworkViews(ledger: Ledger, query: mesobus.v1.GetFrameworks): mesobus.v1.FrameworkView.$Properties[] {
  const { frameworkId, includeRemoved } = query;
  const found = frameworkId === '' ? byId(ledger.frameworks.values()) : present(ledger.frameworks.get(frameworkId));
  const allocated = sumHoldings(ledger, 'frameworkId');
  return found
    .filter(({ record }) => includeRemoved || record.lifecycle !== REMOVED)
    .map(({ id, record, tasks }) => ({
      framework: record,
      allocated: toWire(allocated.get(id) ?? noResources),
      tasks: countLive(tasks.values()),
    }));
}

function roleViews(ledger: Ledger): mesobus.v1.RoleView.$Properties[] {
  const frameworks = frameworksByRole(ledger);
  const allocated = sumHoldings(ledger, 'role');
  const names = new Set([...ledger.roles.keys(), ...frameworks.keys(), ...allocated.keys()]);
  return [...names].sort().map((role) => ({
    role: ledger.roles.get(role) ?? { role },
    allocated: toWire(allocated.get(role) ?? noResources),
    frameworkIds: (frameworks.get(role) ?? []).sort(),
  }));
}

function frameworksByRole(ledger: Ledger): Map<string, string[]> {
  const frameworks = new Map<string, string[]>();
  for (const { id, record } of ledger.frameworks.values()) {
    if (record.lifecycle === REMOVED) continue;
    for (const role of rolesOf(record.info)) {
      const ids = frameworks.get(role);
      if (ids === undefined) frameworks.set(role, [id]);
      else ids.push(id);
    }
  }
  return frameworks;
}

/** With `roles` a framework has those; without, the one that the old field names, `*` if none. */
function rolesOf(info: mesos.v1.FrameworkInfo | null): ReadonlySet<string> {
  const roles = info?.roles ?? [];
  return new Set(roles.length > 0 ? roles : [info?.role || '*']);
}

/** What is held over all agents. */
function sumHoldings(ledger: Ledger, by: 'frameworkId' | 'role'): Map<string, Resources> {
  const sums = new Map<string, Resources>();
  for (const agent of ledger.agents.values()) {
    for (const holding of agent.holdings.values()) {
      sums.set(holding[by], add(sums.get(holding[by]) ?? noResources, holding.resources));
    }
  }
  return sums;
}

// ---- tasks

interface TaskKey {
  readonly frameworkId: string;
  readonly taskId: string;
}

function taskPage(ledger: Ledger, query: mesobus.v1.GetTasks, after: TaskKey): mesobus.v1.TaskList.$Properties {
  const limit = Math.min(maxPage, query.limit === 0 ? defaultPage : query.limit);
  const page: TaskEntry[] = [];
  for (const framework of byId(
    query.frameworkId === '' ? ledger.frameworks.values() : present(ledger.frameworks.get(query.frameworkId)),
  )) {
    if (framework.id < after.frameworkId) continue;
    const from = framework.id === after.frameworkId ? after.taskId : '';
    const wanted = candidates(ledger, framework, query);
    // One more than fits says that there is another page.
    page.push(...firstAfter(wanted, (task) => task.taskId, from, limit + 1 - page.length));
    if (page.length > limit) break;
  }
  const tasks = page.slice(0, limit);
  const last = tasks.at(-1);
  return { tasks: tasks.map(taskView), nextPageToken: page.length > limit && last ? writePageToken(last) : '' };
}

function* candidates(ledger: Ledger, framework: FrameworkEntry, query: mesobus.v1.GetTasks): Generator<TaskEntry> {
  const { taskId, agentId, includeEnded } = query;
  const agent = agentId === '' ? undefined : ledger.agents.get(agentId);
  const one = taskId === '' ? undefined : present(framework.tasks.get(taskId));
  for (const task of one ?? agent?.tasks ?? framework.tasks.values()) {
    if (task.frameworkId !== framework.id || (agentId !== '' && task.agentId !== agentId)) continue;
    if (includeEnded || !isTerminal(task.state)) yield task;
  }
}

function taskView(task: TaskEntry): mesobus.v1.TaskView.$Properties {
  const {
    frameworkId,
    taskId,
    commandNumber,
    state,
    status: latest,
    updateNumber,
    acknowledgedNumber,
    changedAtMs,
  } = task;
  const numbers = { commandNumber, updateNumber, acknowledgedNumber, changedAtMs };
  const status = latest === undefined ? {} : { status: latest };
  return { launched: task.launched, latest: { task: { frameworkId, taskId }, state, ...numbers, ...status } };
}

/** Ids may hold any character; the token is plain text. */
const writePageToken = ({ frameworkId, taskId }: TaskKey): string =>
  `${encodeURIComponent(frameworkId)}/${encodeURIComponent(taskId)}`;

function readPageToken(token: string): TaskKey | undefined {
  if (token === '') return { frameworkId: '', taskId: '' };
  const parts = token.split('/');
  if (parts.length !== 2) return undefined;
  try {
    const [frameworkId = '', taskId = ''] = parts.map(decodeURIComponent);
    return { frameworkId, taskId };
  } catch {
    return undefined;
  }
}

// ---- status

function status(ledger: Ledger, facts: RegistryFacts): mesobus.v1.RegistryStatus.$Properties {
  let frameworks = 0;
  let tasks = 0;
  for (const framework of ledger.frameworks.values()) {
    if (framework.record.lifecycle !== REMOVED) frameworks += 1;
    tasks += framework.tasks.size;
  }
  const { registryId, epoch, masterId, logIndex } = facts;
  const counts = { agents: ledger.agents.size, frameworks, tasks };
  const { generation = 0, index = 0, truncatedTo = 0 } = facts.snapshots ?? {};
  const snapshots = { snapshotGeneration: generation, snapshotIndex: index, firstLogIndex: truncatedTo + 1 };
  return { registryId, epoch, masterId, logIndex, ledgerHash: facts.ledgerHash(), ...counts, ...snapshots };
}

// ---- lists

const present = <T>(found: T | undefined): T[] => (found === undefined ? [] : [found]);

const byId = <T extends { readonly id: string }>(entries: Iterable<T>): T[] =>
  [...entries].sort((a, b) => (a.id < b.id ? -1 : 1));

function countLive(tasks: Iterable<TaskEntry>): number {
  let count = 0;
  for (const { state } of tasks) if (!isTerminal(state)) count += 1;
  return count;
}
