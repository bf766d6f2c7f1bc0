import type { Acls, Entity, Rule } from './acls.ts';
import { type Action, actions, isAction, objectsOf } from './actions.ts';

export type AclsParsed =
  | {
      readonly ok: true;
      readonly acls: Acls;
      /** What in them has no effect. */
      readonly warnings: readonly string[];
    }
  /** With the path of each field that is wrong, and what it should be. */
  | { readonly ok: false; readonly problems: readonly string[] };

/**
 * Reads ACLs as Mesos' local authorizer has them: JSON with a list of rules for each action. Unlike there, what no rule
 * speaks of is denied unless `permissive` is true.
 */
export function parseAcls(text: string): AclsParsed {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    return { ok: false, problems: [`it is not JSON: ${error instanceof Error ? error.message : String(error)}`] };
  }
  if (!isObject(json)) return { ok: false, problems: ['it is not an object with a list of rules for each action'] };
  const reader = new Reader();
  const { permissive = false, ...rest } = json;
  if (typeof permissive !== 'boolean') reader.problem('permissive', 'is neither true nor false');
  const rules = new Map<Action, Rule[]>();
  for (const [name, list] of Object.entries(rest)) {
    const read = reader.rules(name, list);
    if (isAction(name)) rules.set(name, read);
  }
  const { problems, warnings } = reader;
  return problems.length > 0
    ? { ok: false, problems }
    : { ok: true, acls: { permissive: permissive === true, rules }, warnings };
}

/** Reads rules, and gathers what is wrong with them. */
class Reader {
  readonly problems: string[] = [];
  readonly warnings: string[] = [];

  problem(path: string, what: string): void {
    this.problems.push(`'${path}' ${what}`);
  }

  rules(action: string, list: unknown): Rule[] {
    const objects = objectsOf(action);
    if (objects === undefined) {
      this.problem(action, `is no action: use ${actions.map((name) => `'${name}'`).join(', ')}, or 'permissive'`);
      return [];
    }
    if (!isAction(action)) this.warnings.push(`'${action}' has no effect: Mesobus does not decide about that`);
    if (!Array.isArray(list)) {
      this.problem(
        action,
        `is not a list of rules, each like {"principals":{"type":"ANY"},"${objects}":{"type":"ANY"}}`,
      );
      return [];
    }
    return list.map((rule, index) => this.#rule(`${action}[${index}]`, objects, rule));
  }

  #rule(path: string, objects: string, rule: unknown): Rule {
    if (!isObject(rule)) {
      this.problem(path, `is not an object with 'principals' and '${objects}'`);
      return { principals: 'NONE', objects: 'NONE' };
    }
    for (const name of Object.keys(rule)) {
      if (name !== 'principals' && name !== objects) {
        this.problem(`${path}.${name}`, `is not known there: a rule has 'principals' and '${objects}'`);
      }
    }
    return {
      principals: this.#entity(`${path}.principals`, rule['principals'], false),
      objects: this.#entity(`${path}.${objects}`, rule[objects], objects === 'roles'),
    };
  }

  /** @param areRoles - `eng/%` stands for what is below `eng` */
  #entity(path: string, entity: unknown, areRoles: boolean): Entity {
    if (!isObject(entity)) {
      const what = entity === undefined ? 'is missing' : 'is not an object';
      this.problem(path, `${what}: give {"values":[…]}, {"type":"ANY"} or {"type":"NONE"}`);
      return 'NONE';
    }
    const { type = 'SOME', values, ...others } = entity;
    for (const name of Object.keys(others))
      this.problem(`${path}.${name}`, "is not known there: use 'values' or 'type'");
    if (type === 'ANY' || type === 'NONE') {
      if (values !== undefined) this.problem(`${path}.values`, `is not possible with the type ${type}`);
      return type;
    }
    if (type !== 'SOME') this.problem(`${path}.type`, `is ${JSON.stringify(type)}: use "ANY", "NONE" or "SOME"`);
    return this.#some(`${path}.values`, values, areRoles);
  }

  #some(path: string, values: unknown, areRoles: boolean): Entity {
    if (!Array.isArray(values) || values.length === 0) {
      this.problem(path, 'is not a list of at least one text; for nobody and nothing give {"type":"NONE"}');
      return 'NONE';
    }
    for (const [index, value] of values.entries()) {
      if (typeof value !== 'string' || value === '')
        this.problem(`${path}[${index}]`, 'is not a text, or an empty one');
    }
    const texts = values.filter((value) => typeof value === 'string');
    const isBelow = (text: string): boolean => areRoles && text.endsWith('/%');
    return {
      values: new Set(texts.filter((text) => !isBelow(text))),
      below: texts.filter(isBelow).map((text) => text.slice(0, -'/%'.length)),
    };
  }
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
