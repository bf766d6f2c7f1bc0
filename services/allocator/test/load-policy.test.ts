import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { ConfigError } from '@mesobus/sdk/service';
import test, { type ExecutionContext } from 'ava';
import { createRandom } from '../src/core/random.ts';
import type { Candidate, Policy, PolicyProblem } from '../src/core/sorter/index.ts';
import { loadPolicy } from '../src/shell/load-policy.ts';

const alice: Candidate = { name: 'a', weight: 1, claim: 1, dominantShare: 0.5, allocations: 3, memory: undefined };
const dice = createRandom(1);

/** A module with this text, in a folder of its own that goes with the test. */
async function moduleOf(t: ExecutionContext, text: string, name = 'policy.mjs'): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), 'policy-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const file = path.join(folder, name);
  await writeFile(file, text);
  return file;
}

const load = (named: string, onProblem: (problem: PolicyProblem) => void = () => {}): Promise<Policy> =>
  loadPolicy(named, { flag: '--role-sorter', onProblem });

for (const name of ['drf', 'random', 'decayed-drf']) {
  test(`'${name}' comes with Mesobus`, async (t) => {
    t.is((await load(name)).name, name);
  });
}

test('the half-life of decayed DRF is as configured', async (t) => {
  const policy = await loadPolicy('decayed-drf', {
    flag: '--role-sorter',
    onProblem: () => t.fail(),
    halfLifeMs: 1_000,
  });
  const seen = { ...alice };
  policy.key(seen, 0, dice);
  const keys = [1_000, 3_000].map((at) => policy.key(Object.assign(seen, { dominantShare: 0 }), at, dice));
  t.deepEqual(keys, [0.5, 0.125]);
});

const head = `name: 'mine', contest: 'level', keysLast: 'change'`;
const good = `export default { ${head}, key: ({ allocations }) => allocations };`;

test('a policy of a module is loaded from its path', async (t) => {
  const policy = await load(await moduleOf(t, good));
  t.like(policy, { name: 'mine', contest: 'level', keysLast: 'change' });
  t.is(policy.key(alice, 0, dice), 3);
});

test('the example in the documentation of a policy is one', async (t) => {
  const documented = await readFile(new URL('../src/core/sorter/policy.ts', import.meta.url), 'utf8');
  const [, example = ''] = /```ts\n([\s\S]*?)```/.exec(documented.replaceAll(/^ \* ?/gm, '')) ?? [];
  const policy = await load(await moduleOf(t, example, 'policy.ts'));
  t.is(policy.key({ ...alice, weight: 2 }, 0, dice), 1.5);
});

test('a module may be TypeScript, may be named relative to the working directory, and may be a class', async (t) => {
  const text = `import type { Policy } from '@mesobus/allocator/policy';
    class Mine implements Policy {
      readonly name = 'mine';
      readonly contest = 'flat';
      readonly keysLast = 'round';
      readonly #sign = -1;
      key({ allocations }: { allocations: number }): number { return this.#sign * allocations; }
    }
    export default new Mine();`;
  const file = await moduleOf(t, text, 'policy.ts');
  const policy = await load(path.relative(process.cwd(), file));
  t.is(policy.key(alice, 0, dice), -3);
});

test('a loaded policy that throws is told of once, and its candidate goes last', async (t) => {
  const problems: PolicyProblem[] = [];
  const text = `export default { ${head}, key() { throw new Error('oh'); } };`;
  const policy = await load(await moduleOf(t, text), (problem) => problems.push(problem));
  t.is(policy.key(alice, 0, dice), Number.POSITIVE_INFINITY);
  t.is(policy.key(alice, 0, dice), Number.POSITIVE_INFINITY);
  t.like(problems, [{ policy: 'mine', candidate: 'a', cause: { message: 'oh' } }]);
  t.is(problems.length, 1);
});

test('a name that is neither a policy nor a file is refused with what may be given', async (t) => {
  const error = await t.throwsAsync(load('dfr'), { instanceOf: ConfigError });
  t.regex(
    error.message,
    /^--role-sorter is 'dfr', which is neither a policy nor a file \(.*dfr\): give 'drf', 'random'/,
  );
});

const wrong: readonly (readonly [what: string, text: string, why: RegExp])[] = [
  ['no default export', `export const policy = {};`, /has no default export: write 'export default'/],
  ['a function as default export', `export default () => 0;`, /it is of type function: see the interface 'Policy'/],
  ['null as default export', `export default null;`, /it is of type null/],
  ['no name', good.replace(`name: 'mine',`, ''), /'name' must be a text that is not empty: see/],
  ['another contest', good.replace('level', 'tree'), /'contest' must be 'level' or 'flat': see/],
  ['another life of keys', good.replace('change', 'ever'), /'keysLast' must be 'change', 'round' or 'visit': see/],
  ['no key', good.replace(/key:.*\}/, '}'), /'key' must be a function: see/],
  ['nothing right', 'export default {};', /'name' must.*'contest' must.*'keysLast' must.*'key' must/],
  ['a syntax error', 'export default {', /loading it failed: Unexpected end of input: mend it/],
  [
    'an import of what is not there',
    `import './absent.mjs'; ${good}`,
    /loading it failed: Cannot find module .*absent/,
  ],
  ['code that throws', `throw new Error('no database'); ${good}`, /loading it failed: no database: mend it/],
];
for (const [what, text, why] of wrong) {
  test(`a module with ${what} is refused with its file and why`, async (t) => {
    const file = await moduleOf(t, text);
    const error = await t.throwsAsync(load(file), { instanceOf: ConfigError });
    t.true(error.message.startsWith(`--role-sorter: the policy in ${file} cannot be used: `), error.message);
    t.regex(error.message, why);
  });
}
