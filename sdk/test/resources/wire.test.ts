import test from 'ava';
import { formatResources, fromWire, toWire, type WireResourceInput } from '../../src/resources/index.ts';

const cpus = (value: number): WireResourceInput => ({ name: 'cpus', type: 0, scalar: { value } });

test('the wire shape is the one of mesos.v1.Resource', (t) => {
  const wire = [
    {
      name: 'disk',
      type: 0 as const,
      scalar: { value: 10.5 },
      allocationInfo: { role: 'ads' },
      reservations: [{ type: 2 as const, role: 'ads', principal: 'p', labels: { labels: [{ key: 'k', value: 'v' }] } }],
      disk: {
        persistence: { id: 'v', principal: 'p' },
        volume: { mode: 1 as const, containerPath: 'data' },
        source: { type: 2 as const, mount: { root: '/m' } },
      },
      revocable: {},
      shared: {},
      providerId: { value: 'rp' },
    },
    { name: 'ports', type: 1 as const, ranges: { range: [{ begin: 1n, end: 2n }] } },
    { name: 'tags', type: 2 as const, set: { item: ['a', 'b'] } },
  ];
  t.deepEqual(toWire(fromWire(wire)), wire);
});

test('scalars are rounded to thousandths, half away from zero', (t) => {
  t.deepEqual(toWire(fromWire([cpus(0.0005)])), [{ name: 'cpus', type: 0, scalar: { value: 0.001 } }]);
  t.deepEqual(toWire(fromWire([cpus(1.2344)])), [{ name: 'cpus', type: 0, scalar: { value: 1.234 } }]);
  t.deepEqual(fromWire([cpus(0.0004)]), fromWire([]));
});

test('three tenths, one by one, are exactly 0.3', (t) => {
  t.deepEqual(fromWire([cpus(0.1), cpus(0.1), cpus(0.1)]), fromWire([cpus(0.3)]));
});

test('a range may have 64-bit ends', (t) => {
  const ports = fromWire([{ name: 'ports', type: 1, ranges: { range: [{ begin: 31000n, end: 32000n }] } }]);
  t.is(formatResources(ports), 'ports:[31000-32000]');
});

test('unset fields may be null or the defaults of protobuf', (t) => {
  const wire = {
    ...cpus(1),
    ranges: null,
    set: null,
    role: '*',
    reservation: null,
    reservations: [],
    allocationInfo: null,
    disk: null,
    revocable: null,
    shared: null,
    providerId: { value: '' },
  };
  t.is(formatResources(fromWire([wire])), 'cpus:1');
});

test('the old role alone is a static reservation', (t) => {
  t.is(formatResources(fromWire([{ ...cpus(1), role: 'ads' }])), 'cpus(ads):1');
});

test('the old role with a reservation is a dynamic one', (t) => {
  const [resource] = fromWire([{ ...cpus(1), role: 'ads', reservation: { principal: 'p' } }]);
  t.deepEqual(resource?.reservations, [{ type: 'dynamic', role: 'ads', principal: 'p' }]);
});

test('the old role is ignored beside new reservations', (t) => {
  const [resource] = fromWire([{ ...cpus(1), role: 'ads', reservations: [{ type: 1, role: 'web' }] }]);
  t.deepEqual(resource?.reservations, [{ type: 'static', role: 'web' }]);
});

const disk = (of: WireResourceInput['disk']): WireResourceInput => ({
  name: 'disk',
  type: 0,
  scalar: { value: 1 },
  disk: of,
});
const reserved = (...reservations: { type: number; role: string }[]): WireResourceInput => ({
  ...cpus(1),
  reservations,
});
const ports = (begin: number | bigint, end: number | bigint): WireResourceInput => ({
  name: 'ports',
  type: 1,
  ranges: { range: [{ begin, end }] },
});

const refused: [string, WireResourceInput, RegExp][] = [
  ['a negative scalar', cpus(-1), /resource 2 \('cpus'\): its amount -1 is negative; give 0 or more/],
  ['a scalar that is negative and rounds to 0', cpus(-0.0001), /negative/],
  ['NaN', cpus(Number.NaN), /NaN/],
  ['infinity', cpus(Number.POSITIVE_INFINITY), /infinite/],
  ['a subnormal scalar', cpus(Number.MIN_VALUE), /subnormal/],
  ['a scalar too large for thousandths', cpus(1e13), /too large/],
  ['a text as a scalar', cpus('1' as unknown as number), /not a number/],
  ['half a gpu', { name: 'gpus', type: 0, scalar: { value: 0.5 } }, /0.5 gpus are not whole/],
  ['a range that ends before it begins', ports(5, 4), /5-4 ends before it begins; write it as 4-5/],
  ['a range below 0', ports(-1, 4), /-1-4/],
  ['a range beyond what a number can count', ports(1n, 2n ** 63n), /whole numbers/],
  ['a range of fractions', ports(1.5, 2), /whole numbers/],
  ['an empty name', { ...cpus(1), name: '' }, /no name/],
  ['no name', { type: 0, scalar: { value: 1 } }, /no name/],
  ['a name that every object has', { ...cpus(1), name: 'constructor' }, /reserved/],
  ['a name with a line break', { ...cpus(1), name: 'a\nb' }, /control characters/],
  ['an unknown type', { ...cpus(1), type: 7 }, /type 7 is unknown; use 0 \(SCALAR\)/],
  ['a text as a type', { name: 'a', type: 3 }, /type 3 is unknown/],
  ['no type', { name: 'cpus', scalar: { value: 1 } }, /type undefined is unknown/],
  ['a missing value', { name: 'cpus', type: 0 }, /'scalar' is missing/],
  ['a scalar without value', { name: 'cpus', type: 0, scalar: {} }, /no value/],
  ['a value of another type', { ...cpus(1), set: { item: [] } }, /type is 'scalar' but it has 'set'/],
  ['an empty item', { name: 'a', type: 2, set: { item: [''] } }, /empty item/],
  ['a reservation without type', reserved({ type: 0, role: 'ads' }), /type of its reservation/],
  ['a reservation to *', reserved({ type: 1, role: '*' }), /reserved to '\*'/],
  ['a reservation to a role with a gap', reserved({ type: 1, role: 'a//b' }), /empty component/],
  ['a reservation to ..', reserved({ type: 1, role: '..' }), /'\.\.' as a component/],
  ['a reservation to a role with white space', reserved({ type: 1, role: 'a b' }), /white space/],
  ['a static refinement', reserved({ type: 1, role: 'a' }, { type: 1, role: 'a/b' }), /static reservation refines/],
  ['a refinement for the same role', reserved({ type: 1, role: 'a' }, { type: 2, role: 'a' }), /refines one to 'a'/],
  ['an old reservation to *', { ...cpus(1), role: '*', reservation: {} }, /reserved to '\*'/],
  ['an allocation to a bad role', { ...cpus(1), allocationInfo: { role: '-a' } }, /starts? with|'-'/],
  ['a disk on cpus', { ...cpus(1), disk: {} }, /describes a disk/],
  ['a disk of unknown source', disk({ source: { type: 9 } }), /source of its disk/],
  ['a persistent volume without id', disk({ persistence: { id: '' } }), /no persistence id/],
  ['a volume without mode', disk({ volume: { containerPath: 'a' } }), /mode of its volume/],
  ['a volume without path', disk({ volume: { mode: 1 } }), /no container path/],
  ['a shared resource that is no volume', { ...cpus(1), shared: {} }, /only a persistent volume can be shared/],
];
for (const [what, wire, message] of refused) {
  test(`${what} is refused`, (t) => {
    t.throws(() => fromWire([cpus(1), wire]), { name: 'MalformedResourceError', message });
  });
}
