import { mesobus } from '@mesobus/protos';
import { tryDecode } from './try-decode.ts';

/** Beginnings of ids; that of the task is never empty. */
export interface WantedTasks {
  readonly frameworkId: string;
  readonly taskId: string;
}

/**
 * What an entry of the log says about the tasks that are wanted: launches, changes, removals and kills.
 *
 * @param bytes - an encoded LogEntry; anything else says nothing
 */
export function taskFactsIn(bytes: Uint8Array, wanted: WantedTasks): mesobus.v1.TaskFact.$Properties[] {
  // Most entries are about others: to find that out they need not be decoded.
  if (!asBuffer(bytes).includes(wanted.taskId)) return [];
  const entry = tryDecode(mesobus.v1.LogEntry, bytes);
  if (entry === undefined) return [];
  const { index: logIndex, writtenAtMs } = entry;
  return entry.records
    .filter((record) => asBuffer(record).includes(wanted.taskId) && isWanted(record, wanted))
    .map((record) => ({ logIndex, writtenAtMs, record }));
}

/** When an entry was written, in ms since 1970. */
export const writtenAtMs = (bytes: Uint8Array): number => tryDecode(mesobus.v1.LogEntry, bytes)?.writtenAtMs ?? 0;

function isWanted(bytes: Uint8Array, wanted: WantedTasks): boolean {
  const record = tryDecode(mesobus.v1.Record, bytes);
  const { taskLaunched: launched, taskChanged, taskRemoved, commandIssued } = record ?? {};
  const key = launched
    ? { frameworkId: launched.frameworkId, taskId: launched.task?.taskId.value ?? '' }
    : (taskChanged?.task ?? taskRemoved?.task ?? commandIssued?.command?.killTask?.task);
  return key ? key.frameworkId.startsWith(wanted.frameworkId) && key.taskId.startsWith(wanted.taskId) : false;
}

const asBuffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
