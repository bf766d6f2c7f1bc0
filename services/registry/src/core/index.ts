/*
 * The core of the registry, table of contents.
 *
 *   ledger       the state that all records add up to: createLedger, applyRecord
 *   records-of   a ledger as the records that make it; ledger-hash: whether two ledgers hold the same
 *   task-state   which moves of a task are legal, which states hold resources
 */

export {
  type AgentEntry,
  applyRecord,
  type CallEntry,
  type ClusterEntry,
  createLedger,
  type FrameworkEntry,
  type Holding,
  holdingKey,
  isCompleted,
  type Ledger,
  operationKey,
  type TaskEntry,
} from './ledger.ts';
export { ledgerHash } from './ledger-hash.ts';
export { recordsOf } from './records-of.ts';
export { canMove, holdsResources, isTerminal, type TaskState } from './task-state.ts';
