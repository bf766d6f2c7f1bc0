import { type mesobus, mesos } from '@mesobus/protos';
import { fromWire } from '@mesobus/sdk/resources';
import { type CommandedKill, killsOf } from './kills-of.ts';
import { draining, duplicateTask, groupUnsupported, neverLaunched, refusalOf, resourcesUnknown } from './refusal-of.ts';
import {
  findLatest,
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
import { sameBytes } from './uuid-text.ts';

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
    const launch = state.byContainer.get(record.killAsked.containerId ?? '');
    if (launch !== undefined) applyKill({ launch, ...killOf(record.killAsked) });
  } else if (record.taskForgotten) applyForgotten(state, record.taskForgotten);
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

const killOf = ({ graceMs, preempted }: mesobus.v1.KillAsked.$Properties): Kill => ({
  graceMs: graceMs ?? 0,
  preempted: preempted || undefined,
});

/** Who asks first says why; who asks again may only shorten the grace. */
function applyKill({ launch, graceMs, preempted }: CommandedKill): void {
  const { kill } = launch;
  launch.kill = {
    graceMs: Math.min(graceMs, kill?.graceMs ?? graceMs),
    preempted: kill === undefined ? preempted : kill.preempted,
  };
}

/** What a command puts into the books: one launch, one per task of a group, or one to report a task that must not start. */
function launchesOf(state: State, taken: mesobus.v1.CommandTaken.$Properties): Launch[] {
  const { command } = taken;
  if (command?.runTask?.task) {
    const { framework, task } = command.runTask;
    const frameworkId = framework?.id?.value ?? '';
    const latest = findLatest(state, frameworkId, task.taskId.value);
    const duplicate = latest !== undefined && isLive(latest) ? duplicateTask(task.taskId.value) : undefined;
    const unfit = refusalOf(task, frameworkId) ?? resourcesUnknown(state, task, framework ?? undefined);
    const refusal = duplicate ?? unfit ?? (state.drain ? draining : undefined);
    return [newLaunch(taken, frameworkId, task.taskId.value, refusal)];
  }
  if (command?.runTaskGroup?.group?.tasks) {
    const frameworkId = command.runTaskGroup.framework?.id?.value ?? '';
    const { tasks } = command.runTaskGroup.group;
    return tasks.map((task) => newLaunch(taken, frameworkId, task.taskId.value, groupUnsupported));
  }
  const { task, unlaunched } = command?.killTask ?? {};
  if (!task || findLatest(state, task.frameworkId ?? '', task.taskId ?? '') !== undefined) return [];
  return [newLaunch(taken, task.frameworkId ?? '', task.taskId ?? '', neverLaunched(unlaunched))];
}

function newLaunch(
  taken: mesobus.v1.CommandTaken.$Properties,
  frameworkId: string,
  taskId: string,
  refusal: Refusal | undefined,
): Launch {
  const commandNumber = taken.command?.number ?? 0;
  const run = taken.command?.runTask ?? undefined;
  const traceparent = taken.command?.traceparent ?? '';
  return {
    key: launchKey(commandNumber, frameworkId, taskId),
    commandNumber,
    frameworkId,
    taskId,
    taken,
    task: run?.task ?? undefined,
    framework: run?.framework ?? undefined,
    containerId: taken.containerId ?? '',
    sandbox: taken.sandbox ?? '',
    traceparent,
    refusal,
    phase: 'accepted',
    started: undefined,
    kill: undefined,
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
    trace: traceparent,
    traced: 0,
    acceptedAt: 0,
    startedAt: 0,
    endBy: undefined,
    overtime: false,
  };
}

function insert(state: State, launch: Launch): void {
  state.launches.set(launch.key, launch);
  const key = taskKey(launch.frameworkId, launch.taskId);
  const others = state.byTask.get(key);
  if (others === undefined) state.byTask.set(key, [launch]);
  else others.push(launch);
  if (launch.containerId !== '') state.byContainer.set(launch.containerId, launch);
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
  const launch = state.byContainer.get(started.containerId ?? '');
  if (launch === undefined || !isLive(launch)) return;
  launch.started = started;
  launch.phase = 'running';
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
  if (isTerminal(launch.state)) {
    launch.phase = 'ended';
    state.timed.delete(launch);
  }
  state.unacknowledged.add(launch);
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
  const key = taskKey(frameworkId, taskId);
  const others = (state.byTask.get(key) ?? []).filter((other) => other !== launch);
  if (others.length === 0) state.byTask.delete(key);
  else state.byTask.set(key, others);
}

function applySnapshot(state: State, snapshot: mesobus.v1.JournalSnapshot.$Properties): void {
  for (const map of [state.launches, state.byTask, state.byContainer, state.operations]) map.clear();
  for (const set of [state.unacknowledged, state.due, state.timed]) set.clear();
  state.identity = snapshot.identity ?? undefined;
  const obeyed = snapshot.masterObeyed;
  state.obeyed = { incarnation: obeyed?.clusterIncarnation ?? 0, epoch: obeyed?.epoch ?? 0 };
  state.cursor = snapshot.cursor ?? 0;
  state.drain = snapshot.drain ?? undefined;
  state.checkpointed = fromWire(snapshot.checkpointedResources ?? []);
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
  const run = taken.command.runTask;
  // A launch without anything to run is in a snapshot only for its unacknowledged update, which names the task.
  const frameworkId = run?.framework?.id?.value ?? updates[0]?.frameworkId ?? '';
  const taskId = run?.task?.taskId.value ?? updates[0]?.status?.taskId.value ?? '';
  const launch = newLaunch(taken, frameworkId, taskId, undefined);
  insert(state, launch);
  launch.started = saved.started ?? undefined;
  launch.phase = launch.started === undefined ? 'accepted' : 'running';
  if (saved.kill) applyKill({ launch, ...killOf(saved.kill) });
  for (const update of updates) {
    if (update.status) addUpdate(state, launch, { ...update, status: update.status, number: update.number ?? 0 });
  }
  launch.latestNumber = saved.latestUpdateNumber ?? 0;
  launch.state = saved.state ?? launch.state;
  if (isTerminal(launch.state)) launch.phase = 'ended';
}
