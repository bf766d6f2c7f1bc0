import { mesobus } from '@mesobus/protos';
import { type Bus, createMemoryNetwork, ManualClock, subjectsOf } from '@mesobus/sdk/bus';
import test, { type ExecutionContext } from 'ava';
import { applyRecord, createLedger, type Ledger, ledgerHash } from '../src/core/index.ts';
import type { LogFollower } from '../src/index.ts';
import { QueryService } from '../src/shell/serve-queries.ts';
import { frameworkRecord } from './records.ts';

const subjects = subjectsOf('test');

/** A registry at an index that the test decides, a leader that says what it has written, and somebody who asks. */
async function scene(t: ExecutionContext) {
  const clock = new ManualClock();
  const network = createMemoryNetwork();
  const [registry, leader, asker] = [network.connect('r'), network.connect('l'), network.connect('a')] as Bus[];
  if (registry === undefined || leader === undefined || asker === undefined) throw new Error('no bus');
  const follower = { ledger: createLedger(), lastIndex: 10, epoch: 1, masterId: 'm' };
  const service = new QueryService({
    ...{ bus: registry, subjects, clock, registryId: 'r', maxLagMs: 5_000 },
    follower: follower as unknown as LogFollower,
  });
  t.teardown(() => service.stop());
  return {
    clock,
    service,
    reach: (index: number, ledger: Ledger = follower.ledger) => {
      Object.assign(follower, { lastIndex: index, ledger });
      service.onIndex(index);
    },
    beat: async (lastLogIndex: number) => {
      leader.publish(subjects.leader, { masterId: 'm', lastLogIndex });
      await new Promise((resolve) => setImmediate(resolve));
    },
    hash: async () => {
      const query = new mesobus.v1.RegistryQuery({ getStatus: {} });
      const { message } = await asker.request(subjects.registryQuery.of('p'), query, { timeoutMs: 1_000 });
      return Buffer.from(message.status?.ledgerHash ?? []).toString('hex');
    },
    ask: (atLeastIndex: number, timeoutMs: number) =>
      asker.request(subjects.registryQuery.of('p'), new mesobus.v1.RegistryQuery({ atLeastIndex, getRoles: {} }), {
        timeoutMs,
      }),
  };
}

test('a registry that lacks for long what the leader has written answers nobody until it has it', async (t) => {
  const { clock, service, reach, beat, ask } = await scene(t);
  await beat(12);
  clock.advance(4_000);
  await beat(30);
  t.true(service.serves);
  clock.advance(1_000);
  await beat(40);
  t.false(service.serves, 'entry 12 has been missing for five seconds');
  await t.throwsAsync(() => ask(0, 1_000), { name: 'NoRespondersError' });
  reach(39);
  t.false(service.serves);
  reach(40);
  t.true(service.serves);
  t.is((await ask(0, 1_000)).message.logIndex, 40);
});

test('a registry that is always a little behind goes on answering', async (t) => {
  const { clock, service, reach, beat } = await scene(t);
  for (let index = 11; index < 100; index += 1) {
    await beat(index + 1);
    clock.advance(300);
    reach(index);
  }
  t.true(service.serves);
});

test('queries are answered where no master is: they cost none anything', async (t) => {
  const { clock, reach, ask } = await scene(t);
  clock.advance(600_000);
  const answers = await Promise.all(Array.from({ length: 100 }, () => ask(10, 1_000)));
  t.true(answers.every(({ message }) => message.logIndex === 10 && message.roles !== null));
  reach(11);
  t.is((await ask(11, 1_000)).message.logIndex, 11);
});

test('a query waits for the index that it demands as long as its asker does', async (t) => {
  const { clock, reach, ask } = await scene(t);
  const early = ask(12, 1_000);
  const patient = ask(12, 60_000);
  await new Promise((resolve) => setImmediate(resolve));
  clock.advance(950);
  await t.throwsAsync(() => early, { code: 'index_not_reached' });
  clock.advance(50_000);
  reach(12);
  t.is((await patient).message.logIndex, 12);
});

test('the hash is that of the ledger, also when another one stands at the same index after a restore', async (t) => {
  const { reach, hash } = await scene(t);
  const [empty, other] = [createLedger(), createLedger()];
  applyRecord(other, frameworkRecord());
  reach(11, empty);
  t.is(await hash(), ledgerHash(empty));
  reach(11, other);
  t.is(await hash(), ledgerHash(other));
});
