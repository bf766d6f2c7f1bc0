import { mesobus, mesos } from '@mesobus/protos';
import type { Resources } from '@mesobus/sdk/resources';
import { BackWriter } from './back-writer.ts';
import type { OwnAgent, TaskEntry } from './ledger.ts';
import type { ChangeOutline, LaunchOutline } from './outlines.ts';
import { type Encoded, isEncoded, type Packed, pack, unpack } from './packed.ts';
import type { TaskState } from './task-state.ts';

const v1 = mesobus.v1;

/** A task as the reducer sees it. There may be a million of them. */
export class OwnTask implements TaskEntry {
  readonly frameworkId: string;
  readonly taskId: string;
  readonly agent: OwnAgent;
  readonly role: string;
  readonly resources: Resources;
  readonly commandNumber: number;
  readonly groupId: string;
  group: OwnTask[] | undefined = undefined;
  state: TaskState = mesos.v1.TaskState.TASK_STAGING;
  statusState: TaskState | undefined = undefined;
  updateNumber = 0;
  acknowledgedNumber = 0;
  changedAtMs: number;
  killIssued = false;
  /** It has left the ledger; it stands in the launches of its agent alone. */
  departed = false;
  /** Its place in the order of completion; 0 if it is not completed. */
  completedNumber = 0;
  /** It waits to be cooled. */
  queued = false;
  /** Something was said of it since its launch. */
  #changed = false;
  #launched: mesobus.v1.TaskLaunched | Encoded;
  #status: mesos.v1.TaskStatus | Encoded | undefined = undefined;
  /** Of the latest change: fields that this version does not know. */
  #unknown = '' as Packed;

  /** @param frameworkId - the text that others hold, too */
  constructor(agent: OwnAgent, frameworkId: string, role: string, resources: Resources, launched: LaunchOutline) {
    this.agent = agent;
    this.frameworkId = frameworkId;
    this.taskId = launched.taskId;
    this.role = role;
    this.resources = resources;
    this.commandNumber = launched.commandNumber;
    this.groupId = launched.groupId;
    this.changedAtMs = launched.acceptedAtMs;
    this.#launched = launched.whole;
  }

  get agentId(): string {
    return this.agent.id;
  }

  get launched(): mesobus.v1.TaskLaunched {
    const launched = this.#launched;
    return isEncoded(launched) ? unpack(v1.TaskLaunched, launched) : launched;
  }

  get status(): mesos.v1.TaskStatus | undefined {
    const status = this.#status;
    return isEncoded(status) ? unpack(mesos.v1.TaskStatus, status) : status;
  }

  /** Takes what a change says; the caller has seen that it may. */
  take(changed: ChangeOutline): void {
    this.state = changed.state;
    if (changed.status !== undefined && changed.updateNumber >= this.updateNumber) {
      this.#status = changed.status;
      this.statusState = changed.statusState;
    }
    this.updateNumber = Math.max(this.updateNumber, changed.updateNumber);
    this.acknowledgedNumber = Math.max(this.acknowledgedNumber, changed.acknowledgedNumber);
    this.changedAtMs = changed.changedAtMs;
    if (changed.unknown !== '') this.#unknown = changed.unknown;
    this.#changed = true;
  }

  /** Whether parts of it are kept as messages: quick to read, and large. */
  get warm(): boolean {
    return !isEncoded(this.#launched) || (this.#status !== undefined && !isEncoded(this.#status));
  }

  cool(): void {
    this.#launched = encodedLaunch(this.#launched);
    if (this.#status !== undefined) this.#status = encodedStatus(this.#status);
  }

  /** The encoded Record of a {@link mesobus.v1.TaskSnapshot}: a view that holds until the next task is encoded. */
  encode(): Uint8Array {
    if (this.completedNumber > 0) writer.count(5, this.completedNumber);
    if (this.departed) writer.count(4, 1);
    if (this.killIssued) writer.count(3, 1);
    if (this.#changed) this.#writeLatest();
    writer.encoded(1, encodedLaunch(this.#launched));
    writer.close(15, 0);
    return writer.finish();
  }

  #writeLatest(): void {
    const before = writer.length;
    writer.raw(this.#unknown);
    writer.double(7, this.changedAtMs);
    if (this.acknowledgedNumber > 0) writer.count(6, this.acknowledgedNumber);
    if (this.updateNumber > 0) writer.count(5, this.updateNumber);
    if (this.#status !== undefined) writer.encoded(4, encodedStatus(this.#status));
    writer.count(3, this.state);
    writer.close(2, before);
  }
}

const writer = new BackWriter();

const encodedLaunch = (launched: mesobus.v1.TaskLaunched | Encoded): Encoded =>
  isEncoded(launched) ? launched : pack(v1.TaskLaunched, launched);

const encodedStatus = (status: mesos.v1.TaskStatus | Encoded): Encoded =>
  isEncoded(status) ? status : pack(mesos.v1.TaskStatus, status);
