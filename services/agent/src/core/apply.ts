import { type mesobus, mesos } from '@mesobus/protos';
import { fromWire } from '@mesobus/sdk/resources';
import { type CommandedKill, killsOf } from './kills-of.ts';
import { type LaunchOrder, ordersIn } from './launch-orders.ts';
import { pauseIn } from './pause-in.ts';
import { neverLaunched, refusalsOf } from './refusal-of.ts';
import { executorsShutBy } from './shut-by.ts';
import {
  type DelegatedLaunch,
  type Executor,
  executorKey,
  findLatest,
  isDelegated,
  isLive,
  type Kill,
  type Launch,
  launchKey,
  type Refusal,
  type State,
  taskKey,
  type Update,
} from './state.ts';
import { checkpointedAfter } from './take-operation.ts';
import { isTerminal } from './task-state.ts';
import { sameBytes, uuidText } from './uuid-text.ts';

type Record = mesobus.v1.JournalRecord.$Properties;

/** The reducer of the journal: nothing else changes what must survive a crash. */
export function apply(state: State, record: Record): void {
  if (record.identity) applyIdentity(state, record.identity);
  else if (record.masterObeyed) {
    const { clusterIncarnation, epoch } = record.masterObeyed;
    state.obeyed = { incarnation: clusterIncarnation ?? 0, epoch: epoch ?? 0 };
  } else if (record.commandTaken) applyCommand(state, record.commandTaken);
  else if (record.containerStarted) applyStarted(state, record.containerStarted);
  else if (record.updateMade?.update) applyUpdate(state, record.updateMade.update);
  else if (record.updateAcknowledged) applyAcknowledged(state, record.updateAcknowledged);
  else if (record.killAsked) {
    const launch = killedBy(state, record.killAsked);
    if (launch !== undefined) applyKill({ launch, ...killOf(record.killAsked) });
  } else if (record.taskForgotten) applyForgotten(state, record.taskForgotten);
  else if (record.executorChanged) applyExecutorChanged(state, record.executorChanged);
  else if (record.drainingChanged) state.drain = record.drainingChanged.drain ?? undefined;
  else if (record.snapshot) applySnapshot(state, record.snapshot);
}

function applyIdentity(state: State, identity: mesobus.v1.AgentIdentity.$Properties): void {
  const before = state.identity?.agentId ?? '';
  state.identity = identity;
  if (before === '' || before === identity.agentId) return;
  state.cursor = 0; // commands are numbered per agent id
  state.operations.clear(); // and so are operations; what they made of the disk stays
  state.drain = undefined; // it was another one that was drained
}

function applyCommand(state: State, taken: mesobus.v1.CommandTaken.$Properties): void {
  const { command } = taken;
  if (!command) return;
  state.cursor = command.number ?? 0;
  for (const kill of killsOf(state, command)) applyKill(kill);
  for (const { executor, ending } of executorsShutBy(state, command)) executor.ending ??= ending;
  const pause = pauseIn(state, command);
  if (pause !== undefined) pause.launch.paused = pause.paused;
  for (const launch of launchesOf(state, taken)) insert(state, launch);
  if (command.applyOperation) {
    insertOperation(state, taken);
    applyOperation(state, command.applyOperation, taken.operationStatus);
  }
  if (command.drainAgent) state.drain = command.drainAgent;
  if (command.reactivateAgent) state.drain = undefined;
  if (command.shutdownAgent && state.identity) state.identity = { ...state.identity, retired: true };
}

function applyOperation(
  state: State,
  apply: mesobus.v1.ApplyOperation.$Properties,
  status: mesos.v1.OperationStatus.$Properties | null | undefined,
): void {
  if (status?.state !== mesos.v1.OperationState.OPERATION_FINISHED) return;
  state.checkpointed = checkpointedAfter(state.checkpointed, apply);
}

const killOf = ({ graceMs, preempted, unhealthy, overDisk }: mesobus.v1.KillAsked.$Properties): Kill => ({
  graceMs: graceMs ?? 0,
  preempted: preempted || undefined,
  unhealthy: unhealthy || undefined,
  overDisk: overDisk || undefined,
});

/** Who asks first says why; who asks again may only shorten the grace. */
function applyKill({ launch, graceMs, ...why }: CommandedKill): void {
  const { kill } = launch;
  launch.kill = { ...(kill ?? why), graceMs: Math.min(graceMs, kill?.graceMs ?? graceMs) };
}

function killedBy(state: State, { containerId, launch }: mesobus.v1.KillAsked.$Properties): Launch | undefined {
  if (!launch) return state.byContainer.get(containerId ?? '');
  return state.launches.get(launchKey(launch.commandNumber ?? 0, launch.frameworkId ?? '', launch.taskId ?? ''));
}

/** What a command puts into the books: one launch, one per task of a group, or one to report a task that must not start. */
function launchesOf(state: State, taken: mesobus.v1.CommandTaken.$Properties): Launch[] {
  const orders = ordersIn(taken);
  const [first] = orders;
  if (first !== undefined) {
    const refusals = refusalsOf(state, orders);
    const executor = taken.executor ? newExecutor(state, first, taken.executor) : findRun(state, first);
    return orders.map((order, index) => newLaunch(state, order, executor, refusals[index]));
  }
  const { task, unlaunched } = taken.command?.killTask ?? {};
  if (!task || findLatest(state, task.frameworkId ?? '', task.taskId ?? '') !== undefined) return [];
  return [newLaunch(state, unrunOrder(taken, task), undefined, neverLaunched(unlaunched))];
}

type Unrun = Pick<LaunchOrder, 'frameworkId' | 'taskId' | 'taken'> & Partial<LaunchOrder>;

/** There is nothing to run. */
const unrunOrder = (taken: mesobus.v1.CommandTaken.$Properties, task: mesobus.v1.TaskKey.$Properties): Unrun => ({
  frameworkId: task.frameworkId ?? '',
  taskId: task.taskId ?? '',
  taken,
});

// ---- executors

function newExecutor(
  state: State,
  { frameworkId, executor, run, framework }: LaunchOrder,
  { containerId, sandbox }: mesobus.v1.TakenContainer.$Properties,
): Executor | undefined {
  if (executor === undefined) return undefined;
  const info = { ...executor, frameworkId: { value: frameworkId } };
  const place = { containerId: containerId ?? '', sandbox: sandbox ?? '' };
  return insertExecutor(state, { frameworkId, info, run: run ?? {}, framework, ...place });
}

type ExecutorFacts = Pick<Executor, 'frameworkId' | 'info' | 'run' | 'framework' | 'containerId' | 'sandbox'>;

function insertExecutor(state: State, facts: ExecutorFacts): Executor {
  const executor: Executor = {
    ...facts,
    executorId: facts.info.executorId.value,
    launches: new Set(),
    phase: 'accepted',
    started: undefined,
    subscribed: false,
    ending: undefined,
    end: undefined,
    toldUntil: undefined,
    said: new Set(),
    connected: false,
    subscribeBy: undefined,
    killAt: undefined,
    given: undefined,
    durable: false,
    repeatAt: Number.POSITIVE_INFINITY,
    repeatMs: 0,
  };
  state.executors.set(executor.containerId, executor);
  state.byExecutor.set(executorKey(executor.frameworkId, executor.executorId), executor);
  state.unsettled.add(executor);
  return executor;
}

/** The run that a launch names, if it is there, whether it lives or not. */
function findRun({ byExecutor }: State, { frameworkId, executor, run }: LaunchOrder): Executor | undefined {
  const found = executor && byExecutor.get(executorKey(frameworkId, executor.executorId.value));
  return found?.run.number === run?.number ? found : undefined;
}

function applyExecutorChanged(state: State, changed: mesobus.v1.ExecutorChanged.$Properties): void {
  const executor = state.executors.get(changed.containerId ?? '');
  if (executor === undefined) return;
  if (changed.subscribed) executor.subscribed = true;
  executor.ending = changed.ending ?? executor.ending;
  executor.toldUntil = changed.toldUntil || executor.toldUntil;
  if (executor.toldUntil !== undefined) state.told.add(executor);
  if (changed.end) {
    executor.end = changed.end;
    executor.phase = 'ended';
    state.watched.delete(executor);
  }
  if (!changed.forgotten) return;
  state.told.delete(executor);
  state.executors.delete(executor.containerId);
  const key = executorKey(executor.frameworkId, executor.executorId);
  if (state.byExecutor.get(key) === executor) state.byExecutor.delete(key);
}

function applySavedExecutor(state: State, saved: mesobus.v1.JournalExecutor.$Properties): void {
  const { info, framework, run, container, started, changed } = saved;
  if (!info || !framework) return;
  const place = { containerId: container?.containerId ?? '', sandbox: container?.sandbox ?? '' };
  const frameworkId = saved.frameworkId ?? '';
  const executor = insertExecutor(state, { frameworkId, info, framework, run: run ?? {}, ...place });
  executor.started = started ?? undefined;
  if (started || changed?.subscribed) executor.phase = 'running';
  if (changed) applyExecutorChanged(state, changed);
}

// ---- launches

function newLaunch(
  { config: { childTraceparent: child } }: State,
  order: Unrun,
  executor: Executor | undefined,
  refusal: Refusal | undefined,
): Launch {
  const { frameworkId, taskId, taken, task, framework, isGrouped = false } = order;
  const commandNumber = taken.command?.number ?? 0;
  const traceparent = taken.command?.traceparent ?? '';
  const key = launchKey(commandNumber, frameworkId, taskId);
  return {
    key,
    commandNumber,
    frameworkId,
    taskId,
    taken,
    task,
    framework,
    containerId: taken.containerId ?? '',
    sandbox: taken.sandbox || (executor?.sandbox ?? ''),
    traceparent,
    executor,
    isGrouped,
    refusal,
    phase: 'accepted',
    started: undefined,
    kill: undefined,
    paused: false,
    executorUpdates: [],
    pending: [],
    latestNumber: 0,
    state: mesos.v1.TaskState.TASK_STAGING,
    durable: 0,
    sent: 0,
    repeatAt: Number.POSITIVE_INFINITY,
    repeatMs: 0,
    lastGap: 0,
    orphan: false,
    adopted: false,
    trace: child?.(traceparent, key) ?? traceparent,
    runTraced: false,
    traced: 0,
    startedAt: 0,
    endBy: undefined,
    overtime: false,
    healthy: undefined,
    checkStatus: undefined,
  };
}

function insert(state: State, launch: Launch): void {
  state.launches.set(launch.key, launch);
  const key = taskKey(launch.frameworkId, launch.taskId);
  const others = state.byTask.get(key);
  if (others === undefined) state.byTask.set(key, [launch]);
  else others.push(launch);
  if (launch.containerId !== '') state.byContainer.set(launch.containerId, launch);
  if (launch.executor === undefined) return;
  launch.executor.launches.add(launch);
  state.unsettled.add(launch.executor);
}

function insertOperation(state: State, taken: mesobus.v1.CommandTaken.$Properties): void {
  const commandNumber = taken.command?.number ?? 0;
  state.operations.set(commandNumber, {
    commandNumber,
    taken,
    durable: false,
    repeatAt: Number.POSITIVE_INFINITY,
    repeatMs: 0,
  });
}

function applyStarted(state: State, started: mesobus.v1.ContainerStarted.$Properties): void {
  const containerId = started.containerId ?? '';
  const launch = state.byContainer.get(containerId) ?? state.executors.get(containerId);
  if (launch === undefined || !isLive(launch)) return;
  launch.started = started;
  launch.phase = 'running';
  const executor = 'executor' in launch ? launch.executor : undefined;
  if (executor !== undefined) executor.phase = 'running';
}

function applyUpdate(state: State, update: mesobus.v1.TaskUpdate.$Properties): void {
  const { status } = update;
  if (!status) return;
  const key = launchKey(update.commandNumber ?? 0, update.frameworkId ?? '', status.taskId.value);
  const launch = state.launches.get(key);
  if (launch !== undefined) addUpdate(state, launch, { ...update, status, number: update.number ?? 0 });
}

function addUpdate(state: State, launch: Launch, update: Update): void {
  launch.pending.push(update);
  launch.latestNumber = update.number;
  launch.state = update.status.state;
  if (isDelegated(launch)) {
    launch.phase = 'running'; // its executor has spoken of it, or it ends
    if (update.status.uuid) noteUpdate(launch, update.status.uuid);
  }
  if (isTerminal(launch.state)) {
    launch.phase = 'ended';
    state.timed.delete(launch);
    if (launch.executor !== undefined) state.unsettled.add(launch.executor);
  }
  state.unacknowledged.add(launch);
}

/** Executors send again what they have not seen acknowledged: of the latest, none is taken twice. */
const maxExecutorUpdates = 64;
/** Of all the tasks of one together, forgotten ones too. */
const maxSaid = 256;

function noteUpdate({ executorUpdates, executor: { said } }: DelegatedLaunch, uuid: Uint8Array): void {
  executorUpdates.push(uuid);
  if (executorUpdates.length > maxExecutorUpdates) executorUpdates.shift();
  said.add(uuidText(uuid));
  const [oldest] = said;
  if (said.size > maxSaid && oldest !== undefined) said.delete(oldest);
}

/** The launch of a task whose oldest unacknowledged update has the uuid. */
export function findByHead(state: State, task: mesobus.v1.TaskKey.$Properties, uuid: Uint8Array): Launch | undefined {
  const launches = state.byTask.get(taskKey(task.frameworkId ?? '', task.taskId ?? ''));
  return launches?.find(({ pending: [head] }) => head?.status.uuid && sameBytes(head.status.uuid, uuid));
}

function applyAcknowledged(state: State, { task, uuid }: mesobus.v1.UpdateAcknowledged.$Properties): void {
  const launch = task && uuid ? findByHead(state, task, uuid) : undefined;
  if (launch === undefined) return;
  launch.pending.shift();
  if (launch.pending.length === 0) state.unacknowledged.delete(launch);
}

function applyForgotten(state: State, { task, commandNumber }: mesobus.v1.TaskForgotten.$Properties): void {
  if (!task) {
    state.operations.delete(commandNumber ?? 0);
    return;
  }
  const { frameworkId, taskId } = { frameworkId: task.frameworkId ?? '', taskId: task.taskId ?? '' };
  const launch = state.launches.get(launchKey(commandNumber ?? 0, frameworkId, taskId));
  if (launch === undefined) return;
  state.launches.delete(launch.key);
  state.unacknowledged.delete(launch);
  state.due.delete(launch);
  state.timed.delete(launch);
  state.watched.delete(launch);
  state.unbegun.delete(launch);
  if (launch.containerId !== '') state.byContainer.delete(launch.containerId);
  launch.executor?.launches.delete(launch);
  const key = taskKey(frameworkId, taskId);
  const others = (state.byTask.get(key) ?? []).filter((other) => other !== launch);
  if (others.length === 0) state.byTask.delete(key);
  else state.byTask.set(key, others);
}

function applySnapshot(state: State, snapshot: mesobus.v1.JournalSnapshot.$Properties): void {
  const { launches, byTask, byContainer, executors, byExecutor, operations } = state;
  for (const map of [launches, byTask, byContainer, executors, byExecutor, operations]) map.clear();
  for (const set of [state.unacknowledged, state.due, state.timed, state.told, state.unsettled]) set.clear();
  state.identity = snapshot.identity ?? undefined;
  const obeyed = snapshot.masterObeyed;
  state.obeyed = { incarnation: obeyed?.clusterIncarnation ?? 0, epoch: obeyed?.epoch ?? 0 };
  state.cursor = snapshot.cursor ?? 0;
  state.drain = snapshot.drain ?? undefined;
  state.checkpointed = fromWire(snapshot.checkpointedResources ?? []);
  for (const executor of snapshot.executors ?? []) applySavedExecutor(state, executor);
  for (const task of snapshot.tasks ?? []) applyTask(state, task);
}

function applyTask(state: State, saved: mesobus.v1.JournalTask.$Properties): void {
  const taken = saved.launch;
  if (!taken?.command) return;
  if (taken.command.applyOperation) {
    insertOperation(state, taken);
    return;
  }
  const updates = saved.pendingUpdates ?? [];
  const [order] = ordersIn(taken);
  // A launch without anything to run is in a snapshot only for its unacknowledged update, which names the task.
  const { frameworkId, status } = updates[0] ?? {};
  const launch = newLaunch(
    state,
    order ?? unrunOrder(taken, { frameworkId: frameworkId ?? '', taskId: status?.taskId.value ?? '' }),
    order && findRun(state, order),
    undefined,
  );
  insert(state, launch);
  launch.started = saved.started ?? undefined;
  launch.phase = launch.started === undefined ? 'accepted' : 'running';
  if (saved.kill) applyKill({ launch, ...killOf(saved.kill) });
  launch.paused = saved.paused ?? false;
  for (const update of updates) {
    if (update.status) addUpdate(state, launch, { ...update, status: update.status, number: update.number ?? 0 });
  }
  launch.executorUpdates = [...(saved.executorUpdates ?? [])];
  launch.latestNumber = saved.latestUpdateNumber ?? 0;
  launch.state = saved.state ?? launch.state;
  if (isDelegated(launch) && launch.state !== mesos.v1.TaskState.TASK_STAGING) launch.phase = 'running';
  if (isTerminal(launch.state)) launch.phase = 'ended';
}
