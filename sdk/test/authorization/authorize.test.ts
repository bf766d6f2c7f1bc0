import test from 'ava';
import fc from 'fast-check';
import { type Acls, type Action, authorize, parseAcls } from '../../src/authorization/index.ts';

function aclsOf(json: object): Acls {
  const parsed = parseAcls(JSON.stringify(json));
  if (!parsed.ok) throw new Error(parsed.problems.join('\n'));
  return parsed.acls;
}

const any = { type: 'ANY' };
const none = { type: 'NONE' };
const some = (...values: string[]) => ({ values });

type Case = [what: string, json: object, asked: [string, Action, string | undefined], allowed: boolean];
const usersOf = (...rules: [principals: object, users: object][]) => ({
  run_tasks: rules.map(([principals, users]) => ({ principals, users })),
});
const rolesOf = (...values: string[]) => ({ register_frameworks: [{ principals: any, roles: some(...values) }] });

const cases: Case[] = [
  ['nothing is allowed where nothing is said', {}, ['p', 'run_tasks', 'u'], false],
  ['permissive ACLs allow what they do not speak of', { permissive: true }, ['p', 'run_tasks', 'u'], true],
  ['a rule allows its principals its objects', usersOf([some('p'), some('u')]), ['p', 'run_tasks', 'u'], true],
  ['a rule allows nobody else', usersOf([some('p'), some('u')]), ['q', 'run_tasks', 'u'], false],
  ['a rule allows nothing else', usersOf([some('p'), some('u')]), ['p', 'run_tasks', 'root'], false],
  ['a rule of one action is none of another', usersOf([any, any]), ['p', 'register_frameworks', 'r'], false],
  ['ANY principal is everybody', usersOf([any, some('u')]), ['p', 'run_tasks', 'u'], true],
  ['ANY object is everything', usersOf([some('p'), any]), ['p', 'run_tasks', 'root'], true],
  [
    'NONE of the principals denies the object',
    usersOf([none, some('root')], [any, any]),
    ['p', 'run_tasks', 'root'],
    false,
  ],
  ['NONE of the principals leaves the rest', usersOf([none, some('root')], [any, any]), ['p', 'run_tasks', 'u'], true],
  ['NONE of the objects denies the principal', usersOf([some('p'), none], [any, any]), ['p', 'run_tasks', 'u'], false],
  ['NONE of the objects leaves the others', usersOf([some('p'), none], [any, any]), ['q', 'run_tasks', 'u'], true],
  ['the first rule that matches counts', usersOf([any, any], [none, any]), ['p', 'run_tasks', 'u'], true],
  ['NONE denies in permissive ACLs too', { permissive: true, ...usersOf([none, any]) }, ['p', 'run_tasks', 'u'], false],
  ['what is not known is allowed by ANY', usersOf([some('p'), any]), ['p', 'run_tasks', undefined], true],
  ['what is not known is in no list', usersOf([some('p'), some('u')]), ['p', 'run_tasks', undefined], false],
  ['a role does not speak of those below', rolesOf('eng'), ['p', 'register_frameworks', 'eng/ads'], false],
  ['a role with /% speaks of those below', rolesOf('eng/%'), ['p', 'register_frameworks', 'eng/ads/web'], true],
  ['a role with /% does not speak of itself', rolesOf('eng/%'), ['p', 'register_frameworks', 'eng'], false],
  ['a role with /% does not speak of a namesake', rolesOf('eng/%'), ['p', 'register_frameworks', 'engine/x'], false],
  ['a user is no role', usersOf([any, some('eng/%')]), ['p', 'run_tasks', 'eng/ads'], false],
];
for (const [what, json, [principal, action, object], allowed] of cases) {
  test(what, (t) => t.is(authorize(aclsOf(json), principal, action, object).allowed, allowed));
}

test('a refusal says who, what, of what, and which rule', (t) => {
  const acls = aclsOf(usersOf([some('q'), any], [none, some('root')]));
  const why = (object: string | undefined) => {
    const decision = authorize(acls, 'ads', 'run_tasks', object);
    return decision.allowed ? '' : decision.why;
  };
  t.is(why('root'), "principal 'ads' may not run_tasks for users 'root': 'run_tasks[1]' of the ACLs denies it");
  t.is(why('web'), "principal 'ads' may not run_tasks for users 'web': no rule of the ACLs allows it");
  t.is(why(undefined), "principal 'ads' may not run_tasks for users ANY: no rule of the ACLs allows it");
});

const name = fc.constantFrom('a', 'b', 'c', 'a/b', 'a/b/c');
const entity = fc.oneof(
  fc.constantFrom(any, none),
  fc.record({ values: fc.array(fc.oneof(name, fc.constantFrom('a/%', 'a/b/%')), { minLength: 1, maxLength: 3 }) }),
);
const rules = fc.array(fc.record({ principals: entity, roles: entity }), { maxLength: 6 });
type Wire = typeof any | ReturnType<typeof some>;

/** The same, written down as Mesos' documentation tells it. */
function told(
  list: readonly { principals: Wire; roles: Wire }[],
  permissive: boolean,
  who: string,
  role: string,
): boolean {
  const within = (one: Wire, value: string, areRoles: boolean): boolean =>
    !('values' in one) ||
    one.values.some((text) => (areRoles && text.endsWith('/%') ? value.startsWith(text.slice(0, -1)) : text === value));
  for (const { principals, roles } of list) {
    if (!within(principals, who, false) || !within(roles, role, true)) continue;
    return principals !== none && roles !== none;
  }
  return permissive;
}

test('the decision is that of the first rule that speaks of both, or else the default', (t) => {
  const law = fc.property(rules, fc.boolean(), name, name, (list, permissive, who, role) => {
    const acls = aclsOf({ permissive, register_frameworks: list });
    const expected = told(list as never, permissive, who, role);
    if (authorize(acls, who, 'register_frameworks', role).allowed !== expected)
      throw new Error(`it is not ${expected}`);
  });
  t.notThrows(() => fc.assert(law, { numRuns: 1_000 }));
});

test('rules behind one for ANY and ANY change nothing', (t) => {
  const law = fc.property(rules, rules, name, name, (before, after, who, role) => {
    const all = { principals: any, roles: any };
    const short = aclsOf({ register_frameworks: [...before, all] });
    const long = aclsOf({ register_frameworks: [...before, all, ...after] });
    const [a, b] = [short, long].map((acls) => authorize(acls, who, 'register_frameworks', role));
    if (JSON.stringify(a) !== JSON.stringify(b)) throw new Error('they differ');
  });
  t.notThrows(() => fc.assert(law));
});
