import { randomUUID } from 'node:crypto';
import { type mesobus, mesos } from '@mesobus/protos';
import { EpochGate } from '../bus/index.ts';
import { RefusedError } from '../errors.ts';
import {
  type Conversion,
  convert,
  noResources,
  type Resources,
  toThousandths,
  toWire,
  type WireResource,
} from '../resources/index.ts';
import { durationOf } from '../scheduler/command.ts';
import { isEndState } from '../scheduler/task-status.ts';
import { activeTraceparent } from '../service/tracing.ts';
import { ask } from './asking.ts';
import { type Connection, type ConnectionOptions, openConnection } from './connection.ts';
import { explanationOf, type RoleExplanation } from './explanation.ts';
import { SandboxFiles, type TaskKey, type TaskPlace } from './files.ts';
import {
  type Machine,
  type MaintenanceStatus,
  type MaintenanceWindow,
  maintenanceStatusOf,
  scheduleOf,
  wireMachinesOf,
  wireWindowOf,
} from './maintenance.ts';
import { type Quota, type QuotaSummary, quotaConfigOf, quotaSummariesOf } from './quota.ts';
import { type AttachOptions, ContainerSession, type ExecOptions } from './session.ts';
import { TaskStories, type TaskStory } from './task-history.ts';
import { type AgentUsage, agentUsageOf } from './usage.ts';
import {
  type AgentSummary,
  agentSummaryOf,
  type ClusterStatus,
  type Connections,
  clusterStatusOf,
  connectionsOf,
  type FrameworkSummary,
  frameworkSummaryOf,
  type OpenOfferSummary,
  type OperationSummary,
  openOfferSummariesOf,
  operationSummaryOf,
  type RoleSummary,
  roleSummaryOf,
  type ShareSummary,
  shareSummaryOf,
  type TaskSummary,
  taskSummaryOf,
} from './views.ts';
import { type WhatIfChanges, type WhatIfResult, whatIfResultOf, whatIfToWire } from './what-if.ts';

const types = mesos.v1.master.Call.Type;
const defaultTimeoutMs = 10_000;
/** Of agents, for a sandbox that one of them may have. */
const askedAtOnce = 100;
const searchMs = 2_000;
/** For each reason of an explanation. */
const namedAgents = 10;

export interface OperatorOptions extends ConnectionOptions {
  /** How long one question or change may take in all, ms; 10 s unless given. */
  readonly timeoutMs?: number;
}

export interface TaskFilter {
  readonly frameworkId?: string;
  readonly taskId?: string;
  readonly agentId?: string;
  /** Ended tasks too, as far as the ledger still holds them. */
  readonly includeEnded?: boolean;
  /** How many are asked for at a time; 1,000 unless given. */
  readonly pageSize?: number;
}

export interface StoryFilter {
  /** The beginning of one is enough; left out: any. */
  readonly frameworkId?: string;
  /** The beginning of one is enough. */
  readonly taskId: string;
  /** Ms since 1970. Of a launch before that only `known` tells. */
  readonly sinceMs: number;
  /** What the ledger has of the task. */
  readonly known?: TaskSummary;
}

export interface DrainOptions {
  readonly maxGracePeriodMs?: number;
  readonly markGone?: boolean;
}

export interface ExplainOptions {
  readonly role?: string;
  readonly agentId?: string;
  readonly maxAgents?: number;
}

/** Reads the state of a cluster and changes what operators may change. Whoever changed something sees it when reading. */
export interface Operator extends AsyncDisposable {
  /** @param agentId - of one agent; all unless given */
  agents(agentId?: string): Promise<AgentSummary[]>;
  frameworks(options?: {
    readonly frameworkId?: string;
    readonly includeRemoved?: boolean;
  }): Promise<FrameworkSummary[]>;
  /** One page after the other, as the loop goes. */
  tasks(filter?: TaskFilter): AsyncGenerator<TaskSummary, void>;
  /**
   * What became of tasks, launch by launch, as the history of the log has it: also of those that have left the ledger. It
   * goes through all that was written since.
   *
   * @param onProgress - told until when it was looked, in ms since 1970
   */
  taskStories(wanted: StoryFilter, onProgress?: (lookedAtUntilMs: number) => void): Promise<TaskStory[]>;
  /** Operations that are not over, the oldest 1,000: of one agent, or of all. */
  operations(agentId?: string): Promise<OperationSummary[]>;
  roles(): Promise<RoleSummary[]>;
  status(): Promise<ClusterStatus>;
  /** Open offers, from the leading master. */
  offers(): Promise<OpenOfferSummary[]>;
  connections(): Promise<Connections>;
  /** Who has how much, from the appointed allocator. */
  shares(): Promise<{ readonly roles: ShareSummary[]; readonly frameworks: ShareSummary[] }>;
  /**
   * Why a framework is offered nothing, or not more, by role and agent; from the appointed allocator.
   *
   * @param options.role - in one role; in each of its roles unless given
   * @param options.agentId - of one agent; of all unless given
   * @param options.maxAgents - so many are named for each reason, at most 1,000; 10 unless given
   */
  explain(frameworkId: string, options?: ExplainOptions): Promise<RoleExplanation[]>;
  /**
   * Who would be offered what if something were otherwise. Nothing is changed.
   *
   * @throws {RefusedError} call_invalid: what is supposed cannot be
   */
  whatIf(changes: WhatIfChanges): Promise<WhatIfResult>;
  /** Sandboxes of tasks, also of those that the cluster has forgotten, while their agents keep them. */
  readonly files: SandboxFiles;
  /**
   * Runs a command in the container of a task that runs. It ends with the session.
   *
   * @throws {RefusedError} not_running: the task does not run, or is paused; overloaded; call_invalid
   */
  exec(task: TaskKey, options: ExecOptions): Promise<ContainerSession>;
  /**
   * Gives what a running task writes from now on, until it ends.
   *
   * @throws {RefusedError} not_running; call_invalid: it has no terminal to type on
   */
  attach(task: TaskKey, options?: AttachOptions): Promise<ContainerSession>;
  /** What the containers of an agent use, from itself: by its name. */
  usage(agentName: string): Promise<AgentUsage>;
  /** Sets the claims of roles beside each other; every weight above 0. */
  updateWeights(weights: readonly { readonly role: string; readonly weight: number }[]): Promise<void>;
  /** The quotas of roles with what counts for them, from the leading master. */
  quotas(): Promise<QuotaSummary[]>;
  /**
   * Sets the quotas of roles, of all of them or of none. One without guarantees and limits has no quota any more.
   *
   * @param options.force - also where the cluster cannot keep them, or a role uses more than its limit already
   */
  updateQuota(
    quotas: readonly ({ readonly role: string } & Partial<Quota>)[],
    options?: { readonly force?: boolean },
  ): Promise<void>;
  maintenanceSchedule(): Promise<MaintenanceWindow[]>;
  /** Which machines are planned to be away and what frameworks say to that, and which are away. */
  maintenanceStatus(): Promise<MaintenanceStatus>;
  /** Puts a schedule in the place of the present one. A machine stands in one window only; one that is away stays in it. */
  updateMaintenanceSchedule(windows: readonly MaintenanceWindow[]): Promise<void>;
  /** The machines of the schedule are away from now on: their agents end and are removed, and none is taken. */
  startMaintenance(machines: readonly Machine[]): Promise<void>;
  /** The machines are back: they leave the schedule, and their agents may register as new ones. */
  stopMaintenance(machines: readonly Machine[]): Promise<void>;
  /**
   * Sets resources of an agent aside for a role: as they shall be (see `reservedFor`). Offers in the way are taken back.
   *
   * @param source - moves what is reserved so, volumes too; without it, what lacks the last reservation is reserved
   * @throws {ConversionError} it makes no sense: what, to what, why, what to do
   * @throws {RefusedError} resources_in_use: tasks hold them; call_invalid: they are not there
   */
  reserve(agentId: string, resources: Resources, source?: Resources): Promise<void>;
  /** Takes the last reservation off resources as they are. Throws what `reserve` throws; so do those below. */
  unreserve(agentId: string, resources: Resources): Promise<void>;
  /** Makes persistent volumes of reserved disk (see `volumeOf`). */
  createVolumes(agentId: string, volumes: Resources): Promise<void>;
  /** Destroys volumes with all that is in them. */
  destroyVolumes(agentId: string, volumes: Resources): Promise<void>;
  /** @param addition - disk of the source that the volume is made of, reserved the same way */
  growVolume(agentId: string, volume: Resources, addition: Resources): Promise<void>;
  shrinkVolume(agentId: string, volume: Resources, subtractMb: number): Promise<void>;
  /** Removes a framework and kills its tasks. */
  teardown(frameworkId: string): Promise<void>;
  /**
   * Has a task killed, whatever its framework thinks of it; its end comes later.
   *
   * @param task.gracePeriodMs - how long it may take to end by itself; its own unless given
   */
  killTask(task: TaskKey & { readonly gracePeriodMs?: number }): Promise<void>;
  /**
   * Has a task stand still, with all that it holds, until it is resumed or killed; its status says so.
   *
   * @throws {RefusedError} call_invalid: there is no such task, it has ended, or an executor of its framework runs it
   */
  pauseTask(task: TaskKey): Promise<void>;
  /** Has a paused task go on. Throws what `pauseTask` throws. */
  resumeTask(task: TaskKey): Promise<void>;
  /**
   * Empties an agent: it takes no new tasks, and those that it has are killed; their ends come later.
   *
   * @param options.maxGracePeriodMs - the longest a task may take to end by itself; as each task says unless given
   * @param options.markGone - when all have ended, the agent is gone for good
   */
  drainAgent(agentId: string, options?: DrainOptions): Promise<void>;
  /** The agent takes no new tasks; those that it has go on. */
  deactivateAgent(agentId: string): Promise<void>;
  /** The agent takes tasks again: it was deactivated, is draining or has been drained. */
  reactivateAgent(agentId: string): Promise<void>;
  /** The agent will not come back: its tasks count as gone, and its id is refused for good. */
  markAgentGone(agentId: string): Promise<void>;
  close(): Promise<void>;
}

/**
 * Connects as an operator.
 *
 * Every question is asked again for `timeoutMs` while nobody answers. After that it throws `NoRespondersError` or
 * `DeadlineError`; a refusal throws `RefusedError`.
 *
 * @throws {NoContextError} no cluster was named and none was found
 * @throws {DisconnectedError} no NATS server could be reached
 */
export async function connectOperator(options: OperatorOptions = {}): Promise<Operator> {
  return new BusOperator(await openConnection(options, 'operator'), options.timeoutMs ?? defaultTimeoutMs);
}

class BusOperator implements Operator {
  readonly files: SandboxFiles;
  readonly #connection: Connection;
  readonly #timeoutMs: number;
  readonly #leaders = new EpochGate();
  /** What this operator has written: its reads must show it. */
  #writtenIndex = 0;

  constructor(connection: Connection, timeoutMs: number) {
    this.#connection = connection;
    this.#timeoutMs = timeoutMs;
    this.files = new SandboxFiles(connection, (task) => this.#sandboxOf(task));
  }

  async agents(agentId?: string): Promise<AgentSummary[]> {
    const { agents } = await this.#query({ getAgents: { ...(agentId !== undefined && { agentId }) } });
    return (agents?.agents ?? []).map(agentSummaryOf);
  }

  async frameworks(options: { frameworkId?: string; includeRemoved?: boolean } = {}): Promise<FrameworkSummary[]> {
    const { frameworks } = await this.#query({ getFrameworks: options });
    return (frameworks?.frameworks ?? []).map(frameworkSummaryOf);
  }

  async *tasks({ pageSize, ...filter }: TaskFilter = {}): AsyncGenerator<TaskSummary, void> {
    let pageToken = '';
    do {
      const { tasks } = await this.#query({ getTasks: { ...filter, limit: pageSize ?? 0, pageToken } });
      yield* (tasks?.tasks ?? []).map(taskSummaryOf);
      pageToken = tasks?.nextPageToken ?? '';
    } while (pageToken !== '');
  }

  async taskStories(
    { frameworkId = '', taskId, sinceMs, known }: StoryFilter,
    onProgress: (lookedAtUntilMs: number) => void = () => undefined,
  ): Promise<TaskStory[]> {
    const stories = new TaskStories();
    for (let fromSequence = 0; ; ) {
      const { taskHistory } = await this.#query({ getTaskHistory: { frameworkId, taskId, sinceMs, fromSequence } });
      if (taskHistory === null) throw this.#strange('registry', 'history');
      for (const fact of taskHistory.facts) stories.add(fact);
      fromSequence = taskHistory.nextSequence;
      if (fromSequence === 0) break;
      onProgress(taskHistory.lookedAtUntilMs);
    }
    if (known !== undefined) stories.addLedger(known.raw);
    return stories.all();
  }

  async operations(agentId?: string): Promise<OperationSummary[]> {
    const { operations } = await this.#query({ getOperations: { ...(agentId !== undefined && { agentId }) } });
    return (operations?.operations ?? []).map(operationSummaryOf);
  }

  async roles(): Promise<RoleSummary[]> {
    const { roles } = await this.#query({ getRoles: {} });
    return (roles?.roles ?? []).map(roleSummaryOf);
  }

  async status(): Promise<ClusterStatus> {
    const { status } = await this.#query({ getStatus: {} });
    if (status === null) throw this.#strange('registry', 'status');
    return clusterStatusOf(status);
  }

  async offers(): Promise<OpenOfferSummary[]> {
    const { offers } = await this.#queryMaster({ getOffers: {} });
    return offers === null ? [] : openOfferSummariesOf(offers);
  }

  async connections(): Promise<Connections> {
    const { connections } = await this.#queryMaster({ getConnections: {} });
    if (connections === null) throw this.#strange('master', 'connections');
    return connectionsOf(connections);
  }

  async shares(): Promise<{ roles: ShareSummary[]; frameworks: ShareSummary[] }> {
    const { shares } = await this.#queryAllocator({ getShares: {} });
    return {
      roles: (shares?.roles ?? []).map(shareSummaryOf),
      frameworks: (shares?.frameworks ?? []).map(shareSummaryOf),
    };
  }

  async explain(frameworkId: string, options: ExplainOptions = {}): Promise<RoleExplanation[]> {
    const explain = { frameworkId, maxAgents: namedAgents, ...options };
    const { explanation } = await this.#queryAllocator({ explain });
    if (explanation === null) throw this.#strange('allocator', 'explanation');
    return explanationOf(explanation);
  }

  async whatIf(changes: WhatIfChanges): Promise<WhatIfResult> {
    const { whatIf } = await this.#queryAllocator({ whatIf: whatIfToWire(changes) });
    if (whatIf === null) throw this.#strange('allocator', 'what_if');
    return whatIfResultOf(whatIf);
  }

  async updateWeights(weights: readonly { readonly role: string; readonly weight: number }[]): Promise<void> {
    const weightInfos = weights.map(({ role, weight }) => ({ role, weight }));
    await this.#change({ call: { type: types.UPDATE_WEIGHTS, updateWeights: { weightInfos } } });
  }

  async quotas(): Promise<QuotaSummary[]> {
    const { roleUse } = await this.#queryMaster({ getRoleUse: {} });
    return roleUse === null ? [] : quotaSummariesOf(roleUse);
  }

  async updateQuota(
    quotas: readonly ({ readonly role: string } & Partial<Quota>)[],
    { force = false }: { force?: boolean } = {},
  ): Promise<void> {
    const updateQuota = { force, quotaConfigs: quotas.map(quotaConfigOf) };
    await this.#change({ call: { type: types.UPDATE_QUOTA, updateQuota } });
  }

  async maintenanceSchedule(): Promise<MaintenanceWindow[]> {
    return scheduleOf(await this.#maintenance());
  }

  async maintenanceStatus(): Promise<MaintenanceStatus> {
    return maintenanceStatusOf(await this.#maintenance());
  }

  async #maintenance(): Promise<mesobus.v1.MaintenanceState> {
    const { maintenance } = await this.#queryMaster({ getMaintenance: {} });
    if (maintenance === null) throw this.#strange('master', 'maintenance');
    return maintenance;
  }

  async updateMaintenanceSchedule(windows: readonly MaintenanceWindow[]): Promise<void> {
    const updateMaintenanceSchedule = { schedule: { windows: windows.map(wireWindowOf) } };
    await this.#change({ call: { type: types.UPDATE_MAINTENANCE_SCHEDULE, updateMaintenanceSchedule } });
  }

  async startMaintenance(machines: readonly Machine[]): Promise<void> {
    const startMaintenance = { machines: wireMachinesOf(machines) };
    await this.#change({ call: { type: types.START_MAINTENANCE, startMaintenance } });
  }

  async stopMaintenance(machines: readonly Machine[]): Promise<void> {
    const stopMaintenance = { machines: wireMachinesOf(machines) };
    await this.#change({ call: { type: types.STOP_MAINTENANCE, stopMaintenance } });
  }

  async reserve(agentId: string, resources: Resources, source?: Resources): Promise<void> {
    check({ kind: 'reserve', resources, source });
    const reserveResources = {
      agentId: { value: agentId },
      resources: toWire(resources),
      source: toWire(source ?? noResources),
    };
    await this.#change({ call: { type: types.RESERVE_RESOURCES, reserveResources } });
  }

  async unreserve(agentId: string, resources: Resources): Promise<void> {
    check({ kind: 'unreserve', resources });
    const unreserveResources = { agentId: { value: agentId }, resources: toWire(resources) };
    await this.#change({ call: { type: types.UNRESERVE_RESOURCES, unreserveResources } });
  }

  async createVolumes(agentId: string, volumes: Resources): Promise<void> {
    check({ kind: 'create', volumes });
    const createVolumes = { agentId: { value: agentId }, volumes: toWire(volumes) };
    await this.#change({ call: { type: types.CREATE_VOLUMES, createVolumes } });
  }

  async destroyVolumes(agentId: string, volumes: Resources): Promise<void> {
    check({ kind: 'destroy', volumes });
    const destroyVolumes = { agentId: { value: agentId }, volumes: toWire(volumes) };
    await this.#change({ call: { type: types.DESTROY_VOLUMES, destroyVolumes } });
  }

  async growVolume(agentId: string, volume: Resources, addition: Resources): Promise<void> {
    check({ kind: 'grow', volume, addition });
    const [one, more] = [...toWire(volume), ...toWire(addition)] as [WireResource, WireResource];
    const growVolume = { agentId: { value: agentId }, volume: one, addition: more };
    await this.#change({ call: { type: types.GROW_VOLUME, growVolume } });
  }

  async shrinkVolume(agentId: string, volume: Resources, subtractMb: number): Promise<void> {
    check({ kind: 'shrink', volume, subtract: toThousandths(subtractMb) });
    const [one] = toWire(volume) as [WireResource];
    const shrinkVolume = { agentId: { value: agentId }, volume: one, subtract: { value: subtractMb } };
    await this.#change({ call: { type: types.SHRINK_VOLUME, shrinkVolume } });
  }

  async teardown(frameworkId: string): Promise<void> {
    await this.#change({ call: { type: types.TEARDOWN, teardown: { frameworkId: { value: frameworkId } } } });
  }

  async killTask({ frameworkId, taskId, gracePeriodMs }: TaskKey & { gracePeriodMs?: number }): Promise<void> {
    const grace = gracePeriodMs === undefined ? {} : { killPolicy: { gracePeriod: durationOf(gracePeriodMs) } };
    await this.#change({ killTask: { task: { frameworkId, taskId }, ...grace } });
  }

  async pauseTask({ frameworkId, taskId }: TaskKey): Promise<void> {
    await this.#change({ pauseTask: { task: { frameworkId, taskId } } });
  }

  async resumeTask({ frameworkId, taskId }: TaskKey): Promise<void> {
    await this.#change({ resumeTask: { task: { frameworkId, taskId } } });
  }

  async drainAgent(agentId: string, { maxGracePeriodMs, markGone = false }: DrainOptions = {}): Promise<void> {
    const grace = maxGracePeriodMs === undefined ? {} : { maxGracePeriod: protobufDuration(maxGracePeriodMs) };
    const drainAgent = { agentId: { value: agentId }, markGone, ...grace };
    await this.#change({ call: { type: types.DRAIN_AGENT, drainAgent } });
  }

  async deactivateAgent(agentId: string): Promise<void> {
    const deactivateAgent = { agentId: { value: agentId } };
    await this.#change({ call: { type: types.DEACTIVATE_AGENT, deactivateAgent } });
  }

  async reactivateAgent(agentId: string): Promise<void> {
    const reactivateAgent = { agentId: { value: agentId } };
    await this.#change({ call: { type: types.REACTIVATE_AGENT, reactivateAgent } });
  }

  async markAgentGone(agentId: string): Promise<void> {
    const markAgentGone = { agentId: { value: agentId } };
    await this.#change({ call: { type: types.MARK_AGENT_GONE, markAgentGone } });
  }

  async exec(task: TaskKey, options: ExecOptions): Promise<ContainerSession> {
    const { command, environment = {}, terminal, interactive = false } = options;
    const start = {
      ...{ task: { ...task }, argv: [...command], environment: { ...environment }, interactive },
      ...(terminal && { terminal: { ...terminal } }),
    };
    const { subjects, principal } = this.#connection;
    const { agentName } = await this.#placeOf(task);
    return ContainerSession.open(this.#connection, subjects.agentExec(agentName).of(principal), { start });
  }

  async attach(task: TaskKey, { interactive = false }: AttachOptions = {}): Promise<ContainerSession> {
    const { subjects, principal } = this.#connection;
    const { agentName } = await this.#placeOf(task);
    const attach = { task: { ...task }, interactive };
    return ContainerSession.open(this.#connection, subjects.agentAttach(agentName).of(principal), { attach });
  }

  async usage(agentName: string): Promise<AgentUsage> {
    const { bus, subjects, principal } = this.#connection;
    return agentUsageOf(await ask(bus, subjects.agentUsage(agentName).of(principal), {}, this.#timeoutMs));
  }

  close(): Promise<void> {
    return this.#connection.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** The ledger forgets tasks earlier than agents remove their sandboxes. */
  async #sandboxOf(task: TaskKey): Promise<TaskPlace> {
    const { bus, subjects, principal } = this.#connection;
    const known = await this.#placeOf(task).catch((error: unknown) => {
      if (error instanceof RefusedError && error.code === 'call_invalid') return error;
      throw error;
    });
    if (!(known instanceof RefusedError)) return known;
    const agents = await this.agents();
    for (let from = 0; from < agents.length; from += askedAtOnce) {
      const asked = agents.slice(from, from + askedAtOnce).map(async ({ name }) => {
        const sandbox = { task: { ...task }, path: '', list: {} };
        await bus.request(subjects.agentFiles(name).of(principal), sandbox, { timeoutMs: searchMs });
        return { agentName: name, ended: true };
      });
      const found = await Promise.any(asked).catch(() => undefined);
      if (found !== undefined) return found;
    }
    throw known;
  }

  async #placeOf({ frameworkId, taskId }: TaskKey): Promise<TaskPlace> {
    for await (const { agentId, state } of this.tasks({ frameworkId, taskId, includeEnded: true })) {
      const [agent] = await this.agents(agentId);
      if (agent === undefined) throw new RefusedError('agent_unknown', agentId, `task '${taskId}' was there`);
      return { agentName: agent.name, ended: isEndState(state) };
    }
    throw new RefusedError('call_invalid', taskId, `framework '${frameworkId}' has no such task, or not any more`);
  }

  /** Under one id however often it is sent, so that it is carried out once. */
  async #change(what: Change): Promise<void> {
    const { bus, subjects, principal } = this.#connection;
    const message = { callId: randomUUID(), sentAtMs: Date.now(), traceparent: activeTraceparent(), ...what };
    const { logIndex } = await ask(bus, subjects.masterOperator.of(principal), message, this.#timeoutMs, this.#leaders);
    this.#writtenIndex = Math.max(this.#writtenIndex, logIndex);
  }

  #query(query: mesobus.v1.RegistryQuery.$Properties): Promise<mesobus.v1.RegistryAnswer> {
    const { bus, subjects, principal } = this.#connection;
    const message = { ...query, atLeastIndex: this.#writtenIndex };
    return ask(bus, subjects.registryQuery.of(principal), message, this.#timeoutMs);
  }

  #queryMaster(query: mesobus.v1.MasterQuery.$Properties): Promise<mesobus.v1.MasterAnswer> {
    const { bus, subjects, principal } = this.#connection;
    return ask(bus, subjects.masterQuery.of(principal), query, this.#timeoutMs, this.#leaders);
  }

  #queryAllocator(query: mesobus.v1.AllocatorQuery.$Properties): Promise<mesobus.v1.AllocatorAnswer> {
    const { bus, subjects, principal } = this.#connection;
    return ask(bus, subjects.allocatorQuery.of(principal), query, this.#timeoutMs);
  }

  #strange(who: string, what: string): RefusedError {
    return new RefusedError('malformed_message', who, `its answer has no ${what}`);
  }
}

type Change = Pick<mesobus.v1.OperatorCall.$Properties, 'call' | 'killTask' | 'pauseTask' | 'resumeTask'>;

/** A whole number of ms as `google.protobuf.Duration`, which is not Mesos' own duration. */
const protobufDuration = (ms: number): { seconds: bigint; nanos: number } => ({
  seconds: BigInt(Math.floor(ms / 1000)),
  nanos: (ms % 1000) * 1_000_000,
});

/** What can be known of a mistake before the master is asked. */
function check(conversion: Conversion): void {
  const made = convert(conversion);
  if (!made.ok) throw made.error;
}
