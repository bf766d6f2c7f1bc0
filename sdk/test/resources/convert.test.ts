import assert from 'node:assert/strict';
import test from 'ava';
import fc from 'fast-check';
import {
  add,
  type Conversion,
  type ConversionContext,
  conversionFromWire,
  convert,
  equals,
  formatResources,
  noResources,
  parseResources,
  popReservation,
  pushReservation,
  quantitiesOf,
  type Reservation,
  type Resources,
  resourcesOf,
  select,
  toUnreserved,
  toWire,
  tryUse,
  withoutVolumes,
} from '../../src/resources/index.ts';
import { anyResources } from './arbitrary-resources.ts';

const dynamic = (role: string, more: Partial<Reservation> = {}): Reservation => ({ type: 'dynamic', role, ...more });
const reservedAs = (text: string, ...stack: Reservation[]): Resources =>
  stack.reduce((resources, one) => pushReservation(resources, one), parseResources(text));

interface VolumeOptions {
  readonly mb?: number;
  readonly role?: string;
  readonly shared?: true;
  readonly mount?: true;
  readonly principal?: string;
}

function volume(id: string, { mb = 100, role = 'ads', shared, mount, principal }: VolumeOptions = {}): Resources {
  return resourcesOf([
    {
      name: 'disk',
      kind: 'scalar',
      amount: mb * 1000,
      reservations: [dynamic(role)],
      disk: {
        persistence: { id, ...(principal !== undefined && { principal }) },
        volume: { mode: 'read-write', containerPath: 'data' },
        ...(mount && { source: { type: 'mount', root: '/mnt' } }),
      },
      ...(shared && { shared }),
    },
  ]);
}

const disk = (mb: number, role = 'ads'): Resources => reservedAs(`disk:${mb}`, dynamic(role));

const sides: readonly [what: string, conversion: Conversion, consumed: Resources, converted: Resources][] = [
  [
    'RESERVE takes what is not reserved yet',
    { kind: 'reserve', resources: reservedAs('cpus:2', dynamic('ads')) },
    parseResources('cpus:2'),
    reservedAs('cpus:2', dynamic('ads')),
  ],
  [
    'RESERVE refines what is reserved to a role above',
    { kind: 'reserve', resources: reservedAs('cpus:2', dynamic('ads'), dynamic('ads/web')) },
    reservedAs('cpus:2', dynamic('ads')),
    reservedAs('cpus:2', dynamic('ads'), dynamic('ads/web')),
  ],
  [
    'RESERVE refines a static reservation',
    { kind: 'reserve', resources: pushReservation(parseResources('cpus(ads):2'), dynamic('ads/web')) },
    parseResources('cpus(ads):2'),
    pushReservation(parseResources('cpus(ads):2'), dynamic('ads/web')),
  ],
  [
    'RESERVE with a source moves a reservation to another role',
    { kind: 'reserve', source: disk(5, 'ads'), resources: disk(5, 'web') },
    disk(5, 'ads'),
    disk(5, 'web'),
  ],
  [
    'RESERVE with a source moves a volume',
    { kind: 'reserve', source: volume('v', { role: 'ads' }), resources: volume('v', { role: 'web' }) },
    volume('v', { role: 'ads' }),
    volume('v', { role: 'web' }),
  ],
  [
    'UNRESERVE takes the last reservation off',
    { kind: 'unreserve', resources: reservedAs('cpus:2', dynamic('ads'), dynamic('ads/web')) },
    reservedAs('cpus:2', dynamic('ads'), dynamic('ads/web')),
    reservedAs('cpus:2', dynamic('ads')),
  ],
  ['CREATE makes a volume of disk', { kind: 'create', volumes: volume('v') }, disk(100), volume('v')],
  [
    'CREATE makes a shared volume',
    { kind: 'create', volumes: volume('v', { shared: true }) },
    disk(100),
    volume('v', { shared: true }),
  ],
  ['DESTROY makes disk of a volume', { kind: 'destroy', volumes: volume('v') }, volume('v'), disk(100)],
  [
    'GROW_VOLUME adds disk to a volume',
    { kind: 'grow', volume: volume('v'), addition: disk(20) },
    add(volume('v'), disk(20)),
    volume('v', { mb: 120 }),
  ],
  [
    'SHRINK_VOLUME gives disk back',
    { kind: 'shrink', volume: volume('v'), subtract: 30_000 },
    volume('v'),
    add(volume('v', { mb: 70 }), disk(30)),
  ],
];

for (const [what, conversion, consumed, converted] of sides) {
  test(`${what}`, (t) => {
    const made = convert(conversion);
    t.true(made.ok && equals(made.consumed, consumed));
    t.true(made.ok && equals(made.converted, converted));
  });
}

const wrong: readonly [what: string, conversion: Conversion, message: RegExp, context?: ConversionContext][] = [
  ['RESERVE of nothing', { kind: 'reserve', resources: noResources }, /names no resources; name at least one/],
  ["RESERVE to '*'", { kind: 'reserve', resources: parseResources('cpus:2') }, /'cpus' has no reservation: nothing/],
  [
    'RESERVE that is static',
    { kind: 'reserve', resources: parseResources('cpus(ads):2') },
    /^Cannot RESERVE 'cpus\(ads\):2': the last reservation of 'cpus' is static; make it dynamic/,
  ],
  [
    'RESERVE of revocable resources',
    {
      kind: 'reserve',
      resources: resourcesOf([
        { name: 'cpus', kind: 'scalar', amount: 1, revocable: true, reservations: [dynamic('ads')] },
      ]),
    },
    /'cpus' is revocable/,
  ],
  ['RESERVE of a volume', { kind: 'reserve', resources: volume('v') }, /it is a persistent volume/],
  [
    'RESERVE for a role that is not of the offer',
    { kind: 'reserve', resources: reservedAs('cpus:2', dynamic('web')) },
    /its role 'web' is neither 'ads', for which it was offered, nor below; reserve to 'ads' or/,
    { role: 'ads' },
  ],
  [
    'RESERVE in the name of another principal',
    { kind: 'reserve', resources: reservedAs('cpus:2', dynamic('ads', { principal: 'p' })) },
    /the principal of the reservation is 'p', but 'q' acts; give 'q', or none/,
    { principal: 'q' },
  ],
  [
    'RESERVE of more than is offered',
    { kind: 'reserve', resources: reservedAs('cpus:4', dynamic('ads')) },
    /it takes 'cpus:4', and there is 'cpus:2' that is offered; reserve what is offered/,
    { role: 'ads', available: parseResources('cpus:2;mem:100') },
  ],
  [
    'RESERVE with a source of another amount',
    { kind: 'reserve', source: disk(4), resources: disk(5, 'web') },
    /differs in more than reservations/,
  ],
  [
    'RESERVE with a source that changes nothing',
    { kind: 'reserve', source: disk(4), resources: disk(4) },
    /it changes nothing/,
  ],
  [
    'RESERVE with a source by a framework',
    { kind: 'reserve', source: disk(4, 'ads'), resources: disk(4, 'ads/x') },
    /frameworks cannot give a 'source'/,
    { role: 'ads' },
  ],
  [
    'RESERVE with a source that is static',
    { kind: 'reserve', source: parseResources('disk(ads):4'), resources: disk(4, 'web') },
    /a static reservation would change/,
  ],
  [
    'RESERVE that moves a volume to where its id is taken',
    { kind: 'reserve', source: volume('v'), resources: volume('v', { role: 'web' }) },
    /role 'web' has a volume 'v' on the agent already/,
    { total: add(volume('v'), volume('v', { role: 'web', mb: 7 })) },
  ],
  [
    'RESERVE that moves a shared volume from under a task',
    {
      kind: 'reserve',
      source: volume('v', { shared: true }),
      resources: volume('v', { shared: true, role: 'web' }),
    },
    /a task uses volume 'v'/,
    { total: volume('v', { shared: true }), used: volume('v', { shared: true }) },
  ],
  ['UNRESERVE of what is not reserved', { kind: 'unreserve', resources: parseResources('cpus:2') }, /is not reserved/],
  ['UNRESERVE of a static one', { kind: 'unreserve', resources: parseResources('cpus(ads):2') }, /is static; only/],
  ['UNRESERVE of a volume', { kind: 'unreserve', resources: volume('v') }, /destroy the volume first/],
  ['CREATE of mere disk', { kind: 'create', volumes: disk(5) }, /'disk' is no persistent volume/],
  [
    'CREATE of disk that is not reserved',
    { kind: 'create', volumes: popReservation(volume('v')) },
    /volume 'v' is made of disk that is not reserved; reserve the disk first/,
  ],
  ['CREATE with a slash in its id', { kind: 'create', volumes: volume('a/b') }, /'a\/b' cannot name a folder/],
  [
    'CREATE of a mount disk of which nobody knows where it is',
    {
      kind: 'create',
      volumes: resourcesOf(volume('v').map((one) => ({ ...one, disk: { ...one.disk, source: { type: 'mount' } } }))),
    },
    /a mount disk that does not say where it is; give its 'root'/,
  ],
  ['CREATE with the id ..', { kind: 'create', volumes: volume('..') }, /cannot name a folder/],
  [
    'CREATE of an id that is there',
    { kind: 'create', volumes: volume('v') },
    /role 'ads' has a volume 'v' on the agent already; use that, or give another id/,
    { total: volume('v', { mb: 7 }) },
  ],
  [
    'CREATE of one id twice',
    { kind: 'create', volumes: add(volume('v'), volume('v', { mb: 7 })) },
    /role 'ads' has a volume 'v'/,
  ],
  [
    'CREATE that does not say where tasks see it',
    {
      kind: 'create',
      volumes: resourcesOf(volume('v').map((one) => ({ ...one, disk: { persistence: { id: 'v' } } }))),
    },
    /volume 'v' does not say how tasks see it/,
  ],
  [
    'CREATE in the name of another principal',
    { kind: 'create', volumes: volume('v', { principal: 'p' }) },
    /the principal of the volume is 'p', but 'q' acts/,
    { principal: 'q' },
  ],
  ['DESTROY of mere disk', { kind: 'destroy', volumes: disk(5) }, /'disk' is no persistent volume/],
  [
    'DESTROY of a volume in use',
    { kind: 'destroy', volumes: volume('v') },
    /a task uses volume 'v'; wait for the end of the task, or kill it/,
    { used: volume('v') },
  ],
  [
    'GROW_VOLUME of a mount disk',
    { kind: 'grow', volume: volume('v', { mount: true }), addition: disk(1) },
    /is a whole mount disk/,
  ],
  [
    'GROW_VOLUME of a shared volume',
    { kind: 'grow', volume: volume('v', { shared: true }), addition: disk(1) },
    /the volume is shared/,
  ],
  [
    'GROW_VOLUME with disk of another role',
    { kind: 'grow', volume: volume('v'), addition: disk(1, 'web') },
    /is not of the disk that the volume is made of/,
  ],
  ['SHRINK_VOLUME to nothing', { kind: 'shrink', volume: volume('v'), subtract: 100_000 }, /100 MB cannot be taken/],
  ['SHRINK_VOLUME by nothing', { kind: 'shrink', volume: volume('v'), subtract: 0 }, /0 MB cannot be taken from 100/],
];

for (const [what, conversion, message, context] of wrong) {
  test(`${what} is refused with what, why and what to do`, (t) => {
    const made = convert(conversion, context);
    if (made.ok) return void t.fail('it was converted');
    t.regex(made.error.message, message);
    t.regex(made.error.message, /^Cannot [A-Z_]+ '.*': .+; .+$/s);
    t.is(made.error.message.includes(made.error.operation), true);
  });
}

test('a volume gets another reservation of its own role', (t) => {
  const labelled = dynamic('ads', { labels: [{ key: 'tier', value: 'gold' }] });
  const resources = pushReservation(popReservation(volume('v')), labelled);
  t.true(convert({ kind: 'reserve', source: volume('v'), resources }, { total: volume('v') }).ok);
});

test('what an operation converts is read from the wire, in nobody’s name', (t) => {
  const wire = toWire(volume('v')).map((one) => ({ ...one, allocationInfo: { role: 'ads' } }));
  const [first] = wire;
  const shrink = first && conversionFromWire({ shrinkVolume: { volume: first, subtract: { value: 30 } } });
  t.deepEqual(shrink, { kind: 'shrink', volume: volume('v'), subtract: 30_000 });
  t.deepEqual(conversionFromWire({ destroy: { volumes: wire } }), { kind: 'destroy', volumes: volume('v') });
  t.is(conversionFromWire({}), undefined);
  t.throws(() => conversionFromWire({ reserve: { resources: [{ name: 'cpus' }] } }), {
    message: /resource 1 \('cpus'\)/,
  });
});

test('a shared volume stays for others, whoever uses it', (t) => {
  const all = add(volume('v', { shared: true }), disk(10));
  const used = add(add(volume('v', { shared: true }), volume('v', { shared: true })), disk(4));
  t.is(formatResources(tryUse(all, used) ?? noResources), formatResources(add(volume('v', { shared: true }), disk(6))));
  t.is(tryUse(disk(10), volume('v', { shared: true })), undefined);
});

/** What can be done with some resources: all of it at once, so that the undoing is of the same. */
function conversionsOf(resources: Resources): Conversion[] {
  const plain = select(resources, (one) => !one.disk?.persistence && !one.revocable);
  const volumes = select(resources, (one) => one.disk?.persistence !== undefined && one.copies === undefined);
  const below = plain.map((one): Resources => {
    const role = one.reservations?.at(-1)?.role;
    return pushReservation([one] as unknown as Resources, dynamic(role === undefined ? 'ads' : `${role}/x`));
  });
  return [
    ...below.map((one): Conversion => ({ kind: 'reserve', resources: one })),
    ...plain.map((one): Conversion => ({ kind: 'unreserve', resources: [one] as unknown as Resources })),
    ...volumes.map((one): Conversion => ({ kind: 'destroy', volumes: [one] as unknown as Resources })),
    ...volumes.map((one): Conversion => ({ kind: 'create', volumes: [one] as unknown as Resources })),
    ...volumes.map(
      (one): Conversion => ({
        kind: 'shrink',
        volume: [one] as unknown as Resources,
        subtract: one.kind === 'scalar' ? one.amount / 4 : 0,
      }),
    ),
  ];
}

/** What undoes a conversion that was made. */
function undo(conversion: Conversion): Conversion {
  switch (conversion.kind) {
    case 'reserve':
      return { kind: 'unreserve', resources: conversion.resources };
    case 'unreserve':
      return { kind: 'reserve', resources: conversion.resources };
    case 'create':
      return { kind: 'destroy', volumes: conversion.volumes };
    case 'destroy':
      return { kind: 'create', volumes: conversion.volumes };
    case 'grow':
      return { kind: 'shrink', volume: conversion.volume, subtract: 0 };
    case 'shrink': {
      const smaller = resourcesOf(
        conversion.volume.map((one) =>
          one.kind === 'scalar' ? { ...one, amount: one.amount - conversion.subtract } : one,
        ),
      );
      const freed = withoutVolumes(
        resourcesOf(
          conversion.volume.map((one) => (one.kind === 'scalar' ? { ...one, amount: conversion.subtract } : one)),
        ),
      );
      return { kind: 'grow', volume: smaller, addition: freed };
    }
  }
}

test('every conversion keeps the quantities, and what undoes it gives back what was consumed', (t) => {
  let made = 0;
  const law = fc.property(anyResources, (resources) => {
    for (const conversion of conversionsOf(resources)) {
      const there = convert(conversion);
      if (!there.ok) continue;
      made += 1;
      const plain = (side: Resources): Resources => toUnreserved(withoutVolumes(side));
      assert.deepEqual(quantitiesOf(there.consumed), quantitiesOf(there.converted));
      assert.ok(equals(plain(there.consumed), plain(there.converted)));
      const back = convert(undo(conversion));
      if (!back.ok) continue; // of what was static or without a mount there is no way back
      assert.ok(equals(back.consumed, there.converted), `${formatResources(back.consumed)}`);
      assert.ok(equals(back.converted, there.consumed), `${formatResources(back.converted)}`);
    }
  });
  t.notThrows(() => fc.assert(law, { numRuns: 300 }));
  t.true(made > 100, `${made} were made`);
});
