// What a framework says that it wants, and how many offers it may have.
import type { mesobus } from '@mesobus/protos';
import { add, parseResources, toRevocable } from '@mesobus/sdk/resources';
import test from 'ava';
import { frameworkCan, World } from './oracle/world.ts';

const wants = (count: number, quantities: Record<string, number>, role = 'ads'): mesobus.v1.RoleDemand.$Properties => ({
  role,
  shapes: [
    { count, quantities: Object.fromEntries(Object.entries(quantities).map(([name, value]) => [name, { value }])) },
  ],
});

function cluster(demand: mesobus.v1.RoleDemand.$Properties | undefined, ...totals: string[]): World {
  const world = new World();
  world.putFramework('f1', { roles: ['ads'], ...(demand && { demands: [demand] }) });
  world.addAgents(...totals);
  return world;
}

test('an offer is cut to what is wanted in all', (t) => {
  const world = cluster(wants(3, { cpus: 1, mem: 100 }), 'cpus:8;mem:4096;disk:100;ports:[1-9]');
  t.deepEqual(
    world.offerAll().map(({ resources }) => resources),
    [parseResources('cpus:3;mem:300;ports:[1-9]')],
  );
});

test('an agent in which no wanted task fits is not offered', (t) => {
  const world = cluster(wants(3, { cpus: 2, mem: 100 }), 'cpus:1;mem:4096', 'cpus:8;mem:99');
  t.deepEqual(world.offerAll(), []);
  world.addAgents('cpus:2;mem:100');
  t.is(world.offerAll().length, 1);
});

test('a task wants so many ports', (t) => {
  const world = cluster(wants(1, { cpus: 1, ports: 3 }), 'cpus:1;ports:[1-2]');
  t.deepEqual(world.offerAll(), []);
  world.addAgents('cpus:1;ports:[1-2,5-5]');
  t.is(world.offerAll()[0]?.agentId, 'a2');
});

test('nothing more is offered than is wanted, however much is free', (t) => {
  const world = cluster(wants(3, { cpus: 1 }), 'cpus:2', 'cpus:2', 'cpus:2');
  const offers = world.offerAll().map(({ resources }) => resources);
  t.deepEqual(offers, [parseResources('cpus:2'), parseResources('cpus:1')]);
});

test('of what is wanted, what is reserved for it goes first', (t) => {
  const world = cluster(wants(3, { cpus: 1 }), 'cpus:4;cpus(ads):2');
  t.deepEqual(world.offerAll()[0]?.resources, parseResources('cpus:1;cpus(ads):2'));
});

test('a task takes all of its cpus revocably or none: half of each is no offer', (t) => {
  const world = cluster(wants(1, { cpus: 1, mem: 100 }), 'cpus:0.5;mem:1000');
  world.putFramework('f1', { capabilities: [{ type: frameworkCan.REVOCABLE_RESOURCES }] });
  world.estimate('a1', 0.5);
  t.deepEqual(world.offerAll(), []);
  world.estimate('a1', 1);
  const [offer] = world.offerAll();
  t.deepEqual(offer?.resources, add(parseResources('cpus:0.5;mem:100'), toRevocable(parseResources('cpus:1'))));
});

test('whoever wants nothing is offered nothing, and whoever takes that back is offered everything', (t) => {
  const world = cluster({ role: 'ads', shapes: [] }, 'cpus:2');
  t.deepEqual(world.offerAll(), []);
  world.putFramework('f1', { demands: [] });
  t.deepEqual(world.offerAll()[0]?.resources, parseResources('cpus:2'));
});

test('only roles that want something compete', (t) => {
  const world = cluster({ role: 'ads', shapes: [] }, 'cpus:1', 'cpus:1');
  world.putFramework('f2', { roles: ['eng'] });
  t.deepEqual(
    world.offerAll().map(({ role }) => role),
    ['eng', 'eng'],
  );
});

test('what is wanted and was declined on one agent is offered on another', (t) => {
  const world = cluster(wants(1, { cpus: 1 }), 'cpus:1', 'cpus:1');
  const [first] = world.offerAll();
  world.answer(first?.agentId ?? '', 0, '', 60_000);
  world.at += 1_000;
  t.not(world.offerAll()[0]?.agentId, first?.agentId);
});

test('a demand that grows is looked at at once', (t) => {
  const world = cluster(wants(1, { cpus: 1 }), 'cpus:1', 'cpus:1');
  t.is(world.offerAll().length, 1);
  world.putFramework('f1', { demands: [wants(2, { cpus: 1 })] });
  t.is(world.offerAll().length, 1);
});

test('a task below the smallest offer is offered if it is wanted', (t) => {
  const world = cluster(wants(1, { cpus: 0.005 }), 'cpus:0.006');
  t.deepEqual(world.offerAll()[0]?.resources, parseResources('cpus:0.005'));
});

test('a task below the smallest offer is offered as soon as it is wanted', (t) => {
  const world = cluster(undefined, 'disk:100');
  t.deepEqual(world.offerAll(), []);
  world.putFramework('f1', { demands: [wants(1, { disk: 50 })] });
  t.deepEqual(world.offerAll()[0]?.resources, parseResources('disk:50'));
});

test('a disk that can only be had whole is offered whole', (t) => {
  const disk = {
    name: 'disk',
    type: 'SCALAR',
    scalar: { value: 300 },
    disk: { source: { type: 'MOUNT', mount: { root: '/d' } } },
  };
  const world = cluster(wants(1, { disk: 100 }), JSON.stringify([disk]));
  t.deepEqual(world.offerAll()[0]?.resources, parseResources(JSON.stringify([disk])));
});

test('a framework with as many offers as it may have gets another one when it has answered', (t) => {
  const world = cluster(undefined, 'cpus:1', 'cpus:1', 'cpus:1');
  world.putFramework('f1', { maxOpenOffers: 2 });
  const offers = world.offerAll();
  t.is(offers.length, 2);
  const held = world.offerOn(offers[0]?.agentId ?? '', 0);
  t.truthy(held);
  world.answer(offers[0]?.agentId ?? '', 0, 'cpus:1', 0);
  world.at += 1_000;
  t.is(world.offerAll().length, 1);
});
