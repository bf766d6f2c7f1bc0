import fc from 'fast-check';
import {
  type Label,
  type Reservation,
  type ResourceSpec,
  type Resources,
  type ResourceTraits,
  type ResourceValue,
  resourcesOf,
} from '../../src/resources/index.ts';

/*
 * Few names, roles and ids, so that resources meet, and values that touch, overlap and repeat.
 */

const labels: fc.Arbitrary<Label[]> = fc.array(
  fc.record(
    { key: fc.constantFrom('team', 'a"b'), value: fc.constantFrom('x', 'y;z') },
    { requiredKeys: ['key'], noNullPrototype: true },
  ),
  { minLength: 1, maxLength: 2 },
);

const dynamic = (role: string): fc.Arbitrary<Reservation> =>
  fc.record(
    { type: fc.constant('dynamic' as const), role: fc.constant(role), principal: fc.constantFrom('p', 'q'), labels },
    { requiredKeys: ['type', 'role'], noNullPrototype: true },
  );

const reservations: fc.Arbitrary<Reservation[]> = fc.oneof(
  fc.constantFrom('ads', 'web').map((role): Reservation[] => [{ type: 'static', role }]),
  fc.tuple(dynamic('ads')),
  fc.tuple(dynamic('ads'), dynamic('ads/b')),
  dynamic('ads/b').map((refined): Reservation[] => [{ type: 'static', role: 'ads' }, refined]),
);

const value: fc.Arbitrary<{ name: string } & ResourceValue> = fc.oneof(
  fc.record({
    name: fc.constantFrom('cpus', 'mem', 'disk', 'odd name'),
    kind: fc.constant('scalar' as const),
    amount: fc.nat(5000),
  }),
  fc.record({
    name: fc.constant('gpus'),
    kind: fc.constant('scalar' as const),
    amount: fc.constantFrom(0, 1000, 2000),
  }),
  fc.record({
    name: fc.constantFrom('ports', 'keys'),
    kind: fc.constant('ranges' as const),
    ranges: fc.array(
      fc.tuple(fc.nat(30), fc.nat(6)).map(([begin, size]) => ({ begin, end: begin + size })),
      { maxLength: 4 },
    ),
  }),
  fc.record({
    name: fc.constantFrom('bugs', '__tags'),
    kind: fc.constant('set' as const),
    items: fc.array(fc.constantFrom('a', 'b', 'c', 'd,e', ' f', '{g}'), { maxLength: 4 }),
  }),
);

const traits: fc.Arbitrary<Omit<ResourceTraits, 'name' | 'disk' | 'shared' | 'copies'>> = fc.record(
  {
    reservations,
    revocable: fc.constant(true as const),
    providerId: fc.constantFrom('rp1', 'rp2'),
    allocationRole: fc.constantFrom('ads', 'ads/b'),
  },
  { requiredKeys: [], noNullPrototype: true },
);

const volume = { mode: 'read-write' as const, containerPath: 'data' };

const diskTraits: fc.Arbitrary<Pick<ResourceTraits, 'disk' | 'shared' | 'copies'>> = fc.constantFrom(
  { disk: { source: { type: 'path' as const, root: '/disk1' } } },
  { disk: { source: { type: 'raw' as const, profile: 'fast', metadata: [{ key: 'k', value: 'v' }] } } },
  { disk: { source: { type: 'raw' as const, id: 'lun1', vendor: 'v' } } },
  { disk: { source: { type: 'mount' as const, root: '/mnt1' } } },
  { disk: { source: { type: 'block' as const, id: 'b1' } }, copies: 2 },
  { disk: { persistence: { id: 'v1', principal: 'p' }, volume } },
  { disk: { persistence: { id: 'v2' }, source: { type: 'path' as const } } },
  { disk: { persistence: { id: 's1' }, volume }, shared: true as const },
  { disk: { persistence: { id: 's1' }, volume }, shared: true as const, copies: 3 },
);

export const anySpec: fc.Arbitrary<ResourceSpec> = fc.oneof(
  { weight: 2, arbitrary: value },
  { weight: 2, arbitrary: fc.tuple(value, traits).map(([v, t]) => ({ ...v, ...t })) },
  {
    weight: 1,
    arbitrary: fc.tuple(diskTraits, traits, fc.constantFrom(1000, 2000)).map(([d, t, amount]) => ({
      name: 'disk',
      kind: 'scalar' as const,
      amount,
      ...t,
      ...d,
    })),
  },
);

export const anyResources: fc.Arbitrary<Resources> = fc
  .array(anySpec, { maxLength: 8, size: 'max' })
  .map((specs) => resourcesOf(specs));
