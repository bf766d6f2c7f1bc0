import { encode, mesos } from '@mesobus/protos';
import { type Resources, toWire } from '@mesobus/sdk/resources';
import { equalBytes } from './on-acknowledge.ts';
import { secretProblem } from './secret-problem.ts';
import { idProblem, judgeResources } from './task-problem.ts';

type ExecutorInfo = mesos.v1.ExecutorInfo;
const { DEFAULT, CUSTOM, UNKNOWN } = mesos.v1.ExecutorInfo.Type;

/** What an executor may not differ from. */
export interface ExecutorContext {
  readonly frameworkId: string;
  readonly role: string;
  /** It is to run a group of tasks, and not tasks one by one. */
  readonly isForGroup: boolean;
}

export type ExecutorJudged =
  | { readonly ok: true; readonly info: ExecutorInfo; readonly resources: Resources }
  | { readonly ok: false; readonly why: string };

/**
 * Checks all that can be checked of an executor by itself.
 *
 * @returns it as agents are told of it, and what it asks for, in nobody's name; or what is wrong with it, in a sentence
 */
export function judgeExecutor(info: ExecutorInfo, context: ExecutorContext): ExecutorJudged {
  const problem =
    idProblem('executor', info.executorId.value) ??
    ownerProblem(info, context) ??
    kindProblem(info, context) ??
    secretProblem(info);
  if (problem !== undefined) return { ok: false, why: problem };
  const judged = judgeResources('executor', info.resources, context.role);
  if (!judged.ok) return judged;
  const { resources } = judged;
  const type = info.type === UNKNOWN ? CUSTOM : info.type;
  const frameworkId = new mesos.v1.FrameworkID({ value: context.frameworkId });
  const wire = toWire(resources).map((one) => new mesos.v1.Resource(one));
  return { ok: true, resources, info: new mesos.v1.ExecutorInfo({ ...info, type, frameworkId, resources: wire }) };
}

function ownerProblem({ frameworkId }: ExecutorInfo, context: ExecutorContext): string | undefined {
  if (!frameworkId || frameworkId.value === context.frameworkId) return undefined;
  return `The executor names framework '${frameworkId.value}' but is launched by '${context.frameworkId}'`;
}

function kindProblem(
  { type, command, container, shutdownGracePeriod }: ExecutorInfo,
  { isForGroup }: ExecutorContext,
): string | undefined {
  if ((shutdownGracePeriod?.nanoseconds ?? 0n) < 0n) return "The executor's 'shutdown_grace_period' is negative";
  if (isForGroup && type === UNKNOWN) return "The executor of a task group needs its 'type'";
  if (type !== DEFAULT) return command ? undefined : 'The executor has no command';
  if (!isForGroup) return 'The default executor runs task groups only: use LAUNCH_GROUP';
  if (command) return 'The default executor must not have a command';
  return container && container.type !== mesos.v1.ContainerInfo.Type.MESOS
    ? 'The default executor runs in containers of type MESOS only'
    : undefined;
}

/** Whether two are the same executor: one with the id of another must not differ from it in anything. */
export const isSameExecutor = (a: ExecutorInfo, b: ExecutorInfo): boolean =>
  equalBytes(encode(mesos.v1.ExecutorInfo, a), encode(mesos.v1.ExecutorInfo, b));
