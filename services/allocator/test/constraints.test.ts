import { mesos } from '@mesobus/protos';
import test from 'ava';
import fc from 'fast-check';
import { compileRegex, defaultRegexBounds, type RegexBounds } from '../src/core/constraint-regex.ts';
import { type ConstrainedAgent, compileConstraints, constraintProblems } from '../src/core/constraints.ts';

const { OfferConstraints } = mesos.v1.scheduler;
type OfferConstraints = mesos.v1.scheduler.OfferConstraints;
type Selector = mesos.v1.scheduler.AttributeConstraint.Selector.$Properties;
type Predicate = mesos.v1.scheduler.AttributeConstraint.Predicate.$Properties;
const { HOSTNAME, REGION, ZONE, UNKNOWN } = mesos.v1.scheduler.AttributeConstraint.Selector.PseudoattributeType;
const { TEXT, SCALAR } = mesos.v1.Value.Type;

/** Groups of constraints for each role, as they come over the wire. */
function constraintsOf(
  roles: Readonly<Record<string, readonly (readonly [Selector, Predicate][])[]>>,
): OfferConstraints {
  const roleConstraints = Object.fromEntries(
    Object.entries(roles).map(([role, groups]) => {
      const list = groups.map((group) => ({
        attributeConstraints: group.map(([selector, predicate]) => ({ selector, predicate })),
      }));
      return [role, { groups: list }];
    }),
  );
  return OfferConstraints.decode(OfferConstraints.encode({ roleConstraints }).finish());
}

const agentOf = (
  attributes: readonly (readonly [string, string | number])[],
  { hostname = 'h1', domain = null as ConstrainedAgent['domain'] } = {},
): ConstrainedAgent => ({
  attributes: attributes.map(
    ([name, value]) =>
      new mesos.v1.Attribute(
        typeof value === 'string' ? { name, type: TEXT, text: { value } } : { name, type: SCALAR, scalar: { value } },
      ),
  ),
  hostname,
  domain,
});

const inDomain = new mesos.v1.DomainInfo({ faultDomain: { region: { name: 'eu' }, zone: { name: 'eu-1' } } });

function holds(selector: Selector, predicate: Predicate, agent: ConstrainedAgent): boolean {
  return compileConstraints(constraintsOf({ ads: [[[selector, predicate]]] })).get('ads')?.(agent) ?? true;
}

const rack: Selector = { attributeName: 'rack' };
const agents = {
  missing: agentOf([['zone', 'z']]),
  text: agentOf([['rack', 'r12']]),
  other: agentOf([['rack', 'r3x']]),
  scalar: agentOf([['rack', 12]]),
  'text first': agentOf([
    ['rack', 'r12'],
    ['rack', 'r3x'],
  ]),
  'other first': agentOf([
    ['rack', 'r3x'],
    ['rack', 'r12'],
  ]),
  'scalar first': agentOf([
    ['rack', 12],
    ['rack', 'r3x'],
  ]),
};
type Agents = keyof typeof agents;

const predicates: readonly (readonly [string, Predicate, readonly Agents[]])[] = [
  ['exists', { exists: {} }, ['text', 'other', 'scalar', 'text first', 'other first', 'scalar first']],
  ['not_exists', { notExists: {} }, ['missing']],
  ['text_equals r12', { textEquals: { value: 'r12' } }, ['text', 'scalar', 'text first', 'scalar first']],
  [
    'text_not_equals r12',
    { textNotEquals: { value: 'r12' } },
    ['missing', 'other', 'scalar', 'other first', 'scalar first'],
  ],
  ['text_matches r[0-9]+', { textMatches: { regex: 'r[0-9]+' } }, ['text', 'scalar', 'text first', 'scalar first']],
  [
    'text_not_matches r[0-9]+',
    { textNotMatches: { regex: 'r[0-9]+' } },
    ['missing', 'other', 'scalar', 'other first', 'scalar first'],
  ],
];
for (const [name, predicate, meeting] of predicates) {
  test(`${name}: the first of the name decides, no text passes, what is missing passes negatives`, (t) => {
    const met = Object.entries(agents).filter(([, agent]) => holds(rack, predicate, agent));
    t.deepEqual(
      met.map(([agent]) => agent),
      Object.keys(agents).filter((agent) => meeting.includes(agent as Agents)),
    );
  });
}

const places: readonly (readonly [string, Selector, string])[] = [
  ['HOSTNAME', { pseudoattributeType: HOSTNAME }, 'h1'],
  ['REGION', { pseudoattributeType: REGION }, 'eu'],
  ['ZONE', { pseudoattributeType: ZONE }, 'eu-1'],
];
for (const [name, selector, value] of places) {
  test(`${name} is selected by its pseudoattribute, whatever attributes are called`, (t) => {
    const agent = agentOf(
      [
        [name, 'x'],
        ['hostname', 'x'],
      ],
      { domain: inDomain },
    );
    t.true(holds(selector, { exists: {} }, agent));
    t.true(holds(selector, { textEquals: { value } }, agent));
    t.false(holds(selector, { textNotEquals: { value } }, agent));
    t.false(holds(selector, { textMatches: { regex: 'x' } }, agent));
  });
}

test('an agent without a domain has neither region nor zone, but always a hostname', (t) => {
  for (const domain of [null, new mesos.v1.DomainInfo({})]) {
    const agent = agentOf([], { domain, hostname: '' });
    for (const pseudoattributeType of [REGION, ZONE]) {
      t.true(holds({ pseudoattributeType }, { notExists: {} }, agent));
      t.false(holds({ pseudoattributeType }, { textMatches: { regex: '.*' } }, agent));
      t.true(holds({ pseudoattributeType }, { textNotMatches: { regex: '.*' } }, agent));
    }
    t.true(holds({ pseudoattributeType: HOSTNAME }, { exists: {} }, agent));
  }
});

const matches: readonly (readonly [regex: string, text: string, whole: boolean])[] = [
  ['rack', 'rack', true],
  ['rack', 'rack1', false],
  ['rack', 'a rack', false],
  ['a|ab', 'ab', true],
  ['', '', true],
  ['', 'a', false],
  ['(?i)rack-[a-f]{1,3}', 'RACK-BED', true],
  ['a.c', 'a\nc', false],
  ['(?s)a.c', 'a\nc', true],
  ['\\p{Greek}+', 'λόγος', true],
  ['.', '🙂', true],
  ['[[:digit:]]+\\.\\Q*\\E', '12.*', true],
];
for (const [regex, text, whole] of matches) {
  test(`the regex '${regex}' ${whole ? 'matches' : 'does not match'} all of '${text.replace('\n', '\\n')}'`, (t) => {
    const agent = agentOf([['rack', text]]);
    t.is(holds(rack, { textMatches: { regex } }, agent), whole);
    t.is(holds(rack, { textNotMatches: { regex } }, agent), !whole);
  });
}

test('an agent has to meet all constraints of one of the groups', (t) => {
  const equals = (name: string, value: string): [Selector, Predicate] => [
    { attributeName: name },
    { textEquals: { value } },
  ];
  const meets = compileConstraints(
    constraintsOf({ ads: [[equals('rack', 'a'), equals('disk', 'ssd')], [equals('rack', 'b')]] }),
  ).get('ads');
  const met = [
    ['a', 'ssd'],
    ['a', 'hdd'],
    ['b', 'hdd'],
    ['c', 'ssd'],
  ].map(([r = '', d = '']) =>
    meets?.(
      agentOf([
        ['rack', r],
        ['disk', d],
      ]),
    ),
  );
  t.deepEqual(met, [true, false, true, false]);
});

test('constraints of one role say nothing of another', (t) => {
  const predicatesOf = compileConstraints(constraintsOf({ ads: [[[rack, { exists: {} }]]] }));
  t.deepEqual([...predicatesOf.keys()], ['ads']);
  t.deepEqual([...compileConstraints(null).keys()], []);
});

test('equal constraints of two frameworks are one predicate, others are others', (t) => {
  const compile = (regex: string, role = 'ads'): unknown =>
    compileConstraints(constraintsOf({ [role]: [[[rack, { textMatches: { regex } }]]] })).get(role);
  t.is(compile('r[0-9]+'), compile('r[0-9]+', 'web'));
  t.not(compile('r[0-9]+'), compile('r[0-8]+'));
});

test('what the master would have refused holds for no agent, and throws nothing', (t) => {
  const agent = agentOf([['rack', 'r1']]);
  for (const [selector, predicate] of [
    [rack, { textMatches: { regex: '(' } }],
    [rack, { textNotMatches: { regex: '(' } }],
    [rack, {}],
    [{}, { notExists: {} }],
    [{ pseudoattributeType: UNKNOWN }, { notExists: {} }],
  ] satisfies [Selector, Predicate][])
    t.false(holds(selector, predicate, agent));
  t.false(compileConstraints(constraintsOf({ ads: [] })).get('ads')?.(agent));
  t.false(compileConstraints(constraintsOf({ ads: [[]] })).get('ads')?.(agent));
});

const long = 'x'.repeat(4_097);
const wrong: readonly (readonly [what: string, constraints: OfferConstraints, problems: readonly RegExp[]])[] = [
  [
    'a role that the framework does not have',
    constraintsOf({ web: [[[rack, { exists: {} }]]] }),
    [/^offer_constraints\.role_constraints\['web'\]: the framework does not have the role: name one of its own, or/],
  ],
  [
    'no groups',
    constraintsOf({ ads: [] }),
    [/^offer_constraints\.role_constraints\['ads'\]\.groups: it is empty: give/],
  ],
  [
    'an empty group',
    constraintsOf({ ads: [[[rack, { exists: {} }]], []] }),
    [/\['ads'\]\.groups\[1\]\.attribute_constraints: it is empty: give at least one, or leave the group out$/],
  ],
  ['no selector', constraintsOf({ ads: [[[{}, { exists: {} }]]] }), [/constraints\[0\]\.selector: it selects nothing/]],
  [
    'an unknown pseudoattribute',
    constraintsOf({ ads: [[[{ pseudoattributeType: UNKNOWN }, { exists: {} }]]] }),
    [/selector\.pseudoattribute_type: 0 is unknown: give HOSTNAME, REGION or ZONE$/],
  ],
  [
    'no predicate',
    constraintsOf({ ads: [[[rack, {}]]] }),
    [/constraints\[0\]\.predicate: it says nothing that is known/],
  ],
  [
    'an invalid regex',
    constraintsOf({
      ads: [
        [
          [rack, { exists: {} }],
          [rack, { textMatches: { regex: 'r[0-9' } }],
        ],
      ],
    }),
    [/\[1\]\.predicate\.text_matches\.regex: missing closing \]: `\[0-9`: write it in the syntax of RE2$/],
  ],
  [
    'a backreference',
    constraintsOf({ ads: [[[rack, { textNotMatches: { regex: '(a)\\1' } }]]] }),
    [/\.predicate\.text_not_matches\.regex: invalid escape sequence: `\\1`: write it in the syntax of RE2$/],
  ],
  [
    'a regex that is too long',
    constraintsOf({ ads: [[[rack, { textMatches: { regex: long } }]]] }),
    [/regex: it has 4097 characters with its repetitions written out, of at most 4096: write a shorter one$/],
  ],
  [
    'a regex that is too complex',
    constraintsOf({ ads: [[[rack, { textMatches: { regex: 'a{99}' } }]]] }),
    [/regex: its program has 101 instructions, of at most 100: write a simpler one$/],
  ],
  [
    'several faults',
    constraintsOf({ ads: [[[{}, {}]]], web: [] }),
    [/selector:/, /predicate:/, /\['web'\]: /, /\['web'\]\.groups: /],
  ],
];
for (const [what, constraints, problems] of wrong) {
  test(`constraints with ${what} are refused with the field, why and what to do`, (t) => {
    const found = constraintProblems(constraints, ['ads']);
    t.is(found.length, problems.length, found.join('\n'));
    for (const [i, problem] of problems.entries()) t.regex(found[i] ?? '', problem);
  });
}

test('right constraints have no problems, whatever the name of the attribute', (t) => {
  const all = predicates.map(([, predicate]): [Selector, Predicate] => [rack, predicate]);
  const selectors = [{ attributeName: '' }, ...places.map(([, selector]) => selector)];
  const more = selectors.map((selector): [Selector, Predicate] => [selector, { exists: {} }]);
  t.deepEqual(constraintProblems(constraintsOf({ ads: [all, more] }), ['ads', 'web']), []);
  t.deepEqual(constraintProblems(null, ['ads']), []);
});

test('of a thousand wrong constraints ten are named', (t) => {
  const groups = Array.from({ length: 1_000 }, (): [Selector, Predicate][] => [
    [rack, { textMatches: { regex: 'a{999}' } }],
  ]);
  t.is(constraintProblems(constraintsOf({ ads: groups }), ['ads']).length, 10);
});

const sizes: readonly (readonly [regex: string, bounds: RegexBounds, size: number | RegExp])[] = [
  // The example in Mesos' sources, of which RE2's program has 54 instructions.
  ['192.168.(1[0-9]|3[4-7]|[1-9]|4[2-9]|[1-4][0-9]|5[3-8]|20[4-7]|53[0-5]).1', defaultRegexBounds, 38],
  ['a{98}', defaultRegexBounds, 100],
  ['a{99}', defaultRegexBounds, /101 instructions/],
  ['a{3}', { maxMem: 3, maxProgramSize: 100 }, /4 characters/],
  ['a{4}', { maxMem: 4, maxProgramSize: 100 }, 6],
  ['a{5}', { maxMem: 4, maxProgramSize: 100 }, /5 characters .* of at most 4/],
  ['a{2,5}', { maxMem: 5, maxProgramSize: 100 }, /6 characters/],
  ['(ab){2}', { maxMem: 8, maxProgramSize: 100 }, 10],
  ['[^]{9}]{2}', { maxMem: 14, maxProgramSize: 100 }, 4],
  ['\\x{1F642}', { maxMem: 9, maxProgramSize: 100 }, 3],
  ['\\Q{2000}\\E', defaultRegexBounds, 8],
  ['(a{1000}){1000}', defaultRegexBounds, /1002000 characters/],
  [`(?:${'a'.repeat(3_000)}[[:alpha:](]){100}`, defaultRegexBounds, /characters/],
  [`(?:${'a'.repeat(3_000)}[\\](]){100}`, defaultRegexBounds, /characters/],
  ['a{99999999999999999999999}', defaultRegexBounds, /characters/],
];
for (const [regex, bounds, size] of sizes) {
  test(`the size of '${regex.slice(0, 10)}…${regex.slice(-20)}' within ${bounds.maxMem} characters is ${size}`, (t) => {
    const compiled = compileRegex(regex, bounds);
    if (typeof size === 'number') t.is(typeof compiled === 'string' ? compiled : compiled.programSize, size);
    else t.regex(typeof compiled === 'string' ? compiled : `it has ${compiled.programSize}`, size);
  });
}

/** Regexes whose brackets stand where they open and close nothing, with repetitions around them. */
const { sequence: anyRegex } = fc.letrec<{ sequence: string; item: string; piece: string }>((tie) => ({
  sequence: fc.array(tie('item'), { minLength: 1, maxLength: 4, size: 'max' }).map((items) => items.join('')),
  item: fc
    .tuple(tie('piece'), fc.constantFrom('', '', '{9}', '{30}', '{0,9}', '{9,}', '?', '+'))
    .map(([piece, times]) => piece + times),
  piece: fc.oneof(
    { depthSize: 'medium', maxDepth: 3 },
    fc.constantFrom(
      'a',
      'aaaaaaaaaa',
      '\\(',
      '[(]',
      '[^](]',
      '[[:alpha:](]',
      '[\\](]',
      '[)]',
      '\\Q(\\E',
      '\\x{28}',
      '\\pL',
    ),
    fc.tuple(fc.constantFrom('(', '(?:', '(?i:'), tie('sequence')).map(([open, inner]) => `${open}${inner})`),
  ),
}));

test('no regex within the bound of characters compiles to a program beyond it: none takes long to refuse', (t) => {
  const maxMem = 150;
  let within = 0;
  const law = fc.property(anyRegex, (text) => {
    const regex = compileRegex(text, { maxMem, maxProgramSize: Number.POSITIVE_INFINITY });
    if (typeof regex === 'string') return;
    within += 1;
    // A character takes two instructions at most (an optional one, or a bracket of a group); two end every program.
    if (regex.programSize > 2 * maxMem + 2) throw new Error(`${text} has ${regex.programSize} instructions`);
  });
  t.notThrows(() => fc.assert(law, { numRuns: 2_000, seed: 7 }));
  t.true(within > 300, `only ${within} were within it at all`);
});

test('regexes that take exponential time elsewhere take time in proportion to the text', (t) => {
  /** CPU time for a text of so many characters that does not match, in ms; the least of some tries. */
  const timeFor = (regex: string, characters: number): number => {
    const compiled = compileRegex(regex, defaultRegexBounds);
    if (typeof compiled === 'string') throw new Error(compiled);
    const text = `${'a'.repeat(characters)}!`;
    const tries = Array.from({ length: 5 }, () => {
      const before = process.cpuUsage();
      t.false(compiled.matches(text));
      const { user, system } = process.cpuUsage(before);
      return (user + system) / 1_000;
    });
    return Math.min(...tries);
  };
  // A backtracking engine needs 2^30 steps at 30 characters already; 100,000 would never end.
  for (const regex of ['(a+)+', '(a|a)*', '(a|aa)+', '(.*a){10}', 'a?'.repeat(20) + 'a'.repeat(20), '([a-z]+)*b']) {
    t.true(timeFor(regex, 100_000) < 10_000, regex);
  }
});
