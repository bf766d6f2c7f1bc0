import test from 'ava';
import {
  formatResources,
  fromWire,
  parseResourceEntries,
  parseResources,
  resources,
} from '../../src/resources/index.ts';

const example = 'cpus:24;gpus:2;mem:24576;disk:409600;ports:[21000-24000,30000-34000];bugs(debug_role):{a,b,c}';

test('the example of the Mesos documentation is understood', (t) => {
  const wire = [
    { name: 'cpus', type: 0, scalar: { value: 24 } },
    { name: 'gpus', type: 0, scalar: { value: 2 } },
    { name: 'mem', type: 0, scalar: { value: 24576 } },
    { name: 'disk', type: 0, scalar: { value: 409600 } },
    {
      name: 'ports',
      type: 1,
      ranges: {
        range: [
          { begin: 21000, end: 24000 },
          { begin: 30000, end: 34000 },
        ],
      },
    },
    { name: 'bugs', type: 2, set: { item: ['a', 'b', 'c'] }, reservations: [{ type: 1, role: 'debug_role' }] },
  ];
  t.deepEqual(parseResources(example), fromWire(wire));
});

const texts: [string, string, string][] = [
  ['white space is ignored', ' cpus : 1 ; mem ( ads ) : [1 - 2, 4-5] ; ', 'cpus:1;mem(ads):[1-2,4-5]'],
  ['amounts of one name add up', 'cpus:1;cpus:0.5', 'cpus:1.5'],
  ['the role * is unreserved', 'cpus(*):1', 'cpus:1'],
  ['nothing is nothing', '', ''],
  ['what is empty is left out', 'cpus:0;ports:[];tags:{}', ''],
  ['overlapping ranges are joined', 'ports:[5-9,1-4,3-6]', 'ports:[1-9]'],
  ['an item may hold a colon', 'tags:{a:b,c(d):e}', 'tags:{a:b,c(d):e}'],
  ['a role may have a path', 'cpus(ads/web):1', 'cpus(ads/web):1'],
];
for (const [title, text, canonical] of texts) {
  test(title, (t) => {
    t.is(formatResources(parseResources(text)), canonical);
  });
}

test('the default role is for entries that name none', (t) => {
  const text = 'cpus:1;mem(*):1;disk(ads):1';
  t.is(formatResources(parseResources(text, { defaultRole: 'ops' })), 'cpus(ops):1;disk(ads):1;mem:1');
  const json = '[{"name":"cpus","type":"SCALAR","scalar":{"value":1}}]';
  t.is(formatResources(parseResources(json, { defaultRole: 'ops' })), 'cpus(ops):1');
});

test('an explicit zero is an entry, so that whoever detects resources sees it', (t) => {
  t.deepEqual(parseResourceEntries('gpus:0'), [{ name: 'gpus', kind: 'scalar', amount: 0 }]);
});

test('the JSON of Mesos is understood', (t) => {
  const json = JSON.stringify([
    { name: 'cpus', type: 'SCALAR', scalar: { value: 24 } },
    { name: 'mem', type: 'SCALAR', scalar: { value: '512.5' }, role: 'ads' },
    { name: 'ports', type: 'RANGES', ranges: { range: [{ begin: '31000', end: 32000 }] }, role: '*' },
    { name: 'disk', type: 'SCALAR', scalar: { value: 9 }, disk: { source: { type: 'MOUNT', mount: { root: '/m' } } } },
    { name: 'bugs', type: 'SET', set: { item: ['a'] }, reservations: [{ type: 'STATIC', role: 'web' }], disk: null },
  ]);
  const plain = parseResources('cpus:24;mem(ads):512.5;ports:[31000-32000];bugs(web):{a}');
  const parsed = parseResources(json);
  t.is(formatResources(fromWire([])), '');
  t.is(parsed.length, 5);
  t.like(
    parsed.find(({ name }) => name === 'disk'),
    { amount: 9000, disk: { source: { type: 'mount', root: '/m' } } },
  );
  for (const resource of plain)
    t.deepEqual(
      parsed.find(({ key }) => key === resource.key),
      resource,
    );
});

test('what the text cannot say is formatted as JSON with the names of Mesos', (t) => {
  const spot = fromWire([
    { name: 'cpus', type: 0, scalar: { value: 1 }, revocable: {}, allocationInfo: { role: 'ads' } },
  ]);
  t.deepEqual(JSON.parse(formatResources(spot)), [
    { name: 'cpus', type: 'SCALAR', scalar: { value: 1 }, allocation_info: { role: 'ads' }, revocable: {} },
  ]);
});

const refused: [string, string, RegExp][] = [
  [
    'a piece without a value',
    'cpus:1; mem',
    /'mem' \(at character 9 of the resources\): it is not 'name:value'.*cpus:24/,
  ],
  ['a word as a value', 'cpus:many', /'many' is no amount; write a number such as 24/],
  ['a missing value', 'cpus:', /'' is no amount/],
  ['a missing name', ':1', /no name/],
  ['a negative amount', 'mem:1;cpus:-1', /'cpus:-1' \(at character 7 .*negative/],
  ['an amount beyond doubles', 'cpus:1e999', /infinite/],
  ['half a gpu', 'gpus:1.5', /1.5 gpus are not whole/],
  ['an open bracket', 'ports:[1-2', /no closing bracket/],
  ['an open brace', 'tags:{a', /no closing brace/],
  ['a port that is no range', 'ports:[8080]', /'8080' is no range; write ranges as/],
  ['a range that ends before it begins', 'ports:[9-8]', /9-8 ends before/],
  ['a trailing comma', 'tags:{a,}', /empty item/],
  ['an empty role', 'cpus():1', /role is empty/],
  ['two roles', 'cpus(a)(b):1', /not 'name:value'/],
  ['two types of one name', 'a:1;a:{b}', /'a': one is a scalar, another a set; give both the same type/],
  ['broken JSON', '[{"name":', /it is no JSON/],
  ['JSON of no object', '[1]', /resource 1 of the JSON: it is no object/],
  [
    'a misspelt key',
    '[{"name":"a","type":"SET","set":{"item":[]},"reservation_s":[]}]',
    /'reservation_s' means nothing here/,
  ],
  ['a number as an enum', '[{"name":"a","type":0}]', /'type' is 0; write one of SCALAR, RANGES, SET/],
  ['a text where a list belongs', '[{"name":"a","type":"SET","set":{"item":"b"}}]', /'set\.item' is no list/],
  ['a word where a number belongs', '[{"name":"a","type":"SCALAR","scalar":{"value":"b"}}]', /resource 1 of the JSON/],
];
for (const [what, text, message] of refused) {
  test(`${what} is refused`, (t) => {
    t.throws(() => parseResources(text), { name: 'MalformedResourceError', message });
  });
}

test('an error of JSON keeps its cause', (t) => {
  const error = t.throws(() => parseResources('[oops'), { name: 'MalformedResourceError' });
  t.true(error.cause instanceof SyntaxError);
});

test('text and plain amounts give the same resources', (t) => {
  t.deepEqual(parseResources('cpus:1.5;mem:128'), resources({ cpus: 1.5, mem: 128 }));
});
