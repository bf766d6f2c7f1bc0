/*
 * The core of the registry, table of contents.
 *
 *   ledger       the state that all records add up to: createLedger, applyRecord
 *   shards       a ledger as the records that make it, part by part; ledger-hash: whether two ledgers hold the same
 *   log-writer   records into entries, one append in flight; log-reader: entries back into records
 *   snapshot-*   a ledger in values, of which those that have not changed stay; which generations are kept
 *   leadership   who may write: the campaign, and what its lease still allows; evidence: whether a leader is gone
 *   task-state   which moves of a task are legal, which states hold resources
 */

export {
  type Campaign,
  type CampaignEffect,
  type CampaignInput,
  type CampaignOptions,
  createCampaign,
  type LeaseState,
  leaseState,
  nextCampaignAt,
  stepCampaign,
} from './leadership.ts';
export {
  type AgentEntry,
  applyEncoded,
  applyRecord,
  type CallEntry,
  type ClusterEntry,
  createLedger,
  type ExecutorEntry,
  executorKeyOf,
  type FrameworkEntry,
  type Holding,
  holdingKey,
  isCompleted,
  type Ledger,
  operationIdOf,
  type TaskEntry,
  taskKeyOf,
} from './ledger.ts';
export { hashLedger, ledgerHash } from './ledger-hash.ts';
export { entryKey, indexOfKey, leaderKey } from './log-keys.ts';
export {
  createLogReader,
  type LogMessage,
  type LogPosition,
  type LogReader,
  type LogReaderEffect,
  positionOf,
  type ReadEntry,
  readMessage,
  type SnapshotWanted,
  startAfter,
} from './log-reader.ts';
export {
  abandon,
  barrier,
  createLogWriter,
  type LogWriter,
  type LogWriterEffect,
  type LogWriterInput,
  type LogWriterOptions,
  type Moment,
  maxEntryBytes,
  maxQueuedBytes,
  maxRecordBytes,
  nextTickAt,
  resign,
  type StoredRecord,
  type SubmitResult,
  stepLogWriter,
  submit,
} from './log-writer.ts';
export { answerQuery, type QueryAnswer, type RegistryFacts } from './queries.ts';
export { clearDirty, dirtyShards, recordsOf, recordsOfShard, shardCount } from './shards.ts';
export { canMove, holdsResources, isTerminal, type TaskState } from './task-state.ts';
