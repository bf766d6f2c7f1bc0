import { mesos } from '@mesobus/protos';

const { Secret } = mesos.v1;
const { Variable } = mesos.v1.Environment;
const { REFERENCE } = Secret.Type;

/**
 * What is wrong with the secrets of a task or an executor, in a sentence; undefined if nothing is. What is launched
 * stands in the log for all who may ask: of a secret only the name may be there.
 */
export const secretProblem = (info: object): string | undefined => findIn(info, partProblem);

/** The names of the secrets that a task or an executor refers to. */
export function secretNamesIn(info: object): string[] {
  const names: string[] = [];
  findIn(info, (part) => {
    if (part instanceof Secret && part.reference) names.push(part.reference.name);
    return undefined;
  });
  return names;
}

/** Looks at a message and at all within it until something is found. Each launch is looked at: no copies. */
function findIn<T>(message: object, find: (part: object) => T | undefined): T | undefined {
  const found = find(message);
  if (found !== undefined) return found;
  for (const name of Object.keys(message)) {
    const value: unknown = message[name as never];
    if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) continue;
    const within = findIn(value, find);
    if (within !== undefined) return within;
  }
  return undefined;
}

function partProblem(part: object): string | undefined {
  if (part instanceof Variable) return variableProblem(part);
  if (!(part instanceof Secret)) return undefined;
  if (part.type !== REFERENCE || part.value) {
    const remedy = 'keep it in a file below --secrets-dir of the agents, and give a REFERENCE with its name';
    return `A secret is given by its value, which would stand in the log in clear: ${remedy}`;
  }
  return part.reference?.name ? undefined : 'A secret of type REFERENCE has no reference with a name';
}

function variableProblem({ name, type, value, secret }: mesos.v1.Environment.Variable): string | undefined {
  if (type !== Variable.Type.SECRET) {
    return secret ? `The variable '${name}' has a secret, and is not of type SECRET` : undefined;
  }
  if (value !== '') return `The variable '${name}' of type SECRET has a value: give a secret only`;
  return secret ? undefined : `The variable '${name}' of type SECRET has no secret`;
}
