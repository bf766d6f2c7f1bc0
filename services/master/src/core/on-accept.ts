import { encode, mesobus, mesos } from '@mesobus/protos';
import type { AgentEntry, FrameworkEntry, TaskEntry } from '@mesobus/registry/core';
import { fromWire, type Resources, sum, toWire, trySubtract } from '@mesobus/sdk/resources';
import { agentLinkOf, availableOf, takesLaunches } from './agents.ts';
import type { CallTurn } from './call-turn.ts';
import { announceCommands } from './commands.ts';
import { agentChanged, filterSet } from './feed.ts';
import type { SchedulerEvent } from './messages.ts';
import { closeOffer, judgeOffers, refuseMs } from './offers.ts';
import type { Offer } from './state.ts';
import { masterStatus, type Reason, stateFor, updateEvent } from './statuses.ts';
import { judgeTask } from './task-problem.ts';
import { traceOffer } from './traces.ts';

const { TaskState, TaskStatus } = mesos.v1;
const { ADMITTED } = mesobus.v1.AgentRecord.Lifecycle;
const { TASK_DROPPED, TASK_ERROR } = TaskState;
const { REASON_INVALID_OFFERS, REASON_TASK_INVALID, REASON_TASK_GROUP_INVALID, REASON_AGENT_REMOVED } =
  TaskStatus.Reason;
const { REASON_AGENT_DISCONNECTED, REASON_AGENT_DRAINING } = TaskStatus.Reason;
const Operation = mesos.v1.Offer.Operation;
const { OPERATION_ERROR } = mesos.v1.OperationState;
const EventType = mesos.v1.scheduler.Event.Type;

/** Launches in one transaction: at most so many, and about so many bytes. */
const launchesPerPiece = 200;
const bytesPerPiece = 256 * 1024;
/** A record names the resources of its task twice, and must fit in an entry of the log. */
const maxTaskBytes = 240 * 1024;

type Operation = mesos.v1.Offer.Operation;
type Accept = mesos.v1.scheduler.Call.Accept;

/** A framework accepts offers and says what to do with them. */
export function onAccept(turn: CallTurn, accept: Accept): void {
  const { state, framework } = turn;
  const before = state.ledger.calls.get(turn.call.callId)?.record;
  if (before?.frameworkId === framework.id) {
    if (!before.complete) finishAccept(turn, accept, before);
    turn.accept('barrier', true);
    return;
  }

  const judged = judgeOffers(state, framework, accept.offerIds);
  for (const offer of judged.offers) closeOffer(state, offer);
  if (!judged.ok) {
    for (const offer of judged.offers) traceOffer(turn, offer, 'rescinded');
    // A call that is repeated after so long that it is forgotten: its tasks still know what launched them.
    const rest = accept.operations.map((operation) => withoutLaunched(operation, framework, turn.call.callId));
    dropOperations(turn, rest, { reason: REASON_INVALID_OFFERS, why: judged.why });
    turn.log('info', 'an ACCEPT named offers that cannot be used', { framework: framework.id, why: judged.why });
    answer(turn, accept, false);
    return;
  }

  for (const offer of judged.offers) traceOffer(turn, offer, 'accepted');
  const offered = sum(judged.resources);
  const launching = new Launching(turn, judged.agent, judged.role, offered, judged.offers[0]);
  for (const operation of accept.operations) launching.apply(operation);
  launching.commit();
  answer(turn, accept, launching.launched);
  const filter = {
    frameworkId: framework.id,
    role: judged.role,
    agentId: judged.agent.id,
    refuseMs: refuseMs(accept.filters),
  };
  if (launching.remainder.length > 0) filterSet(state, { ...filter, resources: launching.remainder });
}

/** What an ACCEPT did must not be done again when it is repeated, even where it launched nothing. */
function answer(turn: CallTurn, accept: Accept, recorded: boolean): void {
  if (!recorded && accept.operations.length > 0) turn.commit([{ callRecorded: callRecord(turn, true) }]);
  turn.accept('barrier', accept.operations.length > 0);
}

/** The leader before committed a part of the call: the rest is launched if its resources are still there. */
function finishAccept(turn: CallTurn, accept: Accept, call: mesobus.v1.CallRecorded): void {
  const { state, framework } = turn;
  const agent = state.ledger.agents.get(call.agentId);
  const rest = accept.operations.map((operation) => withoutLaunched(operation, framework, call.callId));
  if (agent === undefined || !takesLaunches(state, agent)) {
    dropOperations(turn, rest, whyNotOffering(agent));
    turn.commit([{ callRecorded: callRecord(turn, true) }]);
    return;
  }
  let budget: Resources | undefined = fromWire(call.resources);
  for (const task of launchedBy(accept, framework, call.callId)) budget = budget && trySubtract(budget, task.resources);
  if (budget === undefined || trySubtract(availableOf(state, agent), budget) === undefined) {
    const why = 'The resources went to somebody else while the launch was under way';
    dropOperations(turn, rest, { reason: REASON_INVALID_OFFERS, why });
    turn.commit([{ callRecorded: callRecord(turn, true) }]);
    return;
  }
  const launching = new Launching(turn, agent, call.role, budget);
  for (const operation of rest) launching.apply(operation);
  launching.commit();
  if (!launching.launched) turn.commit([{ callRecorded: callRecord(turn, true) }]);
}

function whyNotOffering(agent: AgentEntry | undefined): { reason: Reason; why: string } {
  const { lifecycle, deactivated } = agent?.record ?? {};
  if (lifecycle !== ADMITTED) {
    return { reason: REASON_AGENT_REMOVED, why: 'The agent was lost while the launch was under way' };
  }
  const reason = deactivated ? REASON_AGENT_DRAINING : REASON_AGENT_DISCONNECTED;
  const why = deactivated
    ? 'The agent takes no more tasks'
    : 'The agent was disconnected while the launch was under way';
  return { reason, why };
}

function* launchedBy(accept: Accept, framework: FrameworkEntry, callId: string): Iterable<TaskEntry> {
  for (const { launch } of accept.operations) {
    for (const { taskId } of launch?.taskInfos ?? []) {
      const task = framework.tasks.get(taskId.value);
      if (task?.launched.callId === callId) yield task;
    }
  }
}

function withoutLaunched(operation: Operation, framework: FrameworkEntry, callId: string): Operation {
  if (!operation.launch) return operation;
  const taskInfos = operation.launch.taskInfos.filter(
    ({ taskId }) => framework.tasks.get(taskId.value)?.launched.callId !== callId,
  );
  return new Operation({ ...operation, launch: new Operation.Launch({ taskInfos }) });
}

function callRecord(turn: CallTurn, complete: boolean): mesobus.v1.CallRecorded.$Properties {
  return {
    callId: turn.call.callId,
    frameworkId: turn.framework.id,
    principal: turn.principal,
    type: mesos.v1.scheduler.Call.Type.ACCEPT,
    complete,
    recordedAtMs: turn.at,
  };
}

/** Nothing of these operations is done, and the framework hears why. */
function dropOperations(
  turn: CallTurn,
  operations: readonly Operation[],
  { reason, why }: { reason: Reason; why: string },
): void {
  const events: SchedulerEvent[] = [];
  for (const operation of operations) {
    const tasks = [...(operation.launch?.taskInfos ?? []), ...(operation.launchGroup?.taskGroup.tasks ?? [])];
    for (const { taskId, agentId } of tasks) {
      const state = stateFor(turn.framework, TASK_DROPPED);
      const status = { taskId: taskId.value, state, reason, message: why, agentId: agentId.value };
      events.push(updateEvent(masterStatus(status, turn.at), turn.traceparent));
    }
    events.push(...operationFailed(operation, why));
  }
  turn.tell(turn.framework.id, events, 'barrier');
}

/** Frameworks hear of operations that they gave an id. */
function operationFailed({ id, launch, launchGroup }: Operation, message: string): SchedulerEvent[] {
  if (!id || launch || launchGroup) return [];
  const status = { operationId: { value: id.value }, state: OPERATION_ERROR, message };
  return [{ event: { type: EventType.UPDATE_OPERATION_STATUS, updateOperationStatus: { status } } }];
}

interface Launch {
  readonly record: mesobus.v1.TaskLaunched.$Properties;
  readonly bytes: number;
}

/** The operations of one ACCEPT, applied in order to what is left of its offers. */
class Launching {
  remainder: Resources;
  launched = false;
  readonly #turn: CallTurn;
  readonly #agent: AgentEntry;
  readonly #role: string;
  readonly #offered: Resources;
  readonly #offer: Offer | undefined;
  readonly #launches: Launch[] = [];
  readonly #ids = new Set<string>();
  readonly #events: SchedulerEvent[] = [];

  constructor(turn: CallTurn, agent: AgentEntry, role: string, offered: Resources, offer?: Offer) {
    this.#turn = turn;
    this.#agent = agent;
    this.#role = role;
    this.#offered = offered;
    this.#offer = offer;
    this.remainder = offered;
  }

  apply(operation: Operation): void {
    const { launch, launchGroup, id } = operation;
    if (launch) {
      const forbidden = id ? "A LAUNCH must not have the field 'id'" : undefined;
      for (const task of launch.taskInfos) this.#launch(task, forbidden);
    } else if (launchGroup) {
      for (const task of launchGroup.taskGroup.tasks) {
        this.#fail(task, REASON_TASK_GROUP_INVALID, 'Task groups are not supported yet: launch the tasks one by one');
      }
    } else {
      const name = Operation.Type[operation.type] ?? 'UNKNOWN';
      this.#events.push(...operationFailed(operation, `${name} is not supported yet`));
      this.#turn.log('info', 'an operation is not supported', { framework: this.#turn.framework.id, operation: name });
    }
  }

  #launch(task: mesos.v1.TaskInfo, forbidden: string | undefined): void {
    const taskId = task.taskId.value;
    const judged = judgeTask(task, { agentId: this.#agent.id, role: this.#role });
    const problem = forbidden ?? (judged.ok ? this.#usedProblem(taskId) : judged.why);
    if (problem !== undefined || !judged.ok) {
      this.#fail(task, REASON_TASK_INVALID, problem ?? '');
      return;
    }
    const rest = trySubtract(this.remainder, judged.resources);
    if (rest === undefined) {
      this.#fail(task, REASON_TASK_INVALID, 'The task asks for more than is left of its offers');
      return;
    }
    const bytes = encode(mesos.v1.TaskInfo, task).length;
    if (bytes > maxTaskBytes) {
      this.#fail(task, REASON_TASK_INVALID, `The task is of ${bytes} bytes: at most ${maxTaskBytes} are taken`);
      return;
    }
    this.remainder = rest;
    this.#ids.add(taskId);
    this.#launches.push({ record: this.#record(task, judged.resources), bytes });
  }

  #usedProblem(taskId: string): string | undefined {
    const before = this.#turn.framework.tasks.get(taskId);
    if (this.#ids.has(taskId) || (before !== undefined && !this.#turn.framework.completed.has(before)))
      return `The task id '${taskId}' is in use`;
    return undefined;
  }

  #fail(task: mesos.v1.TaskInfo, reason: Reason, message: string): void {
    const { taskId, agentId } = task;
    const status = { taskId: taskId.value, state: TASK_ERROR, reason, message, agentId: agentId.value };
    this.#events.push(updateEvent(masterStatus(status, this.#turn.at), this.#turn.traceparent));
  }

  #record(task: mesos.v1.TaskInfo, resources: Resources): mesobus.v1.TaskLaunched.$Properties {
    const { framework, call, at, traceparent } = this.#turn;
    return {
      frameworkId: framework.id,
      agentId: this.#agent.id,
      task,
      resources: toWire(resources),
      role: this.#role,
      commandNumber: this.#agent.lastCommand + this.#launches.length + 1,
      callId: call.callId,
      traceparent: traceparent || (this.#offer?.trace.offer ?? ''),
      offeredAtMs: this.#offer?.offeredAtMs ?? at,
      acceptedAtMs: at,
    };
  }

  /** Commits the launches piece by piece, each valid by itself. */
  commit(): void {
    const pieces = piecesOf(this.#launches);
    const link = agentLinkOf(this.#turn.state, this.#agent);
    for (const [index, piece] of pieces.entries()) {
      const last = index === pieces.length - 1;
      const records: mesobus.v1.Record.$Properties[] = piece.map(({ record }) => ({ taskLaunched: record }));
      if (last) records.push({ callRecorded: callRecord(this.#turn, true) });
      else if (index === 0) records.unshift({ callRecorded: this.#incomplete() });
      this.#turn.transaction(records);
      announceCommands(this.#turn, this.#agent, link);
      this.launched = true;
    }
    this.#turn.tell(this.#turn.framework.id, this.#events, 'barrier');
    agentChanged(this.#turn.state, this.#agent.id);
    this.#trace();
  }

  #incomplete(): mesobus.v1.CallRecorded.$Properties {
    const held = { agentId: this.#agent.id, role: this.#role, resources: toWire(this.#offered) };
    return { ...callRecord(this.#turn, false), ...held };
  }

  #trace(): void {
    const parent = this.#turn.traceparent || this.#offer?.trace.offer;
    if (!parent) return;
    const attributes = { 'mesobus.agent_id': this.#agent.id, 'mesobus.tasks': this.#launches.length };
    this.#turn.span({ name: 'accept', parent, startMs: this.#turn.at, attributes });
    if (this.launched) this.#turn.span({ name: 'commit', parent, startMs: this.#turn.at }, 'committed');
  }
}

function piecesOf(launches: readonly Launch[]): Launch[][] {
  const pieces: Launch[][] = [];
  let bytes = 0;
  for (const launch of launches) {
    const piece = pieces.at(-1);
    const fits = piece !== undefined && piece.length < launchesPerPiece && bytes + launch.bytes <= bytesPerPiece;
    if (fits) piece.push(launch);
    else pieces.push([launch]);
    bytes = launch.bytes + (fits ? bytes : 0);
  }
  return pieces;
}

/** A framework declines offers. */
export function onDecline(turn: CallTurn, decline: mesos.v1.scheduler.Call.Decline): void {
  const ms = refuseMs(decline.filters);
  for (const { value: id } of decline.offerIds) {
    const offer = turn.state.offers.get(id);
    if (offer?.frameworkId !== turn.framework.id) continue; // rescinded meanwhile, or not its own
    closeOffer(turn.state, offer);
    traceOffer(turn, offer, 'declined');
    filterSet(turn.state, { ...offer, refuseMs: ms });
  }
  turn.accept('now', false);
}
