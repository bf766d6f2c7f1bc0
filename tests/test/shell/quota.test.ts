// A role with a limit and a role with a guarantee on real services: what is offered, refused and taken back.
import { RefusedError } from '@mesobus/sdk/errors';
import type { Offer } from '@mesobus/sdk/scheduler';
import test from 'ava';
import { clusterFor, Happenings, operatorFor, schedulerFor } from './in-cluster.ts';

test.serial('a limit holds offers back, a guarantee takes them back, and what contradicts is refused', async (t) => {
  t.timeout(180_000);
  const cluster = await clusterFor(t, { agents: 2, resources: 'cpus:4;mem:4096;disk:0;ports:[]' });
  const operator = await operatorFor(t, cluster);

  const above = await t.throwsAsync(operator.updateQuota([{ role: 'ads', guarantees: { cpus: 9 } }]), {
    instanceOf: RefusedError,
  });
  t.regex(
    above?.message ?? '',
    /would be cpus:9, but the agents have cpus:8; guarantee less, add agents, or use force/,
  );
  await operator.updateQuota([
    { role: 'ads', guarantees: { cpus: 2 }, limits: { cpus: 3 } },
    { role: 'ads/web', limits: { cpus: 2 } },
  ]);
  t.deepEqual((await operator.quotas()).map(({ role, limits, consumed }) => [role, limits, consumed]).sort(), [
    ['ads', { cpus: 3 }, {}],
    ['ads/web', { cpus: 2 }, {}],
  ]);

  // It holds on to everything that it is offered.
  const offered = new Happenings<Offer>();
  const rescinded = new Happenings<string>();
  await schedulerFor(
    t,
    cluster,
    { name: 'web', roles: ['ads/web'] },
    { resourceOffers: (offers) => offers.forEach(offered.note), offerRescinded: rescinded.note },
  );
  const first = await offered.find(({ amounts }) => amounts.cpus > 0);
  t.is(first.amounts.cpus, 2, 'the limit');
  const held = (): number => offered.seen.reduce((sum, { amounts }) => sum + amounts.cpus, 0);
  t.is(held(), 2);
  const [use] = (await operator.quotas()).filter(({ role }) => role === 'ads');
  t.is(use?.consumed['cpus'], 2);

  await operator.updateQuota([{ role: 'ads/web', limits: { cpus: 1 } }]);
  await rescinded.find((offerId) => offerId === first.id);
  t.is((await offered.find(({ id, amounts }) => id !== first.id && amounts.cpus > 0)).amounts.cpus, 1);
});
