import { type mesobus, mesos } from '@mesobus/protos';
import { createMemoryNetwork, subjectsOf } from '@mesobus/sdk/bus';
import { connectOperator } from '@mesobus/sdk/operator';
import test, { type ExecutionContext } from 'ava';

const subjects = subjectsOf('main');
const { Type } = mesos.v1.master.Call;
const { UNKNOWN, ACCEPT, DECLINE } = mesos.v1.allocator.InverseOfferStatus.Status;

/** A master that takes every change, and knows this. */
async function setUp(t: ExecutionContext, answer: mesobus.v1.MasterAnswer.$Properties = {}) {
  const network = createMemoryNetwork();
  const services = network.connect('services');
  const calls: mesos.v1.master.Call[] = [];
  services.serve(subjects.masterQuery.any, (delivery) => delivery.reply(answer));
  services.serve(subjects.masterOperator.any, (delivery) => {
    if (delivery.message.call) calls.push(delivery.message.call);
    delivery.reply({ logIndex: 1 });
  });
  const operator = await connectOperator({ bus: network.connect('operator'), timeoutMs: 2000 });
  t.teardown(() => services.close());
  return { operator, calls };
}

test('quotas are read in Mesos units, with what counts for them', async (t) => {
  const quota = { role: 'ads', guarantees: { cpus: { value: 1.5 } }, limits: { mem: { value: 0 } } };
  const consumed = { cpus: { value: 0.5 } };
  const { operator } = await setUp(t, { roleUse: { roles: [{ quota, consumed }] } });
  t.deepEqual(await operator.quotas(), [
    { role: 'ads', guarantees: { cpus: 1.5 }, limits: { mem: 0 }, consumed: { cpus: 0.5 } },
  ]);
});

test('an update of quotas says what shall be, and whether it is forced; without amounts a quota is removed', async (t) => {
  const { operator, calls } = await setUp(t);
  await operator.updateQuota([{ role: 'ads', limits: { cpus: 2 } }, { role: 'web' }], { force: true });
  await operator.updateQuota([{ role: 'ads' }]);
  t.deepEqual(
    calls.map(({ type, updateQuota }) => [type, updateQuota?.force]),
    [
      [Type.UPDATE_QUOTA, true],
      [Type.UPDATE_QUOTA, false],
    ],
  );
  const [ads, web] = calls[0]?.updateQuota?.quotaConfigs ?? [];
  t.is(ads?.limits['cpus']?.value, 2);
  t.deepEqual([web?.role, Object.keys(web?.limits ?? {}), Object.keys(web?.guarantees ?? {})], ['web', [], []]);
});

test('maintenance is read as machines, dates and answers', async (t) => {
  const start = { nanoseconds: 1_500_000_000n };
  const machineIds = [{ hostname: 'm1' }, { ip: '10.0.0.1' }];
  const statuses = [UNKNOWN, ACCEPT, DECLINE].map((status, index) => ({
    status,
    frameworkId: { value: `F${index}` },
    timestamp: start,
  }));
  const { operator } = await setUp(t, {
    maintenance: {
      schedule: {
        windows: [
          { machineIds, unavailability: { start, duration: { nanoseconds: 60_000_000_000n } } },
          { machineIds: [{ hostname: 'm2' }], unavailability: { start } },
        ],
      },
      status: { drainingMachines: [{ id: { hostname: 'm1' }, statuses }], downMachines: [{ ip: '10.0.0.1' }] },
    },
  });
  t.deepEqual(await operator.maintenanceSchedule(), [
    { machines: [{ hostname: 'm1' }, { ip: '10.0.0.1' }], start: new Date(1_500), durationMs: 60_000 },
    { machines: [{ hostname: 'm2' }], start: new Date(1_500) },
  ]);
  const { draining, down } = await operator.maintenanceStatus();
  t.deepEqual(
    draining[0]?.answers.map(({ frameworkId, answer }) => [frameworkId, answer]),
    [
      ['F0', 'unknown'],
      ['F1', 'accept'],
      ['F2', 'decline'],
    ],
  );
  t.deepEqual(down, [{ ip: '10.0.0.1' }]);
});

test('maintenance is planned, started and stopped by calls of their own', async (t) => {
  const { operator, calls } = await setUp(t);
  const machines = [{ hostname: 'm1' }];
  await operator.updateMaintenanceSchedule([{ machines, start: new Date(1_500), durationMs: 60_000 }]);
  await operator.startMaintenance(machines);
  await operator.stopMaintenance(machines);
  t.deepEqual(
    calls.map(({ type }) => type),
    [Type.UPDATE_MAINTENANCE_SCHEDULE, Type.START_MAINTENANCE, Type.STOP_MAINTENANCE],
  );
  const [window] = calls[0]?.updateMaintenanceSchedule?.schedule.windows ?? [];
  t.is(window?.unavailability.start.nanoseconds, 1_500_000_000n);
  t.is(window?.unavailability.duration?.nanoseconds, 60_000_000_000n);
  t.is(window?.machineIds[0]?.hostname, 'm1');
  t.is(calls[1]?.startMaintenance?.machines[0]?.hostname, 'm1');
});
