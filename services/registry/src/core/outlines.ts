import { mesobus, type mesos, unknownFields } from '@mesobus/protos';
import { fromWire, noResources, type Resources } from '@mesobus/sdk/resources';
import { Fields } from './fields.ts';
import { type Encoded, type Packed, packBytes, type Slice } from './packed.ts';
import { type SharedResources, share, shareEncoded } from './shared-resources.ts';
import type { TaskState } from './task-state.ts';

const v1 = mesobus.v1;

/*
 * What a ledger computes with of the records about tasks. The rest stays encoded, if it came encoded: a million tasks
 * are read without decoding what a command is made of.
 */

export interface LaunchOutline {
  frameworkId: string;
  agentId: string;
  taskId: string;
  /** Undefined if they are malformed: the master refuses such a task, and no record of it may stop a reader. */
  resources: Resources | undefined;
  role: string;
  commandNumber: number;
  acceptedAtMs: number;
  groupId: string;
  /** All of it, unless it was not to be kept. */
  whole: mesobus.v1.TaskLaunched | Encoded;
}

export interface ChangeOutline {
  frameworkId: string;
  taskId: string;
  commandNumber: number;
  state: TaskState;
  status: mesos.v1.TaskStatus | Encoded | undefined;
  /** That of `status`. */
  statusState: TaskState | undefined;
  updateNumber: number;
  acknowledgedNumber: number;
  changedAtMs: number;
  /** Fields that this version does not know; empty if there are none. */
  unknown: Packed;
}

export interface SnapshotOutline {
  launched: LaunchOutline | undefined;
  latest: ChangeOutline | undefined;
  killIssued: boolean;
  departed: boolean;
  completedNumber: number;
}

export type TaskFact =
  | { readonly kind: 'launched'; readonly of: LaunchOutline }
  | { readonly kind: 'changed'; readonly of: ChangeOutline }
  | { readonly kind: 'snapshot'; readonly of: SnapshotOutline };

const nothing = '' as Packed;

// ---- of messages

export function outlineLaunched(shared: SharedResources, whole: mesobus.v1.TaskLaunched): LaunchOutline {
  const { frameworkId, agentId, role, commandNumber, acceptedAtMs, groupId } = whole;
  const taskId = whole.task?.taskId?.value ?? '';
  const resources = shareWire(shared, whole.resources);
  return { frameworkId, agentId, taskId, resources, role, commandNumber, acceptedAtMs, groupId, whole };
}

export function outlineChanged(changed: mesobus.v1.TaskChanged): ChangeOutline {
  const { commandNumber, state, updateNumber, acknowledgedNumber, changedAtMs, task } = changed;
  const status = changed.status ?? undefined;
  const fields = unknownFields(changed);
  const unknown = fields.length === 0 ? nothing : packBytes(Buffer.concat(fields));
  return {
    frameworkId: task?.frameworkId ?? '',
    taskId: task?.taskId ?? '',
    commandNumber,
    state,
    status,
    statusState: status?.state,
    updateNumber,
    acknowledgedNumber,
    changedAtMs,
    unknown,
  };
}

function shareWire(shared: SharedResources, wire: readonly mesos.v1.Resource[]): Resources | undefined {
  try {
    return share(shared, fromWire(wire));
  } catch {
    return undefined;
  }
}

// ---- of bytes

/**
 * The outline of an encoded record about a task; undefined if it is about something else.
 *
 * @throws {RangeError} the bytes are no record
 */
export function outlineTaskFact(shared: SharedResources, record: Slice): TaskFact | undefined {
  const fields = cursor.begin(record.bytes, record.from, record.to);
  if (!fields.next() || fields.to !== fields.end) return undefined;
  switch (fields.number) {
    case 4:
      return { kind: 'launched', of: readLaunched(fields.inner(), fields.packed(), shared) };
    case 5:
      return { kind: 'changed', of: readChanged(fields.inner(), packedOf) };
    case 15:
      return { kind: 'snapshot', of: readSnapshot(fields.inner(), nothingOf, shared) };
    default:
      return undefined;
  }
}

/**
 * What an encoded Record of a {@link mesobus.v1.TaskSnapshot} says beside what is counted with: of the launch the time
 * alone. It was read before, by {@link outlineTaskFact}.
 *
 * @param keep - as what the messages in it are kept: a slice keeps all of the bytes in memory
 */
export function outlineSnapshot({ bytes, from, to }: Slice, keep: 'slice' | 'packed'): SnapshotOutline {
  const fields = cursor.begin(bytes, from, to);
  fields.next();
  return readSnapshot(fields.inner(), keep === 'slice' ? sliceOf : packedOf);
}

/** One for all: whoever reads is done before the next one begins. */
const cursor = new Fields();

/** As what the encoded message in a field is kept. */
type Keep = (field: Fields) => Encoded;

const packedOf: Keep = (field) => field.packed();
const sliceOf: Keep = (field) => field.slice();
const nothingOf: Keep = () => nothing;

/** The launch that was read last: the next is often of the same agent and role. */
let before: LaunchOutline | undefined;

/** @param shared - undefined: nothing but the time is read */
function readLaunched(fields: Fields, whole: Encoded, shared?: SharedResources): LaunchOutline {
  const outline: LaunchOutline = {
    frameworkId: '',
    agentId: '',
    taskId: '',
    resources: undefined,
    role: '',
    commandNumber: 0,
    acceptedAtMs: 0,
    groupId: '',
    whole,
  };
  let resourcesFrom = -1;
  let resourcesTo = 0;
  while (fields.next()) {
    if (shared === undefined && fields.number !== 10) continue;
    switch (fields.number) {
      case 1:
        outline.frameworkId = fields.sharedText(before?.frameworkId);
        break;
      case 2:
        outline.agentId = fields.sharedText(before?.agentId);
        break;
      case 3:
        outline.taskId = readTaskId(fields.inner());
        break;
      case 4:
        if (resourcesFrom < 0) resourcesFrom = fields.start;
        resourcesTo = fields.to;
        break;
      case 5:
        outline.role = fields.sharedText(before?.role);
        break;
      case 6:
        outline.commandNumber = fields.count();
        break;
      case 10:
        outline.acceptedAtMs = fields.double();
        break;
      case 11:
        outline.groupId = fields.text();
    }
  }
  if (shared === undefined) return outline;
  before = outline;
  outline.resources = noResources;
  if (resourcesFrom < 0) return outline;
  outline.resources = readResources(shared, fields.bytes, resourcesFrom, resourcesTo);
  return outline;
}

function readResources(shared: SharedResources, bytes: Buffer, from: number, to: number): Resources | undefined {
  try {
    return shareEncoded(shared, bytes, from, to, 4);
  } catch {
    return undefined;
  }
}

/** Field 2 of a TaskInfo or 1 of a TaskStatus is a TaskID, whose field 1 is the text. */
function readTaskId(task: Fields): string {
  while (task.next()) {
    if (task.number !== 2) continue;
    const id = task.inner();
    while (id.next()) if (id.number === 1) return id.text();
  }
  return '';
}

function readChanged(fields: Fields, keep: Keep): ChangeOutline {
  const outline: ChangeOutline = {
    frameworkId: '',
    taskId: '',
    commandNumber: 0,
    state: v1.TaskChanged.prototype.state,
    status: undefined,
    statusState: undefined,
    updateNumber: 0,
    acknowledgedNumber: 0,
    changedAtMs: 0,
    unknown: nothing,
  };
  while (fields.next()) {
    switch (fields.number) {
      case 1:
        readKey(outline, fields.inner());
        break;
      case 2:
        outline.commandNumber = fields.count();
        break;
      case 3:
        outline.state = fields.count();
        break;
      case 4:
        outline.status = keep(fields);
        outline.statusState = readState(fields.inner());
        break;
      case 5:
        outline.updateNumber = fields.count();
        break;
      case 6:
        outline.acknowledgedNumber = fields.count();
        break;
      case 7:
        outline.changedAtMs = fields.double();
        break;
      default:
        outline.unknown = (outline.unknown + fields.whole()) as Packed;
    }
  }
  return outline;
}

function readKey(outline: ChangeOutline, key: Fields): void {
  while (key.next()) {
    if (key.number === 1) outline.frameworkId = key.text();
    else if (key.number === 2) outline.taskId = key.text();
  }
}

/** Field 2 of a TaskStatus. */
function readState(status: Fields): TaskState | undefined {
  while (status.next()) if (status.number === 2) return status.count();
  return undefined;
}

function readSnapshot(fields: Fields, keep: Keep, shared?: SharedResources): SnapshotOutline {
  const outline: SnapshotOutline = {
    launched: undefined,
    latest: undefined,
    killIssued: false,
    departed: false,
    completedNumber: 0,
  };
  while (fields.next()) {
    switch (fields.number) {
      case 1:
        outline.launched = readLaunched(fields.inner(), keep(fields), shared);
        break;
      case 2:
        outline.latest = readChanged(fields.inner(), keep);
        break;
      case 3:
        outline.killIssued = fields.count() === 1;
        break;
      case 4:
        outline.departed = fields.count() === 1;
        break;
      case 5:
        outline.completedNumber = fields.count();
    }
  }
  return outline;
}
