import type { mesobus } from '@mesobus/protos';
import type { CallEntry } from './ledger.ts';
import { mark, type ShardMarks, shardOfMinute } from './shard-layout.ts';

const minuteMs = 60_000;
/** How long a call is remembered, in whole minutes of the time of the records. */
const keptMinutes = 10;

/**
 * The calls of the last ten minutes. Time is that of the newest record, so that every reader forgets the same ones. They
 * are forgotten a minute at a time, whatever order they came in.
 */
export interface RecentCalls {
  readonly entries: Map<string, CallEntry>;
  /** Ids by the minute in which they were recorded: at most `keptMinutes` + 1 of them. */
  readonly byMinute: Map<number, Set<string>>;
  newestMinute: number;
  readonly marks: ShardMarks;
}

export const createRecentCalls = (marks: ShardMarks): RecentCalls => ({
  marks,
  entries: new Map(),
  byMinute: new Map(),
  newestMinute: Number.NEGATIVE_INFINITY,
});

/** Takes a call, or the later word about one: a record that is older, or undoes `complete`, is void. */
export function recordCall(calls: RecentCalls, record: mesobus.v1.CallRecorded): void {
  const id = record.callId;
  const minute = Math.floor(record.recordedAtMs / minuteMs);
  if (id === '' || !Number.isFinite(minute) || minute < calls.newestMinute - keptMinutes) return;
  const before = calls.entries.get(id)?.record;
  if (before !== undefined) {
    if (before.recordedAtMs > record.recordedAtMs || (before.complete && !record.complete)) return;
    drop(calls, before);
  }

  mark(calls.marks, shardOfMinute(minute));
  calls.entries.set(id, { record });
  const peers = calls.byMinute.get(minute);
  if (peers === undefined) calls.byMinute.set(minute, new Set([id]));
  else peers.add(id);
  if (minute > calls.newestMinute) forget(calls, minute);
}

function drop(calls: RecentCalls, { callId, recordedAtMs }: mesobus.v1.CallRecorded): void {
  const minute = Math.floor(recordedAtMs / minuteMs);
  const peers = calls.byMinute.get(minute);
  mark(calls.marks, shardOfMinute(minute));
  peers?.delete(callId);
  if (peers?.size === 0) calls.byMinute.delete(minute);
}

function forget(calls: RecentCalls, newestMinute: number): void {
  calls.newestMinute = newestMinute;
  for (const [minute, ids] of calls.byMinute) {
    if (minute >= newestMinute - keptMinutes) continue;
    mark(calls.marks, shardOfMinute(minute));
    calls.byMinute.delete(minute);
    for (const id of ids) calls.entries.delete(id);
  }
}
