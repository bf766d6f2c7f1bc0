import test from 'ava';
import {
  add,
  type Conversion,
  checkpointedIn,
  convert,
  equals,
  exchange,
  formatResources,
  noResources,
  parseResources,
  pushReservation,
  type Resources,
  resourcesOf,
  withCheckpointed,
} from '../../src/resources/index.ts';

const configured = parseResources('cpus:8;mem:1000;disk:500;disk(ads):100');
const ads = { type: 'dynamic' as const, role: 'ads' };
const below = { type: 'dynamic' as const, role: 'ads/web' };
const volume = resourcesOf([
  {
    name: 'disk',
    kind: 'scalar',
    amount: 50_000,
    reservations: [{ type: 'static', role: 'ads' }],
    disk: { persistence: { id: 'v' }, volume: { mode: 'read-write', containerPath: 'data' } },
    shared: true,
  },
]);

test('what is checkpointed, made in what was configured, is what conversions made of it', (t) => {
  const conversions: Conversion[] = [
    { kind: 'reserve', resources: pushReservation(parseResources('cpus:4;mem:100'), ads) },
    { kind: 'reserve', resources: pushReservation(pushReservation(parseResources('cpus:1'), ads), below) },
    { kind: 'create', volumes: volume },
    { kind: 'unreserve', resources: pushReservation(parseResources('mem:40'), ads) },
  ];
  let total: Resources = configured;
  for (const conversion of conversions) {
    const made = convert(conversion, { total, available: total });
    if (!made.ok) return void t.fail(made.error.message);
    total = exchange(total, made.consumed, made.converted) ?? noResources;
    const checkpointed = checkpointedIn(total);
    t.true(equals(withCheckpointed(configured, checkpointed), total), formatResources(total));
  }
  t.is(checkpointedIn(total).length, 4);
});

test('what is checkpointed of resources that are no more is left out', (t) => {
  const checkpointed = add(pushReservation(parseResources('cpus:9'), ads), volume);
  t.true(equals(withCheckpointed(configured, checkpointed), withCheckpointed(configured, volume)));
});

test('nothing is made of what is not there', (t) => {
  t.is(exchange(configured, parseResources('cpus:9'), noResources), undefined);
});
