import type { mesos } from '@mesobus/protos';
import { type ResourcesInput, toResources, toWire } from '../resources/index.ts';
import { type Command, commandInfoOf, durationOf, type Environment, labelsOf } from './command.ts';
import { type Executor, executorInfoOf } from './executor.ts';

type TaskInfo = mesos.v1.TaskInfo.$Properties;

/** A task as a framework author writes it. */
export interface Task {
  /** Never use an id again: it is how you and Mesobus tell tasks apart. */
  readonly id: string;
  /** For people; default: the id. */
  readonly name?: string;
  /** Default: the agent of the offer that it is launched on. */
  readonly agentId?: string;
  /** What it runs. A task has this, or an executor; a task of a group may have it beside the executor of the group. */
  readonly command?: Command;
  /** What runs it. */
  readonly executor?: Executor;
  /** `{ cpus: 1, mem: 128 }`, in Mesos units, or resources taken from the offer. */
  readonly resources: ResourcesInput;
  /** Added to those of the command. */
  readonly env?: Environment;
  readonly labels?: Readonly<Record<string, string>>;
  /** How long a killed task may take to end by itself. */
  readonly killGraceMs?: number;
  /** The task fails when it runs for longer. */
  readonly maxCompletionMs?: number;
  readonly container?: mesos.v1.ContainerInfo.$Properties;
  readonly healthCheck?: mesos.v1.HealthCheck.$Properties;
  readonly check?: mesos.v1.CheckInfo.$Properties;
  readonly discovery?: mesos.v1.DiscoveryInfo.$Properties;
  /** What only the task and the framework understand. */
  readonly data?: Uint8Array;
  /** Anything else of Mesos' TaskInfo; it goes over what is made of the fields above. */
  readonly raw?: Partial<TaskInfo>;
}

/**
 * @param agentId - of the offer
 * @throws {TypeError} the task has no id, or its executor has none
 * @throws {MalformedResourceError} its resources cannot be read
 */
export function taskInfoOf(task: Task, agentId: string): TaskInfo {
  if (task.id === '') throw new TypeError('Cannot launch a task without an id: give it one that was never used');
  return {
    name: task.name ?? task.id,
    taskId: { value: task.id },
    agentId: { value: task.agentId ?? agentId },
    resources: toWire(toResources(task.resources)),
    ...(task.command !== undefined && { command: commandInfoOf(task.command, task.env) }),
    ...(task.executor !== undefined && { executor: executorInfoOf(task.executor) }),
    ...(task.labels !== undefined && { labels: labelsOf(task.labels) }),
    ...(task.killGraceMs !== undefined && { killPolicy: { gracePeriod: durationOf(task.killGraceMs) } }),
    ...(task.maxCompletionMs !== undefined && { maxCompletionTime: durationOf(task.maxCompletionMs) }),
    ...(task.container !== undefined && { container: task.container }),
    ...(task.healthCheck !== undefined && { healthCheck: task.healthCheck }),
    ...(task.check !== undefined && { check: task.check }),
    ...(task.discovery !== undefined && { discovery: task.discovery }),
    ...(task.data !== undefined && { data: task.data }),
    ...task.raw,
  };
}
