import { decode, encode, mesobus } from '@mesobus/protos';
import { add, noResources, parseResources, type Resources, subtract, toWire } from '@mesobus/sdk/resources';
import { type Decision, type Effect, initialState, type State, step } from '../src/core/index.ts';

type Item = mesobus.v1.FeedItem.$Properties;

interface Books {
  total: Resources;
  active: boolean;
  held: Map<string, { frameworkId: string; role: string; resources: Resources }>;
}

/** Keeps the books as a leader does, and tells the allocator of them in the bytes that travel on the bus. */
export class FakeLeader {
  readonly state: State = initialState('al1', 7);
  readonly agents: Map<string, Books> = new Map();
  at = 0;
  seen = 0;

  constructor() {
    this.feed([], { appointment: 1, snapshotBegins: true, snapshotEnds: true });
  }

  feed(items: Item[], extra: mesobus.v1.FeedBatch.$Properties = {}): Effect[] {
    const common = { appointment: 1, appointedAllocatorId: 'al1', allocationsSeen: this.seen };
    const bytes = encode(mesobus.v1.FeedBatch, { ...common, items, ...extra });
    return step(this.state, this.at, { kind: 'feed', batch: decode(mesobus.v1.FeedBatch, bytes) });
  }

  round(): Decision[] {
    const effects = step(this.state, this.at, { kind: 'round' });
    return effects.flatMap((effect) => (effect.kind === 'allocated' ? [...effect.decisions] : []));
  }

  addAgent(id: string, resources: string): void {
    this.agents.set(id, { total: parseResources(resources), active: true, held: new Map() });
    this.feed([this.bookOf(id)]);
  }

  addFramework(id: string, roles: string[] = ['*'], extra: mesobus.v1.FrameworkBook.$Properties = {}): void {
    this.feed([{ framework: { frameworkId: id, active: true, roles, ...extra } }]);
  }

  /** The framework keeps this much of what it was given; the rest comes back. */
  settle(decision: Decision, kept: Resources): void {
    this.seen = Math.max(this.seen, decision.number);
    this.#hold(decision.agentId, decision.frameworkId, decision.role, kept);
    this.feed([this.bookOf(decision.agentId)]);
  }

  /** All of it is in an open offer now. */
  offer(decision: Decision): void {
    this.settle(decision, decision.resources);
  }

  release(agentId: string, frameworkId: string, role: string, resources: Resources): void {
    const held = this.books(agentId).held;
    const key = `${frameworkId} ${role}`;
    const before = held.get(key)?.resources ?? noResources;
    held.set(key, { frameworkId, role, resources: subtract(before, resources) });
    this.feed([this.bookOf(agentId)]);
  }

  bookOf(id: string): Item {
    const { total, active, held } = this.books(id);
    const holdings = [...held.values()]
      .filter(({ resources }) => resources.length > 0)
      .map(({ frameworkId, role, resources }) => ({ frameworkId, role, resources: toWire(resources) }));
    return { agent: { agentId: id, hostname: id, total: toWire(total), active, holdings } };
  }

  books(id: string): Books {
    const books = this.agents.get(id);
    if (books === undefined) throw new Error(`no agent ${id}`);
    return books;
  }

  hold(agentId: string, frameworkId: string, role: string, resources: Resources): void {
    this.#hold(agentId, frameworkId, role, resources);
    this.feed([this.bookOf(agentId)]);
  }

  #hold(agentId: string, frameworkId: string, role: string, resources: Resources): void {
    const key = `${frameworkId} ${role}`;
    const before = this.books(agentId).held.get(key)?.resources ?? noResources;
    this.books(agentId).held.set(key, { frameworkId, role, resources: add(before, resources) });
  }
}
