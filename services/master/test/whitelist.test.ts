import { mesobus, mesos } from '@mesobus/protos';
import test from 'ava';
import { Harness, masterInfo, outcomeOf, resources } from './harness.ts';

const { Inactive } = mesobus.v1.AgentBook;

const bookOf = (h: Harness, agentId: string): mesobus.v1.AgentBook | undefined =>
  h
    .feedOf()
    .flatMap(({ items }) => items.flatMap(({ agent }) => agent ?? []))
    .findLast((book) => book.agentId === agentId);

const domain = (region: string): mesos.v1.DomainInfo =>
  new mesos.v1.DomainInfo({
    faultDomain: new mesos.v1.DomainInfo.FaultDomain({ region: { name: region }, zone: { name: 'z' } } as never),
  });

test('only whitelisted agents are offered; what is offered already stays', (t) => {
  const h = new Harness();
  const [a1, a2] = [h.agent('a1'), h.agent('a2')];
  const f = h.framework();
  h.appoint();
  h.offer(f, a1, 'cpus:1');
  h.feedOf();
  h.step({ kind: 'whitelist', hostnames: new Set(['a2']) });
  t.like(bookOf(h, a1), { active: false, inactive: Inactive.NOT_WHITELISTED });
  t.is(h.offer(f, a1, 'cpus:1'), 'm1-O1', 'none is made');
  t.is(h.state.offers.size, 1);
  t.is(h.offer(f, a2, 'cpus:1'), 'm1-O2');
  h.feedOf();
  h.step({ kind: 'whitelist', hostnames: new Set() });
  t.like(bookOf(h, a2), { active: false });
  h.step({ kind: 'whitelist', hostnames: undefined });
  const batches = h.feedOf().flatMap(({ items }) => items.flatMap(({ agent }) => agent ?? []));
  t.deepEqual(batches.map(({ agentId, active }) => [agentId, active]).sort(), [
    [a1, true],
    [a2, true],
  ]);
});

test('a whitelist that is read again as it was tells nobody anything', (t) => {
  const h = new Harness();
  h.agent('a1');
  h.appoint();
  h.step({ kind: 'whitelist', hostnames: new Set(['a1']) });
  t.deepEqual(h.feedOf(), []);
});

test('an allocator hears why an agent is not offered', (t) => {
  const h = new Harness();
  const capabilities = [{ type: mesos.v1.AgentInfo.Capability.Type.AGENT_DRAINING }];
  h.register('a1', { capabilities });
  const agentId = 'm1-S0';
  h.appoint();
  h.operateOnAgent('deactivateAgent', agentId);
  t.is(bookOf(h, agentId)?.inactive, Inactive.DEACTIVATED);
  h.operateOnAgent('drainAgent', agentId);
  t.is(bookOf(h, agentId)?.inactive, Inactive.DRAINING);
  h.operateOnAgent('reactivateAgent', agentId);
  t.true(bookOf(h, agentId)?.active);
  h.pass(16_000);
  h.hello();
  t.is(bookOf(h, agentId)?.inactive, Inactive.DISCONNECTED);
});

test('what is offered of a holding is told apart from what is allocated', (t) => {
  const h = new Harness();
  const { frameworkId, agentId } = h.launched();
  h.offer(frameworkId, agentId, 'cpus:2');
  const [holding] = bookOf(h, agentId)?.holdings ?? [];
  const cpus = (list: readonly mesos.v1.Resource[] = []): number | undefined =>
    list.find(({ name }) => name === 'cpus')?.scalar?.value;
  t.is(cpus(holding?.resources), 3);
  t.is(cpus(holding?.offered), 2);
});

test("an allocator is told the offer constraints of a framework, and the master's domain", (t) => {
  const h = new Harness({ masterInfo: { ...masterInfo, domain: domain('here') } });
  const selector = { attributeName: 'rack' };
  const attributeConstraints = [{ selector, predicate: { exists: {} } }];
  const offerConstraints = { roleConstraints: { '*': { groups: [{ attributeConstraints }] } } };
  h.framework({}, { offerConstraints });
  const items = h.appoint().flatMap((batch) => batch.items);
  t.is(items.find(({ cluster }) => cluster)?.cluster?.domain?.faultDomain?.region.name, 'here');
  t.deepEqual(
    Object.keys(items.find(({ framework }) => framework)?.framework?.offerConstraints?.roleConstraints ?? {}),
    ['*'],
  );
});

test('an agent with a domain is turned away by a master without one, with what to do, until it has one', (t) => {
  const info = { hostname: 'a1', resources: resources('cpus:1'), domain: domain('there') };
  const h = new Harness();
  const sent = h.register('a1', { info });
  t.is(outcomeOf(sent), 'call_invalid');
  const refusal = sent.find((effect) => effect.kind === 'refuse');
  t.regex(refusal?.kind === 'refuse' ? (refusal.why ?? '') : '', /it has a domain and this master has none; start/);
  t.is(h.state.ledger.agents.size, 0);
  const other = new Harness({ masterInfo: { ...masterInfo, domain: domain('here') } });
  other.register('a1', { info });
  t.is(other.state.ledger.agents.size, 1);
});
