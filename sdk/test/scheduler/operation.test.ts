import { mesos } from '@mesobus/protos';
import test from 'ava';
import {
  ConversionError,
  conversionFromWire,
  parseResources,
  reservedFor,
  volumeOf,
} from '../../src/resources/index.ts';
import { type Operation, wireOperationsOf } from '../../src/scheduler/operation.ts';

const { Type } = mesos.v1.Offer.Operation;
const disk = reservedFor(parseResources('disk:100'), 'ads', { principal: 'p', labels: [{ key: 'k', value: 'v' }] });
const volume = volumeOf(disk, { id: 'v1', containerPath: 'data', principal: 'p' });
const more = reservedFor(parseResources('disk:5'), 'ads', { principal: 'p', labels: [{ key: 'k', value: 'v' }] });

test('operations travel in their order, with their ids, and are read as they were meant', (t) => {
  const what: Operation[] = [
    { kind: 'reserve', resources: disk, id: 'o1' },
    { kind: 'create', volumes: volume },
    { kind: 'grow', volume, addition: more },
    { kind: 'shrink', volume, subtractMb: 30 },
    { kind: 'destroy', volumes: volume },
    { kind: 'unreserve', resources: disk },
  ];
  const wire = wireOperationsOf(what, 'a1');
  t.deepEqual(
    wire.map(({ type }) => type),
    [Type.RESERVE, Type.CREATE, Type.GROW_VOLUME, Type.SHRINK_VOLUME, Type.DESTROY, Type.UNRESERVE],
  );
  t.is(wire[0]?.id?.value, 'o1');
  t.deepEqual(
    wire.map((operation) => conversionFromWire(operation)),
    [
      { kind: 'reserve', resources: disk, source: undefined },
      { kind: 'create', volumes: volume },
      { kind: 'grow', volume, addition: more },
      { kind: 'shrink', volume, subtract: 30_000 },
      { kind: 'destroy', volumes: volume },
      { kind: 'unreserve', resources: disk },
    ],
  );
});

test('tasks name their executor, groups theirs; without a command the agent itself runs the group', (t) => {
  const resources = { cpus: 1 };
  const executor = { id: 'e', command: './executor', resources: { cpus: 0.1 }, shutdownGraceMs: 2_000 };
  const group: Operation = {
    kind: 'launch_group',
    executor: { id: 'g' },
    tasks: [{ id: 't2', command: 'true', resources }],
  };
  const [launch, grouped] = wireOperationsOf([{ id: 't1', executor, resources }, group], 'a1');
  const task = launch?.launch?.taskInfos?.[0];
  t.is(task?.command, undefined);
  t.like(task?.executor, {
    executorId: { value: 'e' },
    type: mesos.v1.ExecutorInfo.Type.CUSTOM,
    command: { shell: true, value: './executor' },
    shutdownGracePeriod: { nanoseconds: 2_000_000_000n },
  });
  t.deepEqual(grouped?.launchGroup?.executor, { executorId: { value: 'g' }, type: mesos.v1.ExecutorInfo.Type.DEFAULT });
  t.like(grouped?.launchGroup?.taskGroup?.tasks?.[0], { taskId: { value: 't2' }, command: { value: 'true' } });
});

test('an operation that makes no sense is refused before it is sent, with what, why and what to do', (t) => {
  const wrong: Operation = { kind: 'reserve', resources: parseResources('cpus:2') };
  const error = t.throws(() => wireOperationsOf([wrong], 'a1'), { instanceOf: ConversionError });
  t.is(error?.operation, 'RESERVE');
  t.is(
    error?.message,
    "Cannot RESERVE 'cpus:2': 'cpus' has no reservation: nothing can be reserved to '*'; add a reservation with a role such as 'ads'",
  );
});
