import { actions, objectsOf } from '@mesobus/sdk/authorization';
import type { ClientKind } from '@mesobus/sdk/bus';

/** ACLs as their file has them. */
export type AclsJson = Readonly<Record<string, unknown>>;

interface RuleJson {
  readonly principals?: { readonly values?: readonly string[] };
  readonly [objects: string]: unknown;
}

const anything = { type: 'ANY' };

/** What a new folder begins with: agents may come under the names of their credentials, all else is to be allowed. */
export const firstAcls: AclsJson = {
  permissive: false,
  register_agents: [{ principals: anything, agents: anything }],
};

/** Allows what a client is added for: a framework its roles, and tasks as any user; an operator everything. */
export function allowed(
  acls: AclsJson,
  client: { readonly kind: ClientKind; readonly name: string },
  roles: readonly string[],
): AclsJson {
  const { kind, name } = client;
  let next = forgotten(acls, name);
  const allow = (action: string, objects: unknown): void => {
    const rule = { principals: { values: [name] }, [objectsOf(action) as string]: objects };
    // Behind what stands there: the first rule that fits counts, and one that denies to all has to come first.
    next = { ...next, [action]: [...rulesOf(next, action), rule] };
  };
  const inRoles = roles.length === 0 ? anything : { values: [...roles] };
  if (kind === 'operator') {
    for (const action of actions) allow(action, action === 'register_frameworks' ? inRoles : anything);
  } else if (kind === 'framework' && roles.length > 0) {
    allow('register_frameworks', inRoles);
    allow('run_tasks', anything);
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
