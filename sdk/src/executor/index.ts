/* What a framework author needs to write an executor. */

export { AgentRefusedError } from './agent-link.ts';
export type { ExecutorCallbacks, ExecutorRegistration, LaunchedTask } from './callbacks.ts';
export { connectExecutor, type Executor, type ExecutorEnd, type ExecutorOptions } from './executor.ts';
export type { StatusUpdate } from './status.ts';
