import test from 'ava';
import fc from 'fast-check';
import { parseAcls } from '../../src/authorization/index.ts';

const problemsIn = (value: unknown): readonly string[] => {
  const parsed = parseAcls(typeof value === 'string' ? value : JSON.stringify(value));
  return parsed.ok ? [] : parsed.problems;
};

const any = { type: 'ANY' };
const wrong: Record<string, [value: unknown, problem: RegExp]> = {
  'no JSON': ['{', /^it is not JSON: /],
  'a list': [[], /^it is not an object with a list of rules for each action$/],
  'an unknown action': [{ run_task: [] }, /^'run_task' is no action: use 'register_frameworks', .*or 'permissive'$/],
  'permissive as a text': [{ permissive: 'yes' }, /^'permissive' is neither true nor false$/],
  'rules that are no list': [{ run_tasks: {} }, /^'run_tasks' is not a list of rules, each like .*"users"/],
  'a rule that is no object': [{ run_tasks: [1] }, /^'run_tasks\[0\]' is not an object with 'principals' and 'users'$/],
  'no principals': [{ run_tasks: [{ users: any }] }, /^'run_tasks\[0\].principals' is missing: give \{"values"/],
  'other objects': [
    { run_tasks: [{ principals: any, users: any, roles: any }] },
    /^'run_tasks\[0\].roles' is not known there: a rule has 'principals' and 'users'$/,
  ],
  'an unknown type': [
    { run_tasks: [{ principals: { type: 'ALL' }, users: any }] },
    /^'run_tasks\[0\].principals.type' is "ALL": use "ANY", "NONE" or "SOME"$/,
  ],
  'ANY with values': [
    { run_tasks: [any, { principals: { type: 'ANY', values: ['a'] }, users: any }].slice(1) },
    /^'run_tasks\[0\].principals.values' is not possible with the type ANY$/,
  ],
  'no values': [
    { run_tasks: [{ principals: { values: [] }, users: any }] },
    /^'run_tasks\[0\].principals.values' is not a list of at least one text/,
  ],
  'a number among values': [
    { run_tasks: [{ principals: { values: ['a', 1] }, users: any }] },
    /^'run_tasks\[0\].principals.values\[1\]' is not a text, or an empty one$/,
  ],
  'a misspelt field': [
    { run_tasks: [{ principals: { value: ['a'], values: ['a'] }, users: any }] },
    /^'run_tasks\[0\].principals.value' is not known there: use 'values' or 'type'$/,
  ],
};
for (const [what, [value, problem]] of Object.entries(wrong)) {
  test(`ACLs with ${what} are refused, and it says where`, (t) => {
    const problems = problemsIn(value);
    t.regex(problems.find((one) => problem.test(one)) ?? problems.join('; '), problem);
  });
}

test('all that is wrong is said at once', (t) => {
  t.is(problemsIn({ permissive: 1, a: [], run_tasks: [{ users: any }] }).length, 3);
});

test('actions of Mesos that nothing decides about are taken, and said', (t) => {
  const parsed = parseAcls('{"access_mesos_logs":[{"principals":{"type":"ANY"},"logs":{"type":"NONE"}}]}');
  t.deepEqual(parsed.ok && parsed.warnings, ["'access_mesos_logs' has no effect: Mesobus does not decide about that"]);
  t.regex(
    problemsIn({ access_mesos_logs: [{ principals: any }] })[0] ?? '',
    /'access_mesos_logs\[0\].logs' is missing/,
  );
});

test('ACLs as Mesos documents them are taken', (t) => {
  t.deepEqual(
    problemsIn({
      permissive: false,
      register_frameworks: [
        { principals: { values: ['foo'] }, roles: { values: ['analytics', 'ads/%'] } },
        { principals: { type: 'NONE' }, roles: { type: 'SOME', values: ['*'] } },
      ],
      create_volumes: [{ principals: { values: ['foo'] }, roles: any }],
      mark_agents_gone: [{ principals: { values: ['ops'] }, agents: any }],
    }),
    [],
  );
});

test('no text makes the reader throw', (t) => {
  const law = fc.property(
    fc.oneof(
      fc.string(),
      fc.json(),
      fc.json().map((json) => `{"run_tasks":[${json}]}`),
    ),
    (text) => {
      parseAcls(text);
    },
  );
  t.notThrows(() => fc.assert(law, { numRuns: 1_000 }));
});
