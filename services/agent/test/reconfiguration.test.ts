import type { mesos } from '@mesobus/protos';
import { attributesToWire, parseAttributes, parseResources, toWire } from '@mesobus/sdk/resources';
import test from 'ava';
import type { Reconfiguration } from '../src/core/index.ts';
import { ofKind, run, World } from './world.ts';

interface Said {
  readonly resources?: string;
  readonly attributes?: string;
  readonly zone?: string;
  readonly hostname?: string;
}

function infoOf({ resources = '', attributes = '', zone, hostname = 'h' }: Said): mesos.v1.AgentInfo.$Properties {
  return {
    hostname,
    resources: toWire(parseResources(resources)),
    attributes: attributesToWire(parseAttributes(attributes)),
    ...(zone === undefined ? {} : { domain: { faultDomain: { region: { name: 'r' }, zone: { name: zone } } } }),
  };
}

/** Why an agent with another configuration than before does not start; undefined if it does. */
function refusalOf(before: Said, now: Said, reconfiguration: Reconfiguration): string | undefined {
  const world = new World().ready({ info: infoOf(before) });
  const [stop] = ofKind(world.start({ info: infoOf(now), reconfiguration }), 'stop');
  if (stop !== undefined && stop.exitCode !== 2) throw new Error(`it exits with ${stop.exitCode}`);
  return stop?.reason;
}

const base = { resources: 'cpus:4;mem:1024;ports:[1-10]', attributes: 'rack:a;level:1' };
const cases: readonly [string, Said, 'same' | 'more' | RegExp][] = [
  ['the same', base, 'same'],
  ['the same in another order', { resources: 'ports:[1-10];mem:1024;cpus:4', attributes: 'level:1;rack:a' }, 'same'],
  ['another host name', { ...base, hostname: 'other' }, 'same'],
  ['more of a resource', { ...base, resources: 'cpus:8;mem:1024;ports:[1-10]' }, 'more'],
  ['a new resource', { ...base, resources: `${base.resources};gpus:1` }, 'more'],
  ['more ports', { ...base, resources: 'cpus:4;mem:1024;ports:[1-20]' }, 'more'],
  ['a new attribute', { ...base, attributes: 'rack:a;level:1;os:debian' }, 'more'],
  ['a second value of an attribute', { ...base, attributes: 'rack:a;level:1;rack:b' }, 'more'],
  ['a domain where there was none', { ...base, zone: 'z1' }, 'more'],
  ['less of a resource', { ...base, resources: 'cpus:2;mem:1024;ports:[1-10]' }, /'cpus:4' became 'cpus:2'/],
  ['a resource gone', { ...base, resources: 'cpus:4;mem:1024' }, /'ports:\[1-10\]' is gone/],
  ['other ports', { ...base, resources: 'cpus:4;mem:1024;ports:[5-15]' }, /'ports:\[1-10\]' became 'ports:\[5-15\]'/],
  ['resources reserved', { ...base, resources: 'cpus(ads):4;mem:1024;ports:[1-10]' }, /became 'cpus\(ads\):4'/],
  ['another attribute', { ...base, attributes: 'rack:b;level:1' }, /'rack:a' became 'rack:b'/],
  ['an attribute gone', { ...base, attributes: 'level:1' }, /'rack:a' is gone/],
];
for (const [what, now, kind] of cases) {
  test(`an agent with ${what} starts as its policy says`, (t) => {
    const equal = refusalOf(base, now, 'equal');
    const additive = refusalOf(base, now, 'additive');
    t.is(equal === undefined, kind === 'same');
    t.is(additive === undefined, kind === 'same' || kind === 'more');
    t.is(refusalOf(base, now, 'any'), undefined);
    if (kind === 'more') t.regex(equal ?? '', /start it with --reconfiguration-policy additive/);
    if (kind instanceof RegExp) {
      for (const reason of [equal, additive]) {
        t.regex(reason ?? '', kind);
        t.regex(reason ?? '', /move its work directory away/);
        t.notRegex(reason ?? '', /start it with/);
      }
    }
  });
}

test('every difference is named', (t) => {
  const reason = refusalOf(base, { resources: 'cpus:2', attributes: 'rack:b', zone: 'z' }, 'equal') ?? '';
  for (const part of ['cpus', 'mem', 'ports', 'rack', 'level', 'domain r/z']) t.true(reason.includes(part), part);
});

test('another domain is refused', (t) => {
  t.regex(refusalOf({ ...base, zone: 'a' }, { ...base, zone: 'b' }, 'additive') ?? '', /'domain r\/a' became/);
});

test('an agent that may not start changes nothing', (t) => {
  const world = new World().ready({ info: infoOf(base) });
  world.taken(run(1, 't1'));
  const effects = world.start({ info: infoOf({}), reconfiguration: 'equal' });
  t.deepEqual(
    effects.map(({ kind }) => kind),
    ['stop'],
  );
  t.deepEqual(world.tick(10_000), []);
});

test('what is allowed is what the next process compares with', (t) => {
  const more = { ...base, resources: 'cpus:8;mem:1024;ports:[1-10]' };
  const world = new World().ready({ info: infoOf(base) });
  world.ready({ info: infoOf(more), reconfiguration: 'additive' });
  t.deepEqual(ofKind(world.start({ info: infoOf(more), reconfiguration: 'equal' }), 'stop'), []);
  world.sync();
  t.like(ofKind(world.tick(0), 'send')[0]?.request.register?.info, { id: { value: 'm1-S0' } });
  t.is(ofKind(world.start({ info: infoOf(base), reconfiguration: 'equal' }), 'stop').length, 1);
});

test('an agent that joins as a new one may be as it likes', (t) => {
  const world = new World().ready({ info: infoOf(base) });
  world.taken({ number: 1, shutdownAgent: {} });
  t.deepEqual(ofKind(world.start({ info: infoOf({}), reconfiguration: 'equal' }), 'stop'), []);
});
