import assert from 'node:assert/strict';
import { mesobus, mesos } from '@mesobus/protos';
import { applyRecord } from '@mesobus/registry/core';
import {
  checkpointedIn,
  conversionFromWire,
  convert,
  equals,
  exchange,
  formatResources,
  fromWire,
  noResources,
  parseResources,
  quantitiesOf,
  type Resources,
  reservedFor,
  resources,
  toWire,
  volumeOf,
  withCheckpointed,
} from '@mesobus/sdk/resources';
import test from 'ava';
import fc from 'fast-check';
import { availableOf } from '../src/core/index.ts';
import { CallType, commandsIn, eventsIn, Harness, type Sent, uuidOf } from './harness.ts';

const { OperationState } = mesos.v1;
const { Type } = mesos.v1.Offer.Operation;
const configured = parseResources('cpus:8;disk:800');
const ads = { roles: ['ads'], capabilities: [{ type: mesos.v1.FrameworkInfo.Capability.Type.MULTI_ROLE }] };
const capabilities = [{ type: mesos.v1.AgentInfo.Capability.Type.AGENT_OPERATION_FEEDBACK }];

type Operation = mesos.v1.Offer.Operation.$Properties;
type Command = mesobus.v1.AgentCommand.$Properties;

interface Done {
  readonly number: number;
  readonly uuid: Uint8Array;
  readonly id: string;
  readonly state: mesos.v1.OperationState;
}

/** An agent: what is on its disk is a list of commands, of which a crash may take the last ones that nobody has heard of. */
class ModelAgent {
  cursor = 0;
  checkpointed: Resources = noResources;
  done: Done[] = [];
  incarnation = 0;
  /** Something was not done, and the leader does not know it. */
  hasNews = false;

  /** @param fails - the volume of a CREATE cannot be made */
  take(command: Command, fails: boolean): void {
    if (command.number !== this.cursor + 1) return;
    this.cursor = command.number;
    const { operation, operationUuid } = command.applyOperation ?? {};
    if (!operation) return;
    const total = withCheckpointed(configured, this.checkpointed);
    const conversion = conversionFromWire(operation);
    const made = conversion && convert(conversion, { total, available: total });
    let state = OperationState.OPERATION_DROPPED;
    if (made?.ok && conversion?.kind === 'create' && fails) state = OperationState.OPERATION_FAILED;
    else if (made?.ok) {
      state = OperationState.OPERATION_FINISHED;
      this.checkpointed = checkpointedIn(exchange(total, made.consumed, made.converted) ?? total);
    }
    if (state !== OperationState.OPERATION_FINISHED) this.hasNews = true;
    const uuid = operationUuid ?? new Uint8Array();
    this.done.push({ number: this.cursor, uuid, id: operation.id?.value ?? '', state });
  }

  acknowledged(command: Command): void {
    const uuid = command.acknowledgeOperationUpdate?.operationUuid;
    if (uuid) this.done = this.done.filter((one) => Buffer.compare(one.uuid, uuid) !== 0);
  }
}

/** One framework, one operator, one agent, and a network that loses. */
class Cluster {
  h = new Harness();
  readonly agent = new ModelAgent();
  readonly agentId: string;
  readonly frameworkId: string;
  inbox: Command[] = [];
  masters = 1;
  calls = 0;

  constructor() {
    this.register();
    this.agentId = this.h.state.ledger.agentsByName.get('a1')?.id ?? '';
    this.frameworkId = this.h.framework(ads);
  }

  hear(sent: readonly Sent[]): void {
    this.inbox.push(...commandsIn(sent));
  }

  get entry() {
    const entry = this.h.state.ledger.agents.get(this.agentId);
    assert.ok(entry);
    return entry;
  }

  /** What the agent has, and what it will have made of that when it has all commands. */
  get decided(): Resources {
    let total = withCheckpointed(configured, this.agent.checkpointed);
    for (const [number, { consumed, converted }] of this.entry.operations) {
      if (number > this.agent.cursor) total = exchange(total, fromWire(consumed), fromWire(converted)) ?? total;
    }
    return total;
  }

  register(): void {
    const { agent } = this;
    const operations = agent.done.map(({ uuid, state }) => ({
      info: { type: Type.RESERVE },
      latestStatus: { state },
      uuid: { value: uuid },
    }));
    const checkpointedResources = toWire(agent.checkpointed);
    const said = { total: 'cpus:8;disk:800', capabilities, cursor: agent.cursor, operations, checkpointedResources };
    this.inbox = [];
    agent.hasNews = false;
    this.hear(this.h.register('a1', said as never, `n${agent.incarnation}`));
  }

  crash(): void {
    this.agent.incarnation += 1;
    this.register();
  }

  failOver(): void {
    this.masters += 1;
    const { records } = this.h;
    this.h = Harness.after(this.h, `m${this.masters}`, (ledger) => {
      for (const record of records) applyRecord(ledger, record);
    });
    this.h.records.push(...records);
    this.inbox = [];
    this.h.subscribe(ads, { frameworkId: this.frameworkId });
    this.crash();
  }

  accept(operations: Operation[]): void {
    if (this.h.state.allocators.feeds.get('al1') === undefined) this.h.appoint();
    this.h.hello();
    const free = toWire(availableOf(this.h.state, this.entry));
    const allocation = { agentId: this.agentId, frameworkId: this.frameworkId, role: 'ads', resources: free };
    this.h.allocate([allocation], { masterId: this.h.state.config.masterId });
    const offerIds = [...this.h.state.offers.keys()].map((value) => ({ value }));
    const body = { type: CallType.ACCEPT, accept: { offerIds, operations } };
    this.hear(this.h.call({ frameworkId: this.frameworkId }, body));
  }

  operate(call: Partial<mesos.v1.master.Call.$Properties>): void {
    this.calls += 1;
    const agentCall = { callId: `o${this.calls}`, call: { type: 0, ...call } };
    const bytes = mesobus.v1.OperatorCall.encode(agentCall as never).finish();
    const decoded = mesobus.v1.OperatorCall.decode(bytes);
    this.hear(this.h.step({ kind: 'operator_call', principal: 'ops', call: decoded, token: 'o' }));
  }

  deliver(fails: boolean): void {
    for (const command of this.inbox.splice(0)) {
      if (command.number) this.agent.take(command, fails);
      else this.agent.acknowledged(command);
    }
    const { cursor, incarnation } = this.agent;
    const answered = {
      kind: 'commands_answered',
      agentId: this.agentId,
      incarnation: `n${incarnation}`,
      cursor,
    } as const;
    this.hear(this.h.step(answered));
  }

  /** What came of all that is not acknowledged; the framework acknowledges what it hears. */
  report(acknowledges: boolean): void {
    const { done, cursor, checkpointed, incarnation } = this.agent;
    const updates = done.map(({ uuid, state, number }) => {
      const status = { state, uuid: { value: uuidOf(String(number % 10)) } };
      return { frameworkId: this.frameworkId, status, operationUuid: uuid, latestStatus: status };
    });
    const operationUpdates = { updates, cursor, checkpointedResources: toWire(checkpointed) };
    const request = { agentId: this.agentId, incarnation: `n${incarnation}`, operationUpdates };
    const sent = this.h.request('a1', request);
    this.agent.hasNews = false;
    this.hear(sent);
    if (sent.some((effect) => effect.kind === 'answer_agent' && effect.reply.taken)) {
      this.agent.done = done.filter(({ id }) => id !== '');
    }
    if (acknowledges) for (const event of eventsIn(sent)) this.acknowledge(event.updateOperationStatus?.status);
  }

  acknowledge(status: mesos.v1.OperationStatus | undefined): void {
    if (!status?.uuid) return;
    const acknowledgeOperationStatus = { operationId: status.operationId, uuid: status.uuid.value };
    const body = { type: CallType.ACKNOWLEDGE_OPERATION_STATUS, acknowledgeOperationStatus } as never;
    this.hear(this.h.call({ frameworkId: this.frameworkId }, body));
  }
}

const disk = (mb: number): Resources => reservedFor(resources({ disk: mb }), 'ads');
const volume = (id: number, mb: number): Resources => volumeOf(disk(mb), { id: `v${id}`, containerPath: 'data' });

function operationOf(kind: number, mb: number, id: string): Operation {
  const named = id === '' ? {} : { id: { value: id } };
  const amount = toWire(disk(mb));
  const volumes = toWire(volume(mb % 3, mb));
  if (kind === 0) return { type: Type.RESERVE, reserve: { resources: amount }, ...named };
  if (kind === 1) return { type: Type.UNRESERVE, unreserve: { resources: amount }, ...named };
  if (kind === 2) return { type: Type.CREATE, create: { volumes }, ...named };
  return { type: Type.DESTROY, destroy: { volumes }, ...named };
}

const steps = [
  'accept',
  'accept',
  'operate',
  'deliver',
  'deliver',
  'fail',
  'lose',
  'report',
  'acknowledge',
  'crash',
  'failover',
];
const anyStep = fc.record({
  step: fc.constantFrom(...steps),
  operations: fc.array(fc.record({ kind: fc.nat(3), mb: fc.constantFrom(50, 100), named: fc.boolean() }), {
    minLength: 1,
    maxLength: 3,
  }),
});

function apply(
  cluster: Cluster,
  { step, operations }: { step: string; operations: { kind: number; mb: number; named: boolean }[] },
): void {
  const named = operations.map(({ kind, mb, named: has }, index) => {
    cluster.calls += 1;
    return operationOf(kind, mb, has ? `op${cluster.calls}-${index}` : '');
  });
  if (step === 'accept') cluster.accept(named);
  else if (step === 'operate') {
    const call = { reserveResources: { agentId: { value: cluster.agentId }, resources: toWire(disk(50)) } };
    cluster.operate(call);
  } else if (step === 'deliver') cluster.deliver(false);
  else if (step === 'fail') cluster.deliver(true);
  else if (step === 'lose') cluster.inbox = [];
  else if (step === 'report') cluster.report(false);
  else if (step === 'acknowledge') cluster.report(true);
  else if (step === 'crash') cluster.crash();
  else cluster.failOver();
}

test('whatever is lost, fails and dies, no resource is, and in the end the log and the agent know the same', (t) => {
  const seen = { operations: 0, failed: 0, volumes: 0 };
  const law = fc.property(fc.array(anyStep, { maxLength: 40, size: 'max' }), (inputs) => {
    const cluster = new Cluster();
    const whole = quantitiesOf(configured);
    for (const input of inputs) {
      apply(cluster, input);
      assert.deepEqual(quantitiesOf(cluster.entry.total), whole);
      if (!cluster.agent.hasNews) assert.ok(equals(cluster.entry.total, cluster.decided));
      seen.operations += cluster.entry.operations.size;
      seen.failed += cluster.agent.done.filter(({ state }) => state !== OperationState.OPERATION_FINISHED).length;
      seen.volumes += cluster.agent.checkpointed.filter(({ disk: of }) => of?.persistence).length;
    }
    cluster.crash();
    for (let round = 0; round < 4; round += 1) {
      cluster.deliver(false);
      cluster.report(true);
    }
    const { checkpointed, done } = cluster.agent;
    const known = fromWire(cluster.entry.record.checkpointedResources);
    assert.ok(equals(known, checkpointed), `${formatResources(known)} is not ${formatResources(checkpointed)}`);
    assert.equal(cluster.entry.operations.size, 0);
    assert.deepEqual(done, []);
  });
  t.notThrows(() => fc.assert(law, { numRuns: 150 }));
  t.true(seen.operations > 500 && seen.failed > 50 && seen.volumes > 50, JSON.stringify(seen));
});
