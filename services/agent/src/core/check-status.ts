import { mesos } from '@mesobus/protos';
import type { CheckResult } from './checks.ts';
import type { Launch } from './state.ts';

const { CheckInfo } = mesos.v1;

/** As schedulers get it; without a value where nothing came back. */
export function statusOf(launch: Pick<Launch, 'task'>, result: CheckResult): mesos.v1.CheckStatusInfo.$Properties {
  const empty = emptyStatus(launch);
  if (result.kind === 'http') return { ...empty, http: { statusCode: result.statusCode } };
  if (result.kind === 'tcp') return { ...empty, tcp: { succeeded: result.succeeded } };
  const exited = result.kind === 'command' && (result.status & 0x7f) === 0;
  return exited ? { ...empty, command: { exitCode: (result.status >> 8) & 0xff } } : empty;
}

/** What is said of a check that has seen nothing. */
export function emptyStatus({ task }: Pick<Launch, 'task'>): mesos.v1.CheckStatusInfo.$Properties {
  const { COMMAND, HTTP } = CheckInfo.Type;
  const type = task?.check?.type ?? COMMAND;
  if (type === COMMAND) return { type, command: {} };
  return type === HTTP ? { type, http: {} } : { type, tcp: {} };
}

type Status = mesos.v1.CheckStatusInfo.$Properties | undefined;

export const sameStatus = (a: Status, b: Status): boolean =>
  a?.command?.exitCode === b?.command?.exitCode &&
  a?.http?.statusCode === b?.http?.statusCode &&
  a?.tcp?.succeeded === b?.tcp?.succeeded;
