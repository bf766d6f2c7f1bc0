// What roles consume of their quotas is kept agent by agent: it must always be what counting all agents anew gives.
import assert from 'node:assert/strict';
import { mesos } from '@mesobus/protos';
import { parseResources, pushReservation, toThousandths, toWire } from '@mesobus/sdk/resources';
import test from 'ava';
import fc from 'fast-check';
import { consumedBy, sumConsumption } from '../src/core/consumption.ts';
import { CallType, Harness, launchOf, TaskState, task } from './harness.ts';

const { Type } = mesos.v1.master.Call;
const { MULTI_ROLE } = mesos.v1.FrameworkInfo.Capability.Type;

const capabilities = [{ type: mesos.v1.AgentInfo.Capability.Type.AGENT_OPERATION_FEEDBACK }];
const roles = ['a', 'a/b', 'a/b/c', 'd', '*'];
const totals = [
  'cpus:4;mem:1024',
  'cpus:4;mem:1024;cpus(a/b):2',
  'cpus:8;mem:2048;mem(d):100;ports:[1-9]',
  'cpus(a):3',
];
const pieces = ['cpus:1', 'cpus:2;mem:128', 'mem:64', 'cpus(a/b):1', 'cpus(a):1;cpus:1', 'ports:[1-3]'];

type Step =
  | {
      readonly kind: 'offer';
      readonly framework: number;
      readonly agent: number;
      readonly role: string;
      readonly what: string;
    }
  | { readonly kind: 'accept' | 'decline'; readonly offer: number; readonly half: boolean }
  | { readonly kind: 'finish' | 'unknown'; readonly task: number }
  | { readonly kind: 'register'; readonly agent: number; readonly total: string }
  | { readonly kind: 'silence' | 'gone'; readonly agent: number }
  | { readonly kind: 'reserve' | 'unreserve'; readonly agent: number; readonly role: string }
  | { readonly kind: 'teardown'; readonly framework: number }
  | { readonly kind: 'limit'; readonly role: string; readonly cpus: number | undefined };

const index = fc.nat(3);
const anyStep: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('offer' as const),
      framework: index,
      agent: index,
      role: fc.constantFrom(...roles),
      what: fc.constantFrom(...pieces),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constantFrom('accept' as const, 'decline' as const),
      offer: index,
      half: fc.boolean(),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constantFrom('finish' as const, 'unknown' as const), task: index }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('register' as const), agent: index, total: fc.constantFrom(...totals) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('silence' as const, 'gone' as const), agent: index }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constantFrom('reserve' as const, 'unreserve' as const),
      agent: index,
      role: fc.constantFrom('a', 'a/b', 'd'),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('teardown' as const), framework: index }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('limit' as const),
      role: fc.constantFrom('a', 'a/b', 'd'),
      cpus: fc.option(fc.nat(6), { nil: undefined }),
    }),
  },
);

class World {
  readonly h = new Harness({ offerTimeoutMs: 0 });
  /** Steps that offered, launched or ended something. */
  moves = 0;
  reserved = 0;
  #tasks = 0;
  #frameworks = 0;

  constructor() {
    for (let agent = 0; agent < 4; agent += 1) this.#register(agent, { total: totals[agent] });
    for (let framework = 0; framework < 4; framework += 1) this.#subscribe();
    this.h.appoint();
  }

  #subscribe(): void {
    this.#frameworks += 1;
    const info = { roles, capabilities: [{ type: MULTI_ROLE }], failoverTimeout: 1e6 };
    this.h.framework(info, { instanceId: `i${this.#frameworks}` });
  }

  #register(agent: number, more: { total?: string | undefined; cursor?: number; registrationKey?: string }): void {
    const cursor = this.h.state.agents.get(this.#agent(agent))?.cursor ?? 0; // a process never goes back behind it
    this.h.register(`a${agent}`, { capabilities, cursor, ...more } as never);
  }

  take(step: Step): void {
    const { h } = this;
    switch (step.kind) {
      case 'offer': {
        const before = h.state.offerNumber;
        h.offer(this.#framework(step.framework), this.#agent(step.agent), step.what, step.role);
        this.moves += h.state.offerNumber - before;
        return;
      }
      case 'accept':
      case 'decline':
        this.#answer(step);
        return;
      case 'finish':
        this.#finish(step.task);
        return;
      case 'unknown': // its agent registers without it
        this.#register(step.task, { cursor: 1_000 });
        return;
      case 'register':
        this.#register(step.agent, { total: step.total });
        return;
      case 'silence':
        h.pass(
          31_000,
          [0, 1, 2, 3].filter((agent) => agent !== step.agent).map((agent) => `a${agent}`),
        );
        return;
      case 'gone':
        h.operateOnAgent('markAgentGone', this.#agent(step.agent));
        this.#register(step.agent, { registrationKey: `another ${h.now}-${this.moves}` });
        return;
      case 'reserve':
      case 'unreserve':
        this.#reserve(step);
        return;
      case 'teardown':
        h.call(this.#who(this.#framework(step.framework)), { type: CallType.TEARDOWN });
        this.#subscribe();
        return;
      case 'limit':
        this.#limit(step.role, step.cpus);
    }
  }

  check(): void {
    const all = sumConsumption(this.h.state, { offers: true });
    const known = new Set([...roles, ...all.keys()]);
    for (const role of known) assert.deepEqual(consumedBy(this.h.state, role), all.get(role) ?? new Map(), role);
    this.#checkLimits();
  }

  #answer({ kind, offer: index, half }: Step & { kind: 'accept' | 'decline' }): void {
    const { h } = this;
    const offer = [...h.state.offers.values()][index];
    if (offer === undefined) return;
    const offerIds = [{ value: offer.id }];
    const who = this.#who(offer.frameworkId);
    if (kind === 'decline') {
      h.call(who, { type: CallType.DECLINE, decline: { offerIds } });
      return;
    }
    this.#tasks += 1;
    const ask = half ? 'cpus:1' : 'cpus:2;mem:128';
    const operations = [launchOf([task(`t${this.#tasks}`, offer.agentId, { ask })])];
    h.call(who, { type: CallType.ACCEPT, accept: { offerIds, operations } });
    if (h.task(offer.frameworkId, `t${this.#tasks}`) !== undefined) this.moves += 1;
  }

  #finish(index: number): void {
    const tasks = [...this.h.state.ledger.frameworks.values()].flatMap((framework) => [...framework.tasks.values()]);
    const found = tasks.filter(({ state }) => state === TaskState.TASK_STAGING)[index];
    const name = found && this.h.state.ledger.agents.get(found.agentId)?.record.agentName;
    if (found === undefined || name === undefined) return;
    this.h.update(name, found.frameworkId, found.taskId, 1, TaskState.TASK_FINISHED);
    this.moves += 1;
  }

  #reserve({ kind, agent, role }: Step & { kind: 'reserve' | 'unreserve' }): void {
    const what = pushReservation(parseResources('cpus:1'), { type: 'dynamic', role });
    const part = { agentId: { value: this.#agent(agent) }, resources: toWire(what) };
    const call =
      kind === 'reserve'
        ? { type: Type.RESERVE_RESOURCES, reserveResources: part }
        : { type: Type.UNRESERVE_RESOURCES, unreserveResources: part };
    const sent = this.h.operatorCall({ callId: '', call });
    if (sent.some((effect) => effect.kind === 'accept_operator')) this.reserved += 1;
  }

  #limit(role: string, cpus: number | undefined): void {
    const limits = cpus === undefined ? {} : { cpus: { value: cpus } };
    const updateQuota = { force: true, quotaConfigs: [{ role, limits }] };
    const call = { callId: '', call: { type: Type.UPDATE_QUOTA, updateQuota } };
    this.h.operatorCall(call);
  }

  /** Whatever is offered while there is no room is taken back. */
  #checkLimits(): void {
    const used = sumConsumption(this.h.state, { offers: false });
    for (const [role, { quota }] of this.h.state.ledger.roles) {
      const limit = quota?.limits['cpus']?.value;
      if (limit === undefined) continue;
      const consumed = consumedBy(this.h.state, role).get('cpus') ?? 0;
      const most = Math.max(used.get(role)?.get('cpus') ?? 0, toThousandths(limit));
      assert.ok(consumed <= most, `${role} is above its limit`);
    }
  }

  #agent = (index: number): string => this.h.state.ledger.agentsByName.get(`a${index}`)?.id ?? '';

  #framework(index: number): string {
    const live = [...this.h.state.frameworks.keys()];
    return live[index % live.length] ?? '';
  }

  #who(frameworkId: string) {
    const { instanceId = '', generation = 0 } = this.h.state.ledger.frameworks.get(frameworkId)?.record ?? {};
    return { frameworkId, instanceId, generation };
  }
}

test('what roles consume, kept agent by agent, is what counting all agents anew gives', (t) => {
  let moves = 0;
  let reserved = 0;
  const law = fc.property(fc.array(anyStep, { maxLength: 60, size: 'max' }), (steps) => {
    const world = new World();
    world.check();
    for (const step of steps) {
      world.take(step);
      world.check();
    }
    moves += world.moves;
    reserved += world.reserved;
  });
  t.notThrows(() => fc.assert(law, { numRuns: 60 }));
  t.true(moves > 100, `only ${moves} moves`);
  t.true(reserved > 20, `only ${reserved} reservations`);
});

test('nothing is counted until there is a quota, nor when there is none any more', (t) => {
  const h = new Harness();
  const agentId = h.agent();
  h.offer(h.framework(), agentId, 'cpus:1');
  t.is(h.state.consumption.changed, undefined);
  const quotaConfigs = [{ role: 'a', limits: { cpus: { value: 1 } } }];
  h.operatorCall({ call: { type: Type.UPDATE_QUOTA, updateQuota: { quotaConfigs } } });
  t.is(consumedBy(h.state, '*').get('cpus'), 1_000);
  h.operatorCall({ call: { type: Type.UPDATE_QUOTA, updateQuota: { quotaConfigs: [{ role: 'a' }] } } });
  t.is(h.state.consumption.changed, undefined);
  t.is(h.state.consumption.byAgent.size, 0);
});
