/* What a framework author needs to write a scheduler. */

export type { SchedulerCallbacks } from './callbacks.ts';
export { type Command, type Environment, type SecretReference, secretOf, type Uri } from './command.ts';
export type { Wanted } from './demand.ts';
export type { Executor } from './executor.ts';
export type { Capability, FrameworkSettings } from './framework.ts';
export { type InverseOffer, Offer } from './offer.ts';
export type { Operation } from './operation.ts';
export { Scheduler } from './scheduler.ts';
export { type EndReason, SchedulerEndedError } from './scheduler-ended-error.ts';
export type { MasterInfo, SchedulerEvent } from './scheduler-event.ts';
export type { CallResult, OfferOptions, SchedulerOptions, StopOptions } from './scheduler-options.ts';
export type { Task } from './task.ts';
export {
  isEndState,
  type OperationStatus,
  type TaskReason,
  type TaskState,
  type TaskStatus,
  type TaskStatusSource,
} from './task-status.ts';
