import { isSubroleOf } from '../resources/index.ts';
import { type Action, objectsOf } from './actions.ts';

/** Principals, or objects, of a rule. */
export type Entity = 'ANY' | 'NONE' | Some;

export interface Some {
  readonly values: ReadonlySet<string>;
  /** Roles of which those below are meant, and they are not: `eng` for `eng/%`. */
  readonly below: readonly string[];
}

export interface Rule {
  readonly principals: Entity;
  readonly objects: Entity;
}

/** Who may do what. */
export interface Acls {
  /** What no rule speaks of is allowed. */
  readonly permissive: boolean;
  readonly rules: ReadonlyMap<Action, readonly Rule[]>;
}

export type Decision = { readonly allowed: true } | { readonly allowed: false; readonly why: string };

/**
 * Decides as Mesos does: the first rule of the action that speaks of the principal and of the object counts. One with
 * NONE speaks of everybody, or of everything, and denies it.
 *
 * @param object - undefined: of which it is, nobody knows; only a rule for ANY allows that
 */
export function authorize(acls: Acls, principal: string, action: Action, object: string | undefined): Decision {
  const rules = acls.rules.get(action) ?? [];
  const number = rules.findIndex(({ principals, objects }) => covers(principals, principal) && covers(objects, object));
  const rule = rules[number];
  const allowed = rule === undefined ? acls.permissive : rule.principals !== 'NONE' && rule.objects !== 'NONE';
  if (allowed) return { allowed: true };
  const whose = `${objectsOf(action)} ${object === undefined ? 'ANY' : `'${object}'`}`;
  const because = rule === undefined ? 'no rule of the ACLs allows it' : `'${action}[${number}]' of the ACLs denies it`;
  return { allowed: false, why: `principal '${principal}' may not ${action} for ${whose}: ${because}` };
}

function covers(entity: Entity, value: string | undefined): boolean {
  if (entity === 'ANY' || entity === 'NONE') return true;
  if (value === undefined) return false;
  return entity.values.has(value) || entity.below.some((role) => isSubroleOf(value, role));
}
