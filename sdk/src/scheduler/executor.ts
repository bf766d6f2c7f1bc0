import { mesos } from '@mesobus/protos';
import { type ResourcesInput, toResources, toWire } from '../resources/index.ts';
import { type Command, commandInfoOf, durationOf, type Environment, labelsOf } from './command.ts';

type ExecutorInfo = mesos.v1.ExecutorInfo.$Properties;

/** What runs tasks on an agent: one process for all tasks with its id there, from the first of them on. */
export interface Executor {
  /** As long as one runs on an agent, everything else about it must stay the same there. */
  readonly id: string;
  /** The framework's own program (see `@mesobus/sdk/executor`). Without: the agent itself runs the tasks of groups. */
  readonly command?: Command;
  /** Its own, from its first task until it ends; those of its tasks come on top. */
  readonly resources?: ResourcesInput;
  /** Added to those of the command. */
  readonly env?: Environment;
  /** For people. */
  readonly name?: string;
  readonly labels?: Readonly<Record<string, string>>;
  /** How long it may take to end when it is shut down; default: what the agent allows. */
  readonly shutdownGraceMs?: number;
  readonly container?: mesos.v1.ContainerInfo.$Properties;
  /** What only the executor and the framework understand. */
  readonly data?: Uint8Array;
  /** Anything else of Mesos' ExecutorInfo; it goes over what is made of the fields above. */
  readonly raw?: Partial<ExecutorInfo>;
}

/**
 * @throws {TypeError} the executor has no id
 * @throws {MalformedResourceError} its resources cannot be read
 */
export function executorInfoOf(executor: Executor): ExecutorInfo {
  const { id, command, resources, env, name, labels, shutdownGraceMs, container, data, raw } = executor;
  if (id === '') throw new TypeError('Cannot launch with an executor without an id: give it one');
  const { CUSTOM, DEFAULT } = mesos.v1.ExecutorInfo.Type;
  return {
    executorId: { value: id },
    type: command === undefined ? DEFAULT : CUSTOM,
    ...(command !== undefined && { command: commandInfoOf(command, env) }),
    ...(resources !== undefined && { resources: toWire(toResources(resources)) }),
    ...(name !== undefined && { name }),
    ...(labels !== undefined && { labels: labelsOf(labels) }),
    ...(shutdownGraceMs !== undefined && { shutdownGracePeriod: durationOf(shutdownGraceMs) }),
    ...(container !== undefined && { container }),
    ...(data !== undefined && { data }),
    ...raw,
  };
}
