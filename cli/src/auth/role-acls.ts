import { actions, objectsOf } from '@mesobus/sdk/authorization';
import type { ClientKind } from '@mesobus/sdk/bus';

/** ACLs as their file has them. */
export type AclsJson = Readonly<Record<string, unknown>>;

interface RuleJson {
  readonly principals?: { readonly values?: readonly string[] };
  readonly [objects: string]: unknown;
}

const anything = { type: 'ANY' };
const these = (values: readonly string[]): unknown => (values.length === 0 ? anything : { values: [...values] });

/** What a new folder begins with: agents may come under the names of their credentials, all else is to be allowed. */
export const firstAcls: AclsJson = {
  permissive: false,
  register_agents: [{ principals: anything, agents: anything }],
};

/** What its frameworks and tasks may be; left empty, anything. */
export interface Purpose {
  readonly roles: readonly string[];
  readonly users: readonly string[];
}

/** Allows what a client is added for: a framework its roles, and tasks as its users; an operator everything else too. */
export function allowed(
  acls: AclsJson,
  client: { readonly kind: ClientKind; readonly name: string },
  { roles, users }: Purpose,
): AclsJson {
  const { kind, name } = client;
  let next = forgotten(acls, name);
  const allow = (action: string, objects: unknown): void => {
    const rule = { principals: { values: [name] }, [objectsOf(action) as string]: objects };
    // Behind what stands there: the first rule that fits counts, and one that denies to all has to come first.
    next = { ...next, [action]: [...rulesOf(next, action), rule] };
  };
  const limited: Readonly<Record<string, unknown>> = { register_frameworks: these(roles), run_tasks: these(users) };
  if (kind === 'operator') {
    for (const action of actions) allow(action, limited[action] ?? anything);
  } else if (kind === 'framework' && roles.length > 0) {
    for (const [action, objects] of Object.entries(limited)) allow(action, objects);
  }
  return next;
}

/** Without what was allowed to a principal alone. */
export function forgotten(acls: AclsJson, name: string): AclsJson {
  const isOthers = ({ principals }: RuleJson): boolean => {
    const values = principals?.values;
    return values?.length !== 1 || values[0] !== name;
  };
  return Object.fromEntries(
    Object.entries(acls).map(([key, value]) => [
      key,
      Array.isArray(value) ? (value as RuleJson[]).filter(isOthers) : value,
    ]),
  );
}

const rulesOf = (acls: AclsJson, action: string): readonly unknown[] => {
  const rules = acls[action];
  return Array.isArray(rules) ? rules : [];
};
