import { mesobus, mesos } from '@mesobus/protos';
import type { Resources } from '@mesobus/sdk/resources';
import { BackWriter } from './back-writer.ts';
import type { OwnAgent, TaskEntry } from './ledger.ts';
import { type ChangeOutline, type LaunchOutline, outlineSnapshot, type SnapshotOutline } from './outlines.ts';
import { asBuffer, type Encoded, isEncoded, type Packed, pack, packBytes, Slice, unpack } from './packed.ts';
import type { TaskState } from './task-state.ts';

const v1 = mesobus.v1;

/** Who resources are accounted to: one object for all tasks of a framework in a role. */
export interface Account {
  readonly frameworkId: string;
  readonly role: string;
  /** {@link holdingKey} of the two. */
  readonly key: string;
}

/** Of a task what is seldom asked for. */
interface Details {
  launched: mesobus.v1.TaskLaunched | Encoded;
  status: mesos.v1.TaskStatus | Encoded | undefined;
  statusState: TaskState | undefined;
  updateNumber: number;
  acknowledgedNumber: number;
  changedAtMs: number;
  killIssued: boolean;
  departed: boolean;
  /** It waits to be cooled. */
  queued: boolean;
  /** Something was said of it since its launch. */
  changed: boolean;
  /** Of the latest change: fields that this version does not know. */
  unknown: Packed;
}

/**
 * A task as the reducer sees it. There may be a million of them, and of most nothing is asked for a long time: beside
 * what is counted with, such a task has its encoded record alone. That is a view of the value of a snapshot that it came
 * in, or a text of its own.
 */
export class OwnTask implements TaskEntry {
  readonly agent: OwnAgent;
  readonly account: Account;
  readonly taskId: string;
  readonly resources: Resources;
  readonly commandNumber: number;
  group: OwnTask[] | undefined = undefined;
  state: TaskState;
  /** Its place in the order of completion; 0 if it is not completed. */
  completedNumber = 0;
  /** Encoded, if it is cold: as a text, or somewhere in the value of a snapshot. */
  #rest: Details | Packed | Buffer;
  /** Where in a value. As a {@link Slice} of its own it would take a third more. */
  #from = 0;
  #to = 0;

  /**
   * @param resources - those of the launch
   * @param state - as of its snapshot
   * @param record - the encoded Record of that; undefined: it was just launched
   */
  constructor(
    agent: OwnAgent,
    account: Account,
    resources: Resources,
    launched: LaunchOutline,
    state: TaskState = mesos.v1.TaskState.TASK_STAGING,
    record?: Slice,
  ) {
    this.agent = agent;
    this.account = account;
    this.taskId = launched.taskId;
    this.resources = resources;
    this.commandNumber = launched.commandNumber;
    this.state = state;
    if (record === undefined) this.#rest = detailsOf(launched);
    else {
      this.#rest = record.bytes;
      this.#from = record.from;
      this.#to = record.to;
    }
  }

  get frameworkId(): string {
    return this.account.frameworkId;
  }

  get role(): string {
    return this.account.role;
  }

  get agentId(): string {
    return this.agent.id;
  }

  get groupId(): string {
    return this.launched.groupId;
  }

  get launched(): mesobus.v1.TaskLaunched {
    const { launched } = this.#seen();
    return isEncoded(launched) ? unpack(v1.TaskLaunched, launched) : launched;
  }

  get status(): mesos.v1.TaskStatus | undefined {
    const { status } = this.#seen();
    return isEncoded(status) ? unpack(mesos.v1.TaskStatus, status) : status;
  }

  get statusState(): TaskState | undefined {
    return this.#seen().statusState;
  }

  get updateNumber(): number {
    return this.#seen().updateNumber;
  }

  get acknowledgedNumber(): number {
    return this.#seen().acknowledgedNumber;
  }

  get changedAtMs(): number {
    return this.#seen().changedAtMs;
  }

  get killIssued(): boolean {
    return this.#seen().killIssued;
  }

  issueKill(): void {
    this.#warmed().killIssued = true;
  }

  /** It leaves the ledger; it may stand in the launches of its agent. */
  depart(): void {
    this.#warmed().departed = true;
    this.completedNumber = 0;
  }

  /** Takes what a change says; the caller has seen that it may. */
  take(changed: ChangeOutline): void {
    this.state = changed.state;
    takeChange(this.#warmed(), changed);
  }

  /** Whether it is warm and does not wait to be cooled yet; from now on it does. */
  queue(): boolean {
    if (isCold(this.#rest) || this.#rest.queued) return false;
    this.#rest.queued = true;
    return true;
  }

  /** One that has left is not worth the work. */
  cool(): void {
    if (isCold(this.#rest)) return;
    if (this.#rest.departed) this.#rest.queued = false;
    else this.#rest = packBytes(asBuffer(this.encode()));
  }

  /** The encoded Record of a {@link mesobus.v1.TaskSnapshot}: a view that holds until the next task is encoded. */
  encode(): Uint8Array {
    const details = this.#seen();
    if (this.completedNumber > 0) writer.count(5, this.completedNumber);
    if (details.departed) writer.count(4, 1);
    if (details.killIssued) writer.count(3, 1);
    if (details.changed) writeLatest(this.state, details);
    writer.encoded(1, encodedLaunch(details.launched));
    writer.close(15, 0);
    return writer.finish();
  }

  /** To be read at once: it stays as cold as it is. */
  #seen(): Details {
    const rest = this.#rest;
    return isCold(rest) ? detailsOfSnapshot(outlineSnapshot(this.#record(rest), 'slice')) : rest;
  }

  /** To be changed. */
  #warmed(): Details {
    const rest = this.#rest;
    if (!isCold(rest)) return rest;
    const keep = typeof rest === 'string' ? 'packed' : 'slice';
    this.#rest = detailsOfSnapshot(outlineSnapshot(this.#record(rest), keep));
    return this.#rest;
  }

  #record(rest: Packed | Buffer): Slice {
    return typeof rest === 'string' ? new Slice(Buffer.from(rest, 'latin1')) : new Slice(rest, this.#from, this.#to);
  }
}

const isCold = (rest: Details | Packed | Buffer): rest is Packed | Buffer =>
  typeof rest === 'string' || rest instanceof Uint8Array;

const detailsOf = (launched: LaunchOutline): Details => ({
  launched: launched.whole,
  status: undefined,
  statusState: undefined,
  updateNumber: 0,
  acknowledgedNumber: 0,
  changedAtMs: launched.acceptedAtMs,
  killIssued: false,
  departed: false,
  queued: false,
  changed: false,
  unknown: '' as Packed,
});

function detailsOfSnapshot({ launched, latest, killIssued, departed }: SnapshotOutline): Details {
  const details = detailsOf(launched as LaunchOutline); // without a launch it would be no task
  details.killIssued = killIssued;
  details.departed = departed;
  if (latest !== undefined) takeChange(details, latest);
  return details;
}

function takeChange(details: Details, changed: ChangeOutline): void {
  if (changed.status !== undefined && changed.updateNumber >= details.updateNumber) {
    details.status = changed.status;
    details.statusState = changed.statusState;
  }
  details.updateNumber = Math.max(details.updateNumber, changed.updateNumber);
  details.acknowledgedNumber = Math.max(details.acknowledgedNumber, changed.acknowledgedNumber);
  details.changedAtMs = changed.changedAtMs;
  if (changed.unknown !== '') details.unknown = changed.unknown;
  details.changed = true;
}

const writer = new BackWriter();

function writeLatest(state: TaskState, details: Details): void {
  const { unknown, changedAtMs, acknowledgedNumber, updateNumber, status } = details;
  const before = writer.length;
  writer.raw(unknown);
  writer.double(7, changedAtMs);
  if (acknowledgedNumber > 0) writer.count(6, acknowledgedNumber);
  if (updateNumber > 0) writer.count(5, updateNumber);
  if (status !== undefined) writer.encoded(4, encodedStatus(status));
  writer.count(3, state);
  writer.close(2, before);
}

const encodedLaunch = (launched: mesobus.v1.TaskLaunched | Encoded): Encoded =>
  isEncoded(launched) ? launched : pack(v1.TaskLaunched, launched);

const encodedStatus = (status: mesos.v1.TaskStatus | Encoded): Encoded =>
  isEncoded(status) ? status : pack(mesos.v1.TaskStatus, status);
