import { mesos } from '@mesobus/protos';

const { Secret } = mesos.v1;
const { Variable } = mesos.v1.Environment;
const { REFERENCE } = Secret.Type;

/**
 * What is wrong with the secrets of a task or an executor, in a sentence; undefined if nothing is. What is launched stands
 * in the log for all who may ask: of a secret only the name may be there.
 */
export function secretProblem(info: object): string | undefined {
  for (const part of partsOf(info)) {
    if (part instanceof Variable) {
      const problem = variableProblem(part);
      if (problem !== undefined) return problem;
    }
    if (!(part instanceof Secret)) continue;
    if (part.type !== REFERENCE || part.value) {
      return 'A secret is given by its value, which would stand in the log in clear: keep it in a file below --secrets-dir of the agents, and give a REFERENCE with its name';
    }
    if (!part.reference?.name) return 'A secret of type REFERENCE has no reference with a name';
  }
  return undefined;
}

function variableProblem({ name, type, value, secret }: mesos.v1.Environment.Variable): string | undefined {
  if (type !== Variable.Type.SECRET) {
    return secret ? `The variable '${name}' has a secret, and is not of type SECRET` : undefined;
  }
  if (value !== '') return `The variable '${name}' of type SECRET has a value: give a secret only`;
  return secret ? undefined : `The variable '${name}' of type SECRET has no secret`;
}

/** The names of the secrets that a task or an executor refers to. */
export function* secretNamesIn(info: object): Iterable<string> {
  for (const part of partsOf(info)) if (part instanceof Secret && part.reference) yield part.reference.name;
}

/** All messages within a message, and itself. */
function* partsOf(message: object): Iterable<object> {
  yield message;
  for (const value of Object.values(message)) {
    if (typeof value === 'object' && value !== null && !ArrayBuffer.isView(value)) yield* partsOf(value);
  }
}
