import { encode, mesobus, mesos } from '@mesobus/protos';
import {
  formatResources,
  fromWire,
  parseResources,
  pushReservation,
  type Resources,
  resourcesOf,
  toWire,
} from '@mesobus/sdk/resources';
import test from 'ava';
import { volumesToMake } from '../src/core/index.ts';
import { type Command, kindsIn, ofKind, run, statesIn, updatesIn, World } from './world.ts';

const { OperationState } = mesos.v1;
const { Type } = mesos.v1.Offer.Operation;
const { PARTITION_AWARE } = mesos.v1.FrameworkInfo.Capability.Type;

const info = { hostname: 'a', resources: toWire(parseResources('cpus:4;mem:1000;disk:500')) };
const ads = { type: 'dynamic' as const, role: 'ads' };
const reserved = (text: string): Resources => pushReservation(parseResources(text), ads);
const volumeOf = (id: string, mb: number, role = 'ads'): Resources =>
  resourcesOf([
    {
      name: 'disk',
      kind: 'scalar',
      amount: mb * 1000,
      reservations: [{ type: 'dynamic', role }],
      disk: { persistence: { id }, volume: { mode: 'read-write', containerPath: 'data' } },
    },
  ]);

type Operation = Partial<mesos.v1.Offer.Operation.$Properties>;
const uuid = (number: number): Uint8Array => Uint8Array.of(7, number);

const apply = (number: number, operation: Operation, id = ''): Command => ({
  number,
  applyOperation: {
    frameworkId: 'F',
    operation: { type: Type.RESERVE, ...(id !== '' && { id: { value: id } }), ...operation },
    operationUuid: uuid(number),
  },
});

const reserve = (resources: Resources): Operation => ({ reserve: { resources: toWire(resources) } });
const create = (volumes: Resources): Operation => ({ create: { volumes: toWire(volumes) } });
const destroy = (volumes: Resources): Operation => ({ destroy: { volumes: toWire(volumes) } });

const acknowledged = (number: number): Command => ({
  acknowledgeOperationUpdate: { operationUuid: uuid(number), statusUuid: Uint8Array.of(1) },
});

function operationUpdates(world: World): mesobus.v1.OperationUpdates.$Properties[] {
  return world.sent.flatMap(({ request }) => (request.operationUpdates ? [request.operationUpdates] : []));
}

const said = (world: World): string[] =>
  operationUpdates(world).flatMap(({ updates }) =>
    (updates ?? []).map(({ status }) => OperationState[status?.state ?? 0] ?? ''),
  );

const has = (world: World): string => formatResources(world.state.checkpointed);

const ready = (): World => new World().ready({ info });

test('a reservation is made in the order of the commands, and said once it is on the disk', (t) => {
  const world = ready();
  world.commands([apply(1, reserve(reserved('cpus:2')), 'o1')]);
  t.deepEqual(said(world), []);
  world.sync();
  t.deepEqual(said(world), ['OPERATION_FINISHED']);
  const [updates] = operationUpdates(world);
  t.is(updates?.cursor, 1);
  t.is(formatResources(fromWire(updates?.checkpointedResources ?? [])), has(world));
  t.is(world.state.checkpointed.length, 1);
});

test('what came of an operation is said again, the same, until it is acknowledged, also by the next process', (t) => {
  const world = ready();
  world.taken(apply(1, reserve(reserved('cpus:2')), 'o1'));
  const uuidSaid = operationUpdates(world)[0]?.updates?.[0]?.status?.uuid?.value;
  world.answer({ taken: {} });
  world.tick(2_000);
  t.deepEqual(operationUpdates(world)[0]?.updates?.[0]?.status?.uuid?.value, uuidSaid);
  world.restart({ info });
  world.registered();
  t.deepEqual(operationUpdates(world)[0]?.updates?.[0]?.status?.uuid?.value, uuidSaid);
  world.commands([acknowledged(1)]);
  t.is(world.state.operations.size, 0);
  world.sync();
  world.sent = [];
  world.tick(120_000);
  t.deepEqual(said(world), []);
});

test('an operation without an id is forgotten once the leader has what came of it', (t) => {
  const world = ready();
  world.taken(apply(1, reserve(reserved('cpus:2'))));
  t.is(world.state.operations.size, 1);
  world.answer({ taken: {} });
  t.is(world.state.operations.size, 0);
});

test('what came of many large operations is said in requests that fit, and none of it when the agent registers', (t) => {
  const world = ready();
  const labels = (at: number) => ({ labels: [{ key: `k${at}`, value: 'x'.repeat(20_000) }] });
  const large = (at: number): Resources => pushReservation(parseResources('cpus:0.1'), { ...ads, ...labels(at) });
  const numbers = Array.from({ length: 20 }, (_, at) => at + 1);
  world.taken(...numbers.map((at) => apply(at, reserve(large(at)), `o${at}`)));
  world.restart({ info });
  const { register } = world.sent[0]?.request ?? {};
  t.is(register?.operations?.length, numbers.length);
  t.true(encode(mesos.v1.Operation, register?.operations?.[0] ?? ({} as never)).length < 100);
  world.registered();
  for (let round = 0; round < 5; round += 1) world.tick(100);
  const requests = operationUpdates(world);
  t.deepEqual(
    requests.flatMap(({ updates }) => (updates ?? []).map(({ operationUuid }) => operationUuid?.[1])),
    numbers,
  );
  for (const { updates } of requests) t.true(encode(mesobus.v1.OperationUpdates, { updates }).length < 160 * 1024);
});

test('an operation that takes what is not there is dropped, and so is what follows from it', (t) => {
  const world = ready();
  world.taken(apply(1, reserve(reserved('disk:900'))), apply(2, create(volumeOf('v', 900))));
  t.deepEqual(said(world), ['OPERATION_DROPPED', 'OPERATION_DROPPED']);
  t.is(world.state.checkpointed.length, 0);
  t.regex(operationUpdates(world)[0]?.updates?.[0]?.status?.message ?? '', /it takes 'disk:900', and there is/);
});

test('what was reserved and made is there after a restart, a boot, a compaction and under another id', (t) => {
  const world = ready();
  world.taken(apply(1, reserve(reserved('cpus:2;disk:100'))), apply(2, create(volumeOf('v', 60))));
  const before = has(world);
  t.is(world.state.checkpointed.length, 3);
  world.bootId = 'boot-2';
  world.restart({ info });
  t.is(has(world), before);
  world.compact();
  world.restart({ info });
  t.is(has(world), before);
  const register = world.sent[0]?.request.register;
  t.is(formatResources(fromWire(register?.checkpointedResources ?? [])), before);
  t.is(register?.cursor, 2);
  world.registered({ agentId: 'm1-S9' });
  t.is(has(world), before);
  t.is(world.state.operations.size, 0, 'they are numbered per agent id');
});

test('an agent registers with its resources as of its cursor, whatever is on its way to the disk', (t) => {
  const world = ready();
  world.commands([apply(1, reserve(reserved('cpus:2')))]);
  world.commands([], { agentId: '' });
  world.tick(0);
  const register = world.sent.find(({ request }) => request.register)?.request.register;
  t.is(register?.cursor, 0);
  t.deepEqual(register?.checkpointedResources, []);
});

test('the folder of a volume is made, given to tasks, and removed when the volume is destroyed', (t) => {
  const world = ready();
  const made = world.taken(apply(1, reserve(reserved('disk:100'))), apply(2, create(volumeOf('v', 60))));
  t.is(ofKind(made, 'make_volume')[0]?.place.id, 'v');
  const effects = world.taken(run(3, 't1', { task: { resources: toWire(volumeOf('v', 60)) } }));
  const [start] = ofKind(effects, 'start');
  t.like(start?.volumes[0], { containerPath: 'data', place: { role: 'ads', id: 'v', isWhole: false } });
  world.started(world.containerId);
  world.exited(world.containerId, 0);
  t.is(ofKind(world.taken(apply(4, destroy(volumeOf('v', 60)))), 'remove_volume')[0]?.place.id, 'v');
});

test('a volume that a task uses is not destroyed', (t) => {
  const world = ready();
  world.taken(apply(1, reserve(reserved('disk:60'))), apply(2, create(volumeOf('v', 60))));
  world.taken(run(3, 't1', { task: { resources: toWire(volumeOf('v', 60)) } }));
  world.sent = [];
  const effects = world.taken(apply(4, destroy(volumeOf('v', 60))));
  t.deepEqual(ofKind(effects, 'remove_volume'), []);
  t.deepEqual(said(world), ['OPERATION_DROPPED']);
  t.regex(operationUpdates(world)[0]?.updates?.[0]?.status?.message ?? '', /a task uses volume 'v'/);
});

test('a volume of a framework that was removed is destroyed while its tasks end', (t) => {
  const world = ready();
  world.taken(apply(1, reserve(reserved('disk:60'))), apply(2, create(volumeOf('v', 60))));
  world.taken(run(3, 't1', { task: { resources: toWire(volumeOf('v', 60)) } }));
  world.started(world.containerId);
  const shutdown = { number: 4, shutdownFramework: { frameworkId: 'F' } };
  t.is(ofKind(world.taken(shutdown, apply(5, destroy(volumeOf('v', 60)))), 'remove_volume').length, 1);
});

test('a volume whose folder cannot be made has failed, and the task that needs it is dropped', (t) => {
  const world = ready();
  const commands = [
    apply(1, reserve(reserved('disk:60'))),
    apply(2, create(volumeOf('v', 60))),
    run(3, 't1', { capabilities: [PARTITION_AWARE], task: { resources: toWire(volumeOf('v', 60)) } }),
  ];
  t.like(volumesToMake(world.state, commands), [{ number: 2, place: { id: 'v' } }]);
  const message = { agentId: 'm1-S0', incarnation: `i${world.incarnation}`, commands };
  const failedVolumes = [{ number: 2, why: 'the disk is read-only' }];
  world.input({ kind: 'commands', deliveryId: 99, epoch: world.epoch, message, failedVolumes });
  const effects = world.sync();
  t.deepEqual(said(world), ['OPERATION_FINISHED', 'OPERATION_FAILED']);
  t.deepEqual(statesIn(effects), ['TASK_DROPPED 1']);
  t.is(updatesIn(effects)[0]?.status?.reason, mesos.v1.TaskStatus.Reason.REASON_RESOURCES_UNKNOWN);
  t.false(kindsIn(effects).includes('start'));
  world.restart({ info });
  t.is(world.state.checkpointed.length, 1, 'the disk stays reserved, and is no volume');
});

test('a volume that is destroyed and made again at once is removed first', (t) => {
  const world = ready();
  world.taken(apply(1, reserve(reserved('disk:60'))), apply(2, create(volumeOf('v', 60))));
  const again = [apply(3, destroy(volumeOf('v', 60))), apply(4, create(volumeOf('v', 60)))];
  t.deepEqual(volumesToMake(world.state, again), [], 'its place is known');
  const effects = world.taken(...again);
  t.deepEqual(
    kindsIn(effects).filter((kind) => kind.endsWith('_volume')),
    ['remove_volume', 'make_volume'],
  );
  t.deepEqual(
    kindsIn(world.restart({ info })).filter((kind) => kind.endsWith('_volume')),
    ['make_volume', 'make_volume'],
    'what was written into it since stays',
  );
});

test('a process that died before it removed a volume has its successor do it', (t) => {
  const world = ready();
  world.taken(apply(1, reserve(reserved('disk:60'))), apply(2, create(volumeOf('v', 60))));
  world.commands([apply(3, destroy(volumeOf('v', 60)))]);
  world.disk.push(...world.volatile.splice(0));
  t.is(ofKind(world.restart({ info }), 'remove_volume')[0]?.place.id, 'v');
});

test('a volume that an operator moves to another role is moved on the disk', (t) => {
  const world = ready();
  world.taken(apply(1, reserve(reserved('disk:60'))), apply(2, create(volumeOf('v', 60))));
  const moved = {
    reserve: { source: toWire(volumeOf('v', 60)), resources: toWire(volumeOf('v', 60, 'web')) },
  };
  const [move] = ofKind(world.taken(apply(3, moved)), 'move_volume');
  t.is(move?.from.role, 'ads');
  t.is(move?.to.role, 'web');
});

test('an agent does not start without what its volumes are made of, whatever its policy', (t) => {
  const world = ready();
  world.taken(apply(1, reserve(reserved('disk:400'))), apply(2, create(volumeOf('v', 400))));
  const less = { hostname: 'a', resources: toWire(parseResources('cpus:4;mem:1000;disk:300')) };
  const [stop] = ofKind(world.start({ info: less, reconfiguration: 'any' }), 'stop');
  t.is(stop?.exitCode, 2);
  t.regex(
    stop?.reason ?? '',
    /Cannot start agent 'a': .*disk.* was made of resources that it has no more\. Give it what/,
  );
  t.deepEqual(ofKind(world.start({ info }), 'stop'), []);
});

test('a container path that is no single name is refused with what to write', (t) => {
  const world = ready();
  const absolute = resourcesOf(
    volumeOf('v', 60).map((one) => ({
      ...one,
      disk: { persistence: { id: 'v' }, volume: { mode: 'read-write' as const, containerPath: '/data' } },
    })),
  );
  world.taken(apply(1, reserve(reserved('disk:60'))), apply(2, create(volumeOf('v', 60))));
  const effects = world.taken(run(3, 't1', { task: { resources: toWire(absolute) } }));
  t.deepEqual(statesIn(effects), ['TASK_ERROR 1']);
  t.regex(updatesIn(effects)[0]?.status?.message ?? '', /Volume 'v' has the container path '\/data': .*such as 'data'/);
});

test('an operation of a journal from before there were any was not done', (t) => {
  const world = ready();
  const command = apply(1, reserve(reserved('cpus:1')), 'o1');
  world.disk.push(new mesobus.v1.JournalRecord({ commandTaken: new mesobus.v1.CommandTaken({ command } as never) }));
  world.restart({ info });
  world.registered();
  t.deepEqual(said(world), ['OPERATION_UNSUPPORTED']);
});
