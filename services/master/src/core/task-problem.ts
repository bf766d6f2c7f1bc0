import { mesos } from '@mesobus/protos';
import { fromWire, type Resources, unallocate } from '@mesobus/sdk/resources';
import { secretProblem } from './secret-problem.ts';

const { CheckInfo, HealthCheck, KillPolicy } = mesos.v1;
type TaskInfo = mesos.v1.TaskInfo;

/** What a task may not differ from. */
export interface LaunchContext {
  readonly agentId: string;
  readonly role: string;
  /** The executor that runs the group it is of. */
  readonly group?: mesos.v1.ExecutorInfo | undefined;
}

export type TaskJudged =
  | { readonly ok: true; readonly resources: Resources }
  | { readonly ok: false; readonly why: string };

/**
 * Checks all that can be checked of a task by itself.
 *
 * @returns what it asks for, in nobody's name; or what is wrong with it, in a sentence
 */
export function judgeTask(task: TaskInfo, context: LaunchContext): TaskJudged {
  const problem =
    idProblem('task', task.taskId.value) ??
    placeProblem(task, context) ??
    (context.group ? howInGroupProblem(task, context.group) : howProblem(task)) ??
    timesProblem(task) ??
    checkProblem(task) ??
    secretProblem(task) ??
    (context.group ? groupContainerProblem(task) : containerProblem(task));
  if (problem !== undefined) return { ok: false, why: problem };
  const judged = judgeResources('task', task.resources, context.role);
  if (!judged.ok) return judged;
  if (judged.resources.length === 0) return { ok: false, why: 'The task asks for no resources' };
  const limits = limitsProblem(task);
  return limits === undefined ? judged : { ok: false, why: limits };
}

const maxIdLength = 255;

/** Says what is wrong with an id that a framework chose; undefined if nothing is. */
export function idProblem(what: string, id: string): string | undefined {
  if (id === '') return `The ${what} id is empty`;
  if (id.length > maxIdLength) return `The ${what} id is longer than ${maxIdLength} characters`;
  if (id === '.' || id === '..') return `'${id}' is not allowed as a ${what} id`;
  if (id.includes('/')) return `The ${what} id '${id}' contains a slash`;
  return /\p{Cc}/u.test(id) ? `The ${what} id contains control characters` : undefined;
}

function placeProblem(task: TaskInfo, { agentId }: LaunchContext): string | undefined {
  const named = task.agentId.value;
  if (named === agentId) return undefined;
  return `The task names agent '${named}' but the offer is of agent '${agentId}'`;
}

function howProblem(task: TaskInfo): string | undefined {
  if (task.command && task.executor) return 'The task has both a command and an executor: give exactly one';
  return task.command || task.executor ? undefined : 'The task has neither a command nor an executor: give exactly one';
}

function howInGroupProblem({ command, executor }: TaskInfo, group: mesos.v1.ExecutorInfo): string | undefined {
  if (executor && executor.executorId.value !== group.executorId.value) {
    return `The task names executor '${executor.executorId.value}', its group '${group.executorId.value}'`;
  }
  const isDefault = group.type === mesos.v1.ExecutorInfo.Type.DEFAULT;
  return isDefault && !command ? 'The task has no command, and the default executor runs nothing else' : undefined;
}

function timesProblem({ killPolicy, maxCompletionTime }: TaskInfo): string | undefined {
  const grace = (killPolicy ?? new KillPolicy()).gracePeriod?.nanoseconds ?? 0n;
  if (grace < 0n) return "The 'grace_period' of the kill policy is negative";
  if ((maxCompletionTime?.nanoseconds ?? 0n) < 0n) return "'max_completion_time' is negative";
  return undefined;
}

function checkProblem({ check, healthCheck }: TaskInfo): string | undefined {
  return (check ? checkInfoProblem(check) : undefined) ?? (healthCheck ? healthCheckProblem(healthCheck) : undefined);
}

function checkInfoProblem(check: mesos.v1.CheckInfo): string | undefined {
  const { COMMAND, HTTP, TCP } = CheckInfo.Type;
  const wanted = new Map<number, keyof mesos.v1.CheckInfo>([
    [COMMAND, 'command'],
    [HTTP, 'http'],
    [TCP, 'tcp'],
  ]).get(check.type);
  return shapeProblem('check', check, wanted) ?? pauseProblem('check', check);
}

function healthCheckProblem(check: mesos.v1.HealthCheck): string | undefined {
  const { COMMAND, HTTP, TCP } = HealthCheck.Type;
  const wanted = new Map<number, keyof mesos.v1.HealthCheck>([
    [COMMAND, 'command'],
    [HTTP, 'http'],
    [TCP, 'tcp'],
  ]).get(check.type);
  return shapeProblem('health check', check, wanted) ?? pauseProblem('health check', check);
}

function shapeProblem<T extends object>(what: string, check: T, wanted: keyof T | undefined): string | undefined {
  if (wanted === undefined) return `The type of the ${what} is missing or unknown`;
  return check[wanted]
    ? undefined
    : `The ${what} is of type ${String(wanted).toUpperCase()} but '${String(wanted)}' is missing`;
}

function pauseProblem(
  what: string,
  check: { delaySeconds: number; intervalSeconds: number; timeoutSeconds: number; gracePeriodSeconds?: number },
): string | undefined {
  const seconds = [
    ['delay_seconds', check.delaySeconds],
    ['interval_seconds', check.intervalSeconds],
    ['timeout_seconds', check.timeoutSeconds],
    ['grace_period_seconds', check.gracePeriodSeconds ?? 0],
  ] as const;
  const wrong = seconds.find(([, value]) => !(value >= 0));
  return wrong && `'${wrong[0]}' of the ${what} is ${wrong[1]}: give 0 or more`;
}

function containerProblem({ container }: TaskInfo): string | undefined {
  const linux = container?.linuxInfo;
  if (linux && !linux.shareCgroups) return "'share_cgroups' may be false in task groups only";
  return undefined;
}

function groupContainerProblem({ container, limits, check, healthCheck }: TaskInfo): string | undefined {
  if (container && container.type !== mesos.v1.ContainerInfo.Type.MESOS) {
    return 'Tasks of a group run in containers of type MESOS only';
  }
  const sharesCgroups = container?.linuxInfo?.shareCgroups ?? true;
  if (sharesCgroups && Object.keys(limits).length > 0) {
    return "Limits of a task of a group need 'share_cgroups' to be false";
  }
  const hasNetwork = (container?.networkInfos.length ?? 0) > 0;
  const overNetwork = [check, healthCheck].some((one) => one?.http || one?.tcp);
  return hasNetwork && overNetwork
    ? 'A task of a group with a network of its own cannot be checked over HTTP or TCP'
    : undefined;
}

/**
 * What a task or an executor asks for, in nobody's name.
 *
 * @param what - such as 'task'
 */
export function judgeResources(what: string, wire: readonly mesos.v1.Resource[], role: string): TaskJudged {
  const wrong = (why: string): TaskJudged => ({ ok: false, why });
  const names = new Map<string, boolean>();
  for (const { name, revocable, allocationInfo } of wire) {
    const before = names.get(name);
    if (before !== undefined && before !== Boolean(revocable))
      return wrong(`The ${what} mixes revocable and non-revocable '${name}'`);
    names.set(name, Boolean(revocable));
    const named = allocationInfo?.role;
    if (named && named !== role)
      return wrong(`The ${what} asks for resources of role '${named}', the offer is for role '${role}'`);
  }
  try {
    return { ok: true, resources: unallocate(fromWire(wire)) };
  } catch (error) {
    return wrong(`The ${what} uses invalid resources: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function limitsProblem(task: TaskInfo): string | undefined {
  for (const [name, { value }] of Object.entries(task.limits)) {
    if (name !== 'cpus' && name !== 'mem') return `A limit of '${name}' is not supported: only 'cpus' and 'mem' are`;
    const asked = task.resources.reduce((sum, one) => (one.name === name ? sum + (one.scalar?.value ?? 0) : sum), 0);
    if (asked === 0) return `The task has a limit of '${name}' but asks for none of it`;
    if (Number.isNaN(value) || value < asked) return `The limit of '${name}' is below what the task asks for`;
  }
  return undefined;
}
