import { encode, mesobus, mesos } from '@mesobus/protos';
import { type AgentEntry, executorKeyOf } from '@mesobus/registry/core';
import {
  add,
  type Conversion,
  convert,
  exchange,
  noResources,
  type Resources,
  select,
  sum,
  toWire,
  tryUse,
} from '@mesobus/sdk/resources';
import { agentLinkOf } from './agents.ts';
import { notAllowed, wantedByConversion, wantedByTasks } from './authorization.ts';
import type { CallTurn } from './call-turn.ts';
import { announceCommands } from './commands.ts';
import { limitPassedBelow } from './consumption.ts';
import { isSameExecutor, judgeExecutor } from './executor-problem.ts';
import { agentChanged } from './feed.ts';
import { isCapable } from './frameworks.ts';
import type { SchedulerEvent } from './messages.ts';
import { rescindOffers } from './offers.ts';
import { canConvert, operationEvent, operationRecords, readConversion, sizeProblem } from './operations.ts';
import type { Offer } from './state.ts';
import { masterStatus, type Reason, updateEvent } from './statuses.ts';
import { idProblem, judgeTask } from './task-problem.ts';
import { traceAccept } from './traces.ts';

const { TASK_ERROR } = mesos.v1.TaskState;
const { REASON_TASK_INVALID, REASON_TASK_GROUP_INVALID } = mesos.v1.TaskStatus.Reason;
const { REASON_TASK_UNAUTHORIZED, REASON_TASK_GROUP_UNAUTHORIZED } = mesos.v1.TaskStatus.Reason;
const { OPERATION_ERROR } = mesos.v1.OperationState;
const { SHARED_RESOURCES, RESERVATION_REFINEMENT } = mesos.v1.FrameworkInfo.Capability.Type;

/** Launches and operations in one transaction: at most so many, and about so many bytes. */
const stepsPerPiece = 200;
const bytesPerPiece = 256 * 1024;
/** Operations of a framework that it has yet to acknowledge. */
const maxOpenOperations = 1_000;
/** What one launch writes must fit in an entry of the log, beside what is written with it. */
const maxTaskBytes = 240 * 1024;

type Operation = mesos.v1.Offer.Operation;
type Records = mesobus.v1.Record.$Properties[];

/** The record of an ACCEPT that is carried out, or being so. */
export function callRecord(turn: CallTurn, complete: boolean): mesobus.v1.CallRecorded.$Properties {
  return {
    callId: turn.call.callId,
    frameworkId: turn.framework.id,
    principal: turn.principal,
    type: mesos.v1.scheduler.Call.Type.ACCEPT,
    complete,
    recordedAtMs: turn.at,
  };
}

/** Frameworks hear of operations that they gave an id. */
export function operationFailed({ id, launch, launchGroup }: Operation, message: string): SchedulerEvent[] {
  if (!id || launch || launchGroup) return [];
  return [operationEvent({ operationId: { value: id.value }, state: OPERATION_ERROR, message })];
}

/** One launch or one operation. */
interface Step {
  readonly records: Records;
  readonly bytes: number;
  /** So many operations of the ACCEPT are done with after it, and this is left of its offers. */
  readonly operationsDone: number;
  readonly remainder: Resources;
}

interface JudgedTask {
  readonly task: mesos.v1.TaskInfo;
  readonly resources: Resources;
}

/** The executor of a launch. */
interface UsedExecutor {
  readonly info: mesos.v1.ExecutorInfo;
  readonly resources: Resources;
  readonly run: mesobus.v1.ExecutorRun.$Properties;
  /** It starts with this launch. */
  readonly isNew: boolean;
}

/** Both sides of an operation, and what the agent and the offers have after it. */
interface Sides {
  readonly consumed: Resources;
  readonly converted: Resources;
  readonly total: Resources;
  readonly remainder: Resources;
}

/** The operations of one ACCEPT, applied in order to what is left of its offers: each sees what those before have made. */
export class Accepting {
  remainder: Resources;
  recorded = false;
  readonly #turn: CallTurn;
  readonly #agent: AgentEntry;
  readonly #role: string;
  /** Ids of its span `accept`; empty if nothing is traced. */
  readonly #trace: string;
  readonly #offer: Offer | undefined;
  readonly #steps: Step[] = [];
  readonly #taskIds = new Set<string>();
  /** Those that launches so far use, by id. */
  readonly #executors = new Map<string, UsedExecutor>();
  readonly #operationIds = new Set<string>();
  readonly #events: SchedulerEvent[] = [];
  /** What the agent has, and what its tasks hold, with the steps so far. */
  #total: Resources;
  #launched: Resources[] = [];
  /** What was reserved, as it is since. */
  #reserved: Resources = noResources;
  /** Keys of what conversions have made: nobody has refused that. */
  readonly #made = new Set<string>();

  constructor(turn: CallTurn, agent: AgentEntry, role: string, offered: Resources, trace: string, offer?: Offer) {
    this.#turn = turn;
    this.#agent = agent;
    this.#role = role;
    this.#trace = trace;
    this.#offer = offer;
    this.#total = agent.total;
    this.remainder = offered;
  }

  /** What was offered, and the framework does not want. */
  get refused(): Resources {
    return select(this.remainder, ({ key }) => !this.#made.has(key));
  }

  /** @param index - among the operations of the ACCEPT */
  apply(operation: Operation, index: number): void {
    const { launch, launchGroup, id } = operation;
    if (launch) {
      const forbidden = id ? "A LAUNCH must not have the field 'id'" : undefined;
      for (const task of launch.taskInfos) this.#launch(task, index, forbidden);
    } else if (launchGroup) {
      this.#launchGroup(launchGroup, index, id ? "A LAUNCH_GROUP must not have the field 'id'" : undefined);
    } else this.#convert(operation, index);
  }

  // ---- launches

  #launch(task: mesos.v1.TaskInfo, index: number, forbidden: string | undefined): void {
    const denied = this.#deniedTo([task], task.executor);
    const why = denied ?? forbidden ?? this.#tryLaunch([task], task.executor, index);
    if (why !== undefined) this.#fail(task, denied ? REASON_TASK_UNAUTHORIZED : REASON_TASK_INVALID, why);
  }

  /** All of its tasks, or none. */
  #launchGroup(
    { executor, taskGroup }: mesos.v1.Offer.Operation.LaunchGroup,
    index: number,
    forbidden: string | undefined,
  ): void {
    const denied = this.#deniedTo(taskGroup.tasks, executor);
    const why = denied ?? forbidden ?? this.#tryLaunch(taskGroup.tasks, executor, index, true);
    const reason = denied ? REASON_TASK_GROUP_UNAUTHORIZED : REASON_TASK_GROUP_INVALID;
    if (why !== undefined) for (const task of taskGroup.tasks) this.#fail(task, reason, why);
  }

  #deniedTo(tasks: readonly mesos.v1.TaskInfo[], executor: mesos.v1.ExecutorInfo | null): string | undefined {
    const { state, framework, principal } = this.#turn;
    return notAllowed(state, principal, wantedByTasks(framework.record.info, tasks, executor));
  }

  /** Launches by one command. @returns what is wrong with it: nothing is launched then */
  #tryLaunch(
    tasks: readonly mesos.v1.TaskInfo[],
    executorInfo: mesos.v1.ExecutorInfo | null,
    index: number,
    isGroup = false,
  ): string | undefined {
    const judged = this.#judgeTasks(tasks, isGroup ? executorInfo : null);
    if (typeof judged === 'string') return judged;
    const executor = executorInfo ? this.#executorFor(executorInfo, isGroup) : undefined;
    if (typeof executor === 'string') return executor;
    if (judged.length === 0) return undefined;
    const wanted = [...(executor?.isNew ? [executor.resources] : []), ...judged.map(({ resources }) => resources)];
    const rest = tryUse(this.remainder, sum(wanted));
    const what = isGroup ? 'task group' : 'task';
    if (rest === undefined) return `The ${what} asks for more than is left of its offers`;
    const records = this.#launchRecords(judged, executor, isGroup);
    const bytes = records.reduce((all, record) => all + bytesOf(record), 0);
    if (bytes > maxTaskBytes) return `The ${what} is of ${bytes} bytes: at most ${maxTaskBytes} are taken`;
    this.remainder = rest;
    for (const { task } of judged) this.#taskIds.add(task.taskId.value);
    if (executor) this.#executors.set(executor.info.executorId.value, { ...executor, isNew: false });
    this.#launched.push(...wanted);
    this.#add(records, bytes, index);
    return undefined;
  }

  /** @param group - the executor of the group that they are; null: each is launched by itself */
  #judgeTasks(tasks: readonly mesos.v1.TaskInfo[], group: mesos.v1.ExecutorInfo | null): JudgedTask[] | string {
    const context = { agentId: this.#agent.id, role: this.#role, ...(group && { group }) };
    const taskIds = new Set<string>();
    const found: JudgedTask[] = [];
    for (const task of tasks) {
      const taskId = task.taskId.value;
      const judged = judgeTask(task, context);
      const problem = judged.ok ? this.#usedProblem(taskId, taskIds) : judged.why;
      if (problem !== undefined || !judged.ok) return group ? `Task '${taskId}': ${problem}` : (problem ?? '');
      taskIds.add(taskId);
      found.push({ task, resources: judged.resources });
    }
    return found;
  }

  /** Of one command: its executor first, if that is new. */
  #launchRecords(judged: readonly JudgedTask[], executor: UsedExecutor | undefined, isGroup: boolean): Records {
    const launches = judged.map(({ task, resources }, place): Records[number] => {
      const info = task.executor && executor ? new mesos.v1.TaskInfo({ ...task, executor: executor.info }) : task;
      const taskLaunched = { ...this.#taskRecord(info, resources), ...(executor && { run: executor.run }) };
      if (!isGroup) return { taskLaunched };
      const first = place === 0 && { executor: executor?.info ?? null };
      return { taskLaunched: { ...taskLaunched, groupId: String(this.#nextCommand), ...first } };
    });
    return executor?.isNew ? [{ executor: this.#executorRecord(executor) }, ...launches] : launches;
  }

  /** The executor that is there under its id, or a new one. @returns why it cannot be used, in a sentence */
  #executorFor(wanted: mesos.v1.ExecutorInfo, isForGroup: boolean): UsedExecutor | string {
    const { framework } = this.#turn;
    const judged = judgeExecutor(wanted, { frameworkId: framework.id, role: this.#role, isForGroup });
    if (!judged.ok) return judged.why;
    const { info, resources } = judged;
    const id = info.executorId.value;
    const record = this.#agent.executors.get(executorKeyOf(framework.id, id))?.record;
    const before =
      this.#executors.get(id) ?? (record?.info && record.run ? { info: record.info, run: record.run } : null);
    if (before === null) {
      return { info, resources, run: { number: this.#nextCommand, role: this.#role }, isNew: true };
    }
    if (before.run.role !== this.#role) {
      return `Executor '${id}' holds resources of role '${before.run.role}', the offer is for role '${this.#role}'`;
    }
    if (!isSameExecutor(before.info, info)) {
      return `Executor '${id}' runs on the agent, and is another than that of the launch: give it as it was, or another id`;
    }
    return { info, resources, run: before.run, isNew: false };
  }

  #executorRecord({ info, run }: UsedExecutor): mesobus.v1.ExecutorRecord.$Properties {
    return { frameworkId: this.#turn.framework.id, agentId: this.#agent.id, info, run, startedAtMs: this.#turn.at };
  }

  /** @param besides - that are launched together with it */
  #usedProblem(taskId: string, besides: ReadonlySet<string>): string | undefined {
    const before = this.#turn.framework.tasks.get(taskId);
    if (
      this.#taskIds.has(taskId) ||
      besides.has(taskId) ||
      (before !== undefined && !this.#turn.framework.completed.has(before))
    )
      return `The task id '${taskId}' is in use`;
    return undefined;
  }

  #fail(task: mesos.v1.TaskInfo, reason: Reason, message: string): void {
    const { taskId, agentId } = task;
    const status = { taskId: taskId.value, state: TASK_ERROR, reason, message, agentId: agentId.value };
    this.#events.push(updateEvent(masterStatus(status, this.#turn.at), this.#trace));
  }

  #taskRecord(task: mesos.v1.TaskInfo, resources: Resources): mesobus.v1.TaskLaunched.$Properties {
    const { framework, call, at } = this.#turn;
    return {
      frameworkId: framework.id,
      agentId: this.#agent.id,
      task,
      resources: toWire(resources),
      role: this.#role,
      commandNumber: this.#nextCommand,
      callId: call.callId,
      traceparent: this.#trace,
      ...timesOf(this.#offer, at),
      acceptedAtMs: at,
    };
  }

  /** Each step is one command. */
  get #nextCommand(): number {
    return this.#agent.lastCommand + this.#steps.length + 1;
  }

  #add(records: Records, bytes: number, operationsDone: number): void {
    this.#steps.push({ records, bytes, operationsDone, remainder: this.remainder });
  }

  // ---- operations on resources

  #convert(operation: Operation, index: number): void {
    const { framework, principal, call } = this.#turn;
    const conversion = readConversion(operation);
    const sides = typeof conversion === 'string' ? conversion : this.#sidesOf(operation, conversion);
    if (typeof sides === 'string') {
      this.#failOperation(operation, sides);
      return;
    }
    const { consumed, converted, total, remainder } = sides;
    const asker = { frameworkId: framework.id, principal, callId: call.callId, traceparent: this.#trace };
    const made = { number: this.#nextCommand, consumed, converted, total };
    const records = operationRecords(this.#turn, this.#agent, operation, made, asker);
    this.#total = total;
    this.remainder = remainder;
    for (const { key } of converted) this.#made.add(key);
    if (operation.reserve) this.#reserved = add(this.#reserved, converted);
    if (operation.id) this.#operationIds.add(operation.id.value);
    this.#rescindShared(consumed);
    const bytes = records.reduce((all, record) => all + bytesOf(record), 0);
    this.#add(records, bytes, index + 1);
  }

  /** What becomes of what, or why it cannot be. */
  #sidesOf(operation: Operation, conversion: Conversion): Sides | string {
    const problem = this.#conversionProblem(operation, conversion);
    if (problem !== undefined) return problem;
    const held = [...this.#agent.holdings.values()].map(({ resources }) => resources);
    const used = sum([...this.#launched, ...held]);
    const { principal } = this.#turn;
    const context = { total: this.#total, available: this.remainder, used, role: this.#role, principal };
    const made = convert(conversion, context);
    if (!made.ok) return made.error.message;
    const { consumed, converted } = made;
    const total = exchange(this.#total, consumed, converted);
    const remainder = exchange(this.remainder, consumed, converted);
    if (total === undefined || remainder === undefined) return 'The agent does not have what was offered any more';
    return sizeProblem(this.#agent, this.#total, total) ?? { consumed, converted, total, remainder };
  }

  #conversionProblem({ id }: Operation, conversion: Conversion): string | undefined {
    const { framework, state, principal } = this.#turn;
    const denied = notAllowed(state, principal, wantedByConversion(conversion, this.#total));
    if (denied !== undefined) return denied;
    if (!canConvert(this.#agent)) return 'The agent is of a version without operations';
    if (id) {
      const wrong = idProblem('operation', id.value);
      if (wrong !== undefined) return wrong;
      const open = framework.operations.size + this.#operationIds.size;
      if (open >= maxOpenOperations) {
        return `${open} operations of the framework are not acknowledged, and no more are taken: acknowledge what came of them`;
      }
      const isUsed = this.#operationIds.has(id.value) || framework.operations.has(id.value);
      if (isUsed)
        return `The operation id '${id.value}' is in use: acknowledge what came of the earlier one, or give another`;
    }
    const { info } = framework.record;
    const isShared = 'volumes' in conversion && conversion.volumes.some(({ shared }) => shared);
    if (isShared && !isCapable(info, SHARED_RESOURCES)) {
      return 'The framework has not the capability SHARED_RESOURCES, which shared volumes need';
    }
    const isRefined =
      conversion.kind === 'reserve' && conversion.resources.some(({ reservations }) => (reservations?.length ?? 0) > 1);
    if (isRefined && !isCapable(info, RESERVATION_REFINEMENT)) {
      return 'The framework has not the capability RESERVATION_REFINEMENT, which refined reservations need';
    }
    if (conversion.kind !== 'reserve') return undefined;
    const limited = limitPassedBelow(this.#turn.state, this.#role, add(this.#reserved, conversion.resources));
    return limited && `More would be reserved for role '${limited}' than its limit allows`;
  }

  #failOperation(operation: Operation, why: string): void {
    this.#events.push(...operationFailed(operation, why));
    const name = mesos.v1.Offer.Operation.Type[operation.type] ?? 'UNKNOWN';
    this.#turn.log('info', 'an operation is not carried out', {
      framework: this.#turn.framework.id,
      operation: name,
      why,
    });
  }

  /** A shared volume that is no more what it was may be in offers to others. */
  #rescindShared(consumed: Resources): void {
    const keys = new Set(consumed.filter(({ shared }) => shared).map(({ key }) => key));
    if (keys.size === 0) return;
    const { offers } = agentLinkOf(this.#turn.state, this.#agent);
    const inTheWay = [...offers].filter(({ resources }) => resources.some(({ key }) => keys.has(key)));
    rescindOffers(this.#turn, inTheWay, 'rescinded');
  }

  // ---- all of it

  /** Commits the steps piece by piece, each valid by itself. */
  commit(): void {
    const pieces = piecesOf(this.#steps);
    const link = agentLinkOf(this.#turn.state, this.#agent);
    for (const [index, piece] of pieces.entries()) {
      const records = piece.flatMap((step) => step.records);
      const last = piece.at(-1) as Step;
      const isLast = index === pieces.length - 1;
      records.push({ callRecorded: isLast ? callRecord(this.#turn, true) : this.#incomplete(last) });
      this.#turn.transaction(records);
      announceCommands(this.#turn, this.#agent, link);
      this.recorded = true;
    }
    this.#turn.tell(this.#turn.framework.id, this.#events, 'barrier');
    agentChanged(this.#turn.state, this.#agent.id);
    const { recorded } = this;
    const attributes = {
      'mesobus.framework_id': this.#turn.framework.id,
      'mesobus.agent_id': this.#agent.id,
      'mesobus.tasks': this.#launched.length,
    };
    traceAccept(this.#turn, this.#trace, this.#turn.traceparent, { recorded, attributes });
  }

  /** What is needed to go on, should this leader end here. */
  #incomplete({ remainder, operationsDone }: Step): mesobus.v1.CallRecorded.$Properties {
    const left = { agentId: this.#agent.id, role: this.#role, resources: toWire(remainder), operationsDone };
    return { ...callRecord(this.#turn, false), ...left };
  }
}

/** When the round began that made the offer, how long it took, and when the offer was made. */
function timesOf(offer: Offer | undefined, at: number): Partial<mesobus.v1.TaskLaunched.$Properties> {
  if (offer === undefined) return { offeredAtMs: at };
  const { offeredAtMs, decidedAtMs, roundBeganAtMs } = offer;
  const whole = (ms: number): number => Math.min(2 ** 31, Math.max(0, Math.round(ms)));
  const times = { decidedToOfferedMs: whole(offeredAtMs - decidedAtMs), roundMs: whole(decidedAtMs - roundBeganAtMs) };
  return { offeredAtMs, ...times };
}

const bytesOf = (record: Records[number]): number => encode(mesobus.v1.Record, record).length;

function piecesOf(steps: readonly Step[]): Step[][] {
  const pieces: Step[][] = [];
  let bytes = 0;
  for (const step of steps) {
    const piece = pieces.at(-1);
    const fits = piece !== undefined && piece.length < stepsPerPiece && bytes + step.bytes <= bytesPerPiece;
    if (fits) piece.push(step);
    else pieces.push([step]);
    bytes = step.bytes + (fits ? bytes : 0);
  }
  return pieces;
}
