/* What operators and their tools need: which cluster to talk to, reading its state, changing it. */

export { type Connection, type ConnectionOptions, openConnection } from './connection.ts';
export { type ClusterContext, type ContextSources, contextFile, findContext, NoContextError } from './context.ts';
export type { RoleExplanation, Withheld, WithheldReason } from './explanation.ts';
export type { FileEntry, FileListing, FileRange, SandboxFiles, TaskKey } from './files.ts';
export type { InverseOfferAnswer, Machine, MaintenanceStatus, MaintenanceWindow } from './maintenance.ts';
export {
  connectOperator,
  type DrainOptions,
  type ExplainOptions,
  type Operator,
  type OperatorOptions,
  type StoryFilter,
  type TaskFilter,
} from './operator.ts';
export type { Quota, QuotaSummary, RoleQuota, ScalarAmounts } from './quota.ts';
export type {
  AttachOptions,
  ContainerSession,
  ExecOptions,
  SessionEnd,
  SessionOutput,
  TerminalSize,
} from './session.ts';
export type { TaskKill, TaskStory, TaskUpdate } from './task-history.ts';
export type { AgentUsage, ContainerUsage, MachineUsage } from './usage.ts';
export type {
  AgentConnection,
  AgentSummary,
  ClusterStatus,
  Connections,
  ExecutorSummary,
  FrameworkConnection,
  FrameworkSummary,
  OpenOfferSummary,
  OperationSummary,
  RoleSummary,
  ShareSummary,
  TaskSummary,
} from './views.ts';
export type { Supposed, SupposedOffers, WhatIfChanges, WhatIfResult } from './what-if.ts';
