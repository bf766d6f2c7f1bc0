import { decode, encode, mesobus, mesos } from '@mesobus/protos';
import { applyRecord, createLedger } from '@mesobus/registry/core';
import { parseResources, toWire } from '@mesobus/sdk/resources';
import {
  type Config,
  createState,
  defaultConfig,
  type Effect,
  type Input,
  type State,
  step,
  takeFeed,
  waitingFeeds,
} from '../src/core/index.ts';

const v1 = mesobus.v1;
export const CallType = mesos.v1.scheduler.Call.Type;
export const EventType = mesos.v1.scheduler.Event.Type;
export const { TaskState, TaskStatus } = mesos.v1;
export const { Reason } = TaskStatus;

type CallBody = Omit<mesos.v1.scheduler.Call.$Properties, 'type' | 'frameworkId'> & {
  type: mesos.v1.scheduler.Call.Type;
};
export type Sent = Exclude<Effect, { kind: 'commit' }>;
const usualCapabilities = [{ type: mesos.v1.AgentInfo.Capability.Type.MULTI_ROLE }];

type SchedulerEvent = mesos.v1.scheduler.Event;

export const resources = (text: string): mesos.v1.Resource.$Properties[] => toWire(parseResources(text));

/** What a message becomes on its way: fields that were not set have their defaults. */
const travelled = <T extends object, P extends object>(type: Parameters<typeof encode<T, P>>[0], value: P): T =>
  decode(type as never, encode(type, value as never)) as T;

/**
 * A master's core with a log that commits when it is told to; until then effects wait, as in the shell's outbox.
 * What comes out is kept in order: `sent` for everything, `replies` by token.
 */
export class Harness {
  state: State;
  now = 1_000_000;
  readonly sent: Sent[] = [];
  readonly records: mesobus.v1.Record[] = [];
  /** How many records there were after each transaction. */
  readonly transactions: number[] = [];
  /** Commits at once, as an idle log does. */
  autoCommit = true;
  #waiting: Sent[] = [];
  #calls = 0;

  constructor(config: Partial<Config> = {}, records: readonly mesobus.v1.Record[] = []) {
    const ledger = createLedger();
    this.state = createState(ledger, { ...defaultConfig, masterId: 'm1', masterInfo: masterInfo, ...config }, this.now);
    this.records.push(...records);
  }

  /**
   * Another master with what is committed.
   *
   * @param applied - of that, all unless given
   */
  static after(
    before: Harness,
    masterId = 'm2',
    applied = (ledger: ReturnType<typeof createLedger>): void => {
      for (const record of before.records) applyRecord(ledger, record);
    },
  ): Harness {
    const harness = new Harness({ masterId });
    const ledger = createLedger();
    applied(ledger);
    harness.now = before.now + 1000;
    harness.state = createState(ledger, { ...before.state.config, masterId }, harness.now);
    return harness;
  }

  step(input: Input): Sent[] {
    const before = this.sent.length;
    this.#take(step(this.state, this.now, input));
    if (this.autoCommit) this.commit();
    return this.sent.slice(before);
  }

  /** The log takes everything that waits. */
  commit(): void {
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) this.#leave(next);
  }

  #take(effects: readonly Effect[]): void {
    for (const effect of effects) {
      if (effect.kind === 'commit') {
        this.records.push(...effect.records);
        this.transactions.push(this.records.length);
      } else if (effect.when === 'now') this.#leave(effect);
      else this.#waiting.push(effect);
    }
  }

  #leave(effect: Sent): void {
    if (effect.kind === 'committed') this.#take(step(this.state, this.now, effect.input));
    else this.sent.push(effect);
  }

  tick(afterMs = 0, { logStands = false } = {}): Sent[] {
    this.now += afterMs;
    return this.step({ kind: 'tick', logStands });
  }

  /** Time passes, and the master hears somebody all the while. */
  pass(ms: number, beating: readonly string[] = []): Sent[] {
    const before = this.sent.length;
    for (let leftMs = ms; leftMs > 0; leftMs -= 1_000) {
      this.allocator('somebody', {});
      for (const agentName of beating) this.heartbeat(agentName);
      this.tick(Math.min(leftMs, 1_000));
    }
    return this.sent.slice(before);
  }

  // ---- schedulers

  call(
    framework: {
      frameworkId: string;
      principal?: string;
      instanceId?: string;
      generation?: number;
      traceparent?: string;
    },
    body: CallBody,
    callId = `call-${++this.#calls}`,
  ): Sent[] {
    const call = travelled(v1.SchedulerCall, {
      callId,
      instanceId: framework.instanceId ?? 'i1',
      generation: framework.generation ?? 1,
      traceparent: framework.traceparent ?? '',
      call: { ...body, ...(framework.frameworkId && { frameworkId: { value: framework.frameworkId } }) },
    });
    return this.step({ kind: 'scheduler_call', principal: framework.principal ?? 'p1', call, token: callId });
  }

  subscribe(
    info: Partial<mesos.v1.FrameworkInfo.$Properties> = {},
    who: {
      frameworkId?: string;
      principal?: string;
      instanceId?: string;
      generation?: number;
      callId?: string;
      suppressed?: string[];
      offerConstraints?: mesos.v1.scheduler.OfferConstraints.$Properties;
    } = {},
  ): Sent[] {
    const {
      frameworkId = '',
      principal = 'p1',
      instanceId = 'i1',
      generation = 0,
      callId,
      suppressed = [],
      offerConstraints,
    } = who;
    const frameworkInfo = {
      user: 'root',
      name: 'test',
      ...info,
      ...(frameworkId && { id: { value: frameworkId } }),
    };
    const subscribe = { frameworkInfo, suppressedRoles: suppressed, offerConstraints };
    const body = { type: CallType.SUBSCRIBE, subscribe };
    return this.call({ frameworkId, principal, instanceId, generation }, body, callId ?? `sub-${++this.#calls}`);
  }

  /** Subscribes and gives the framework's id. */
  framework(
    info: Partial<mesos.v1.FrameworkInfo.$Properties> = {},
    who: Parameters<Harness['subscribe']>[1] = {},
  ): string {
    const accepted = this.subscribe(info, who).find((effect) => effect.kind === 'accept_call');
    if (accepted?.kind !== 'accept_call') throw new Error('the subscription was refused');
    return accepted.frameworkId ?? '';
  }

  // ---- agents

  request(agentName: string, request: mesobus.v1.AgentRequest.$Properties): Sent[] {
    const message = travelled(v1.AgentRequest, { incarnation: 'n1', ...request });
    return this.step({ kind: 'agent_request', agentName, request: message, token: `agent ${agentName}` });
  }

  register(
    agentName: string,
    register: Partial<mesobus.v1.RegisterAgent.$Properties> = {},
    incarnation = 'n1',
  ): Sent[] {
    const { total = 'cpus:4;mem:4096', ...rest } = register as typeof register & { total?: string };
    const info = { hostname: agentName, resources: resources(total) };
    const known = this.state.ledger.agentsByName.get(agentName)?.id ?? '';
    return this.request(agentName, {
      agentId: known,
      incarnation,
      register: { agentName, registrationKey: `key of ${agentName}`, info, capabilities: usualCapabilities, ...rest },
    });
  }

  /** Registers an agent and gives its id. */
  agent(agentName = 'a1', total = 'cpus:4;mem:4096'): string {
    this.register(agentName, { total } as never);
    return this.state.ledger.agentsByName.get(agentName)?.id ?? '';
  }

  heartbeat(agentName: string, beat: Partial<mesobus.v1.Heartbeat.$Properties> = {}): Sent[] {
    const agentId = this.state.ledger.agentsByName.get(agentName)?.id ?? '';
    const cursor = this.state.agents.get(agentId)?.cursor ?? 0;
    const heartbeat = new v1.Heartbeat({ agentId, incarnation: 'n1', cursor, ...beat });
    return this.step({ kind: 'heartbeat', agentName, heartbeat });
  }

  answerCommands(agentId: string, cursor: number): Sent[] {
    return this.step({ kind: 'commands_answered', agentId, incarnation: 'n1', cursor });
  }

  /** @param uuid - one letter stands for sixteen bytes */
  update(
    agentName: string,
    frameworkId: string,
    taskId: string,
    number: number,
    state: mesos.v1.TaskState,
    more: { uuid?: string; commandNumber?: number; latestState?: mesos.v1.TaskState } = {},
  ): Sent[] {
    const agentId = this.state.ledger.agentsByName.get(agentName)?.id ?? '';
    const commandNumber =
      more.commandNumber ?? this.state.ledger.frameworks.get(frameworkId)?.tasks.get(taskId)?.commandNumber ?? 1;
    const status = {
      taskId: { value: taskId },
      state,
      uuid: uuidOf(more.uuid ?? String(number)),
      agentId: { value: agentId },
    };
    const update = { frameworkId, status, number, commandNumber, latestState: more.latestState ?? state };
    return this.request(agentName, { agentId, taskUpdates: { updates: [update] } });
  }

  acknowledge(frameworkId: string, taskId: string, uuid: string, agentId = 'm1-S0'): Sent[] {
    const acknowledge = { agentId: { value: agentId }, taskId: { value: taskId }, uuid: uuidOf(uuid) };
    return this.call({ frameworkId }, { type: CallType.ACKNOWLEDGE, acknowledge });
  }

  // ---- operators

  operatorCall(call: mesobus.v1.OperatorCall.$Properties): Sent[] {
    return this.step({
      kind: 'operator_call',
      principal: 'ops',
      call: travelled(v1.OperatorCall, call),
      token: 'operator',
    });
  }

  operateOnAgent(what: 'drainAgent' | 'deactivateAgent' | 'reactivateAgent' | 'markAgentGone', value: string): Sent[] {
    return this.operatorCall({ callId: 'o', call: { type: 0, [what]: { agentId: { value } } } });
  }

  // ---- the allocator

  hello(allocatorId = 'al1', more: mesobus.v1.AllocatorHello.$Properties = {}): Sent[] {
    return this.allocator(allocatorId, { hello: { incarnation: 'x', losses: 1, ...more } });
  }

  /** What the allocator is told now; digested at once. */
  feedOf(allocatorId = 'al1'): mesobus.v1.FeedBatch[] {
    const batches: mesobus.v1.FeedBatch[] = [];
    const waits = (): boolean => [...waitingFeeds(this.state)].some((feed) => feed.allocatorId === allocatorId);
    while (waits()) {
      const batch = takeFeed(this.state, allocatorId);
      if (batch === undefined) break;
      batches.push(batch);
      this.hello(allocatorId, { feed: batch.feed, digested: batch.number });
    }
    return batches;
  }

  /** An allocator comes and digests its snapshot: the first to do so is appointed. */
  appoint(allocatorId = 'al1'): mesobus.v1.FeedBatch[] {
    this.hello(allocatorId);
    return this.feedOf(allocatorId);
  }

  /** Allocations that follow the last ones judged, unless their numbers are given. */
  allocate(
    allocations: mesobus.v1.Allocation.$Properties[],
    { allocatorId = 'al1', appointment = this.state.allocators.appointment, masterId = 'm1' } = {},
  ): Sent[] {
    const first = this.state.allocators.allocationsSeen + 1;
    const numbered = allocations.map((allocation, index) => ({ number: first + index, ...allocation }));
    const message = { appointment, masterId, incarnation: 'x', allocations: numbered };
    return this.allocator(allocatorId, { allocations: message });
  }

  allocator(allocatorId: string, request: mesobus.v1.AllocatorRequest.$Properties): Sent[] {
    const message = travelled(v1.AllocatorRequest, request);
    return this.step({ kind: 'allocator_request', allocatorId, request: message, token: `allocator ${allocatorId}` });
  }

  /** Allocates, and gives the id of the offer that came of it. */
  offer(frameworkId: string, agentId: string, what = 'cpus:4;mem:4096', role = '*'): string {
    if (this.state.allocators.feeds.get('al1') === undefined) this.appoint();
    this.hello();
    const allocation = { agentId, frameworkId, role, resources: resources(what) };
    this.allocate([allocation], { masterId: this.state.config.masterId });
    return [...this.state.offers.keys()].at(-1) ?? '';
  }

  accept(frameworkId: string, offerIds: string[], tasks: mesos.v1.TaskInfo.$Properties[], callId?: string): Sent[] {
    const operations = tasks.length === 0 ? [] : [launchOf(tasks)];
    const accept = { offerIds: offerIds.map((value) => ({ value })), operations };
    return this.call({ frameworkId }, { type: CallType.ACCEPT, accept }, callId);
  }

  /** A framework, an agent and a running launch of `t1`; with its offer used up. */
  launched(
    taskId = 't1',
    info: Partial<mesos.v1.FrameworkInfo.$Properties> = {},
  ): { frameworkId: string; agentId: string } {
    const agentId = this.agent();
    const frameworkId = this.framework(info);
    this.accept(frameworkId, [this.offer(frameworkId, agentId)], [task(taskId, agentId)]);
    return { frameworkId, agentId };
  }

  task(frameworkId: string, taskId: string) {
    return this.state.ledger.frameworks.get(frameworkId)?.tasks.get(taskId);
  }
}

export const masterInfo = { id: 'm1', ip: 0, port: 5050, hostname: 'master' };

export const uuidOf = (letter: string): Uint8Array => new Uint8Array(16).fill(letter.charCodeAt(0));

export function task(
  taskId: string,
  agentId: string,
  more: Partial<mesos.v1.TaskInfo.$Properties> & { ask?: string } = {},
): mesos.v1.TaskInfo.$Properties {
  const { ask = 'cpus:1;mem:64', ...rest } = more;
  return {
    name: taskId,
    taskId: { value: taskId },
    agentId: { value: agentId },
    resources: resources(ask),
    command: { value: 'true' },
    ...rest,
  };
}

export const launchOf = (taskInfos: mesos.v1.TaskInfo.$Properties[]): mesos.v1.Offer.Operation.$Properties => ({
  type: mesos.v1.Offer.Operation.Type.LAUNCH,
  launch: { taskInfos },
});

/** The events among effects, as their scheduler gets them. */
export const eventsIn = (sent: readonly Sent[]): SchedulerEvent[] =>
  sent.flatMap((effect) =>
    effect.kind === 'events'
      ? effect.events.map(({ event }) =>
          travelled(mesos.v1.scheduler.Event, event as mesos.v1.scheduler.Event.$Properties),
        )
      : [],
  ) as SchedulerEvent[];

export const statusesIn = (sent: readonly Sent[]): mesos.v1.TaskStatus[] =>
  eventsIn(sent).flatMap(({ update }) => (update ? [update.status] : []));

export const commandsIn = (sent: readonly Sent[]): mesobus.v1.AgentCommand.$Properties[] =>
  sent.flatMap((effect) => (effect.kind === 'commands' ? (effect.message.commands ?? []) : []));

/** `accepted`, or the code of the refusal. */
export function outcomeOf(sent: readonly Sent[]): string {
  for (const effect of sent) {
    if (effect.kind === 'accept_call') return 'accepted';
    if (effect.kind === 'refuse_call' || effect.kind === 'refuse') return effect.code;
  }
  return 'no answer';
}

/** `accepted`, or why an operator's call is refused. */
export function whyRefused(sent: readonly Sent[]): string {
  const refusal = sent.find((effect) => effect.kind === 'refuse');
  if (refusal?.kind === 'refuse') return refusal.why ?? refusal.code;
  return sent.some(({ kind }) => kind === 'accept_operator') ? 'accepted' : 'no answer';
}

/** Ids of offers that were taken back. */
export const rescinded = (sent: readonly Sent[]): string[] =>
  eventsIn(sent).flatMap(({ rescind }) => (rescind ? [rescind.offerId.value] : []));

export const agentRepliesIn = (sent: readonly Sent[]): mesobus.v1.AgentReply.$Properties[] =>
  sent.flatMap((effect) => (effect.kind === 'answer_agent' ? [effect.reply] : []));

/** Filters set and lifted that the allocator has not been told yet. */
export const filtersOf = (h: Harness): mesobus.v1.FeedItem.$Properties[] =>
  h.state.allocators.feeds.get('al1')?.filters ?? [];
