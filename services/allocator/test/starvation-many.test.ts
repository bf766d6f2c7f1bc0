// The starvation bound in a cluster as large as it gets, with hundreds who are overdue at once.
import assert from 'node:assert/strict';
import { decode, encode, mesobus, mesos } from '@mesobus/protos';
import { add, noResources, parseResources, type Resources, toWire } from '@mesobus/sdk/resources';
import test from 'ava';
import fc from 'fast-check';
import { type Decision, defaultSettings, initialState, type State, step } from '../src/core/index.ts';

type Item = mesobus.v1.FeedItem.$Properties;
const { OFFER } = mesobus.v1.Allocation.Kind;
const { starvationBoundMs, allocationIntervalMs } = defaultSettings;

const agents = 50_000;
const silent = 100;
const racks = 1_000;
/** The leader hears of decisions, and the allocator of their outcomes, within this time; a round in each. */
const turnMs = 100;
const boundMs = starvationBoundMs + allocationIntervalMs + 3 * turnMs;

const usual = parseResources('cpus:4;mem:400');
/** One in 250, and many that are large in one thing only. */
const large = parseResources('cpus:64;mem:4000');
const lopsided = [parseResources('cpus:64;mem:100'), parseResources('cpus:1;mem:4000')];
const totalOf = (index: number): Resources =>
  index % 250 === 7 ? large : index % 2 === 0 ? usual : (lopsided[(index >> 1) % 2] as Resources);

/** What a framework wants, and whether any agent has it. */
const kinds = {
  'what most agents have': { cpus: 4, mem: 10, fits: true },
  'what one in 250 has': { cpus: 60, mem: 3_000, fits: true },
  'what a rack of 50 has': { cpus: 1, mem: 10, rack: true, fits: true },
  'more than anybody has': { cpus: 65, mem: 10, fits: false },
  'of one agent what two have': { cpus: 64, mem: 8_000, fits: false },
  'a rack that is not there': { cpus: 1, mem: 10, rack: false, fits: false },
} as const;
type Kind = keyof typeof kinds;

function framework(id: string, kind: Kind, index: number): Item {
  const { cpus, mem, ...where } = kinds[kind];
  const quantities = { cpus: { value: cpus }, mem: { value: mem } };
  const rack = 'rack' in where ? `rack-${where.rack ? index % racks : 'none'}` : undefined;
  const constraint = { selector: { attributeName: 'rack' }, predicate: { textEquals: { value: rack ?? '' } } };
  const roleConstraints = { ads: { groups: [{ attributeConstraints: [constraint] }] } };
  return {
    framework: {
      frameworkId: id,
      active: true,
      roles: ['ads'],
      demands: [{ role: 'ads', shapes: [{ count: 1, quantities }] }],
      ...(rack !== undefined && { offerConstraints: { roleConstraints } }),
    },
  };
}

/** A leader of a cluster in which everything lies in offers that nobody answers. */
class Hoard {
  readonly state: State = initialState('al1', 3);
  /** What lies in offers of an agent, by framework, where it is not all of it in the first offer that was made. */
  readonly #offered = new Map<number, Map<string, Resources>>();
  #at = 0;
  #seen = 0;

  constructor() {
    const frameworks = Array.from(
      { length: silent },
      (_, i): Item => ({ framework: { frameworkId: `silent-${i}`, active: true, roles: ['ads'] } }),
    );
    this.feed(frameworks, { snapshotBegins: true });
    for (let from = 0; from < agents; from += 500) {
      const items = Array.from({ length: 500 }, (_, i) => this.#agentItem(from + i));
      this.feed(items, { snapshotEnds: from + 500 >= agents });
    }
  }

  feed(items: Item[], extra: mesobus.v1.FeedBatch.$Properties = {}): void {
    const common = { appointment: 1, appointedAllocatorId: 'al1', allocationsSeen: this.#seen };
    const bytes = encode(mesobus.v1.FeedBatch, { ...common, items, ...extra });
    step(this.state, this.#at, { kind: 'feed', batch: decode(mesobus.v1.FeedBatch, bytes) });
  }

  /** One round, and all that comes of it. @returns who was offered something */
  turn(): string[] {
    this.#at += turnMs;
    const effects = step(this.state, this.#at, { kind: 'round' });
    const decisions = effects.flatMap((effect) => (effect.kind === 'allocated' ? effect.decisions : []));
    for (const decision of decisions) this.#judge(decision);
    const changed = new Set(decisions.map(({ agentId }) => Number(agentId)));
    this.feed([...changed].map((index) => this.#agentItem(index)));
    return decisions.filter(({ kind }) => kind === OFFER).map(({ frameworkId }) => frameworkId);
  }

  #judge({ number, agentId, frameworkId, kind, resources }: Decision): void {
    this.#seen = number;
    const offered = this.#offeredOn(Number(agentId));
    if (kind === OFFER) offered.set(frameworkId, add(offered.get(frameworkId) ?? noResources, resources));
    else offered.delete(frameworkId);
    this.#offered.set(Number(agentId), offered);
  }

  #offeredOn(index: number): Map<string, Resources> {
    return this.#offered.get(index) ?? new Map([[`silent-${index % silent}`, totalOf(index)]]);
  }

  #agentItem(index: number): Item {
    const holdings = [...this.#offeredOn(index)].map(([frameworkId, resources]) => {
      const offered = toWire(resources);
      return { frameworkId, role: 'ads', resources: offered, offered };
    });
    const rack = { name: 'rack', type: mesos.v1.Value.Type.TEXT, text: { value: `rack-${index % racks}` } };
    const total = toWire(totalOf(index));
    return { agent: { agentId: `${index}`, active: true, attributes: [rack], total, holdings } };
  }
}

/** How many of each kind, and the order in which they come. */
const anyNewcomers = fc
  .record(Object.fromEntries(Object.keys(kinds).map((kind) => [kind, fc.integer({ min: 10, max: 100 })])))
  .chain((counts) => {
    const all = Object.entries(counts).flatMap(([kind, count]) => Array.from({ length: count }, () => kind as Kind));
    return fc.shuffledSubarray(all, { minLength: all.length });
  });

test('hundreds who want at once what 50,000 agents have are each offered it within the bound', (t) => {
  const law = fc.property(anyNewcomers, (newcomers) => {
    const hoard = new Hoard();
    hoard.feed(newcomers.map((kind, i) => framework(`f-${i}`, kind, i)));
    const waiting = new Set(newcomers.flatMap((kind, i) => (kinds[kind].fits ? [`f-${i}`] : [])));
    for (let waited = 0; waited < boundMs; waited += turnMs) for (const id of hoard.turn()) waiting.delete(id);
    assert.deepEqual(
      [...waiting].map((id) => newcomers[Number(id.slice(2))]),
      [],
      `of ${newcomers.length}`,
    );
  });
  t.notThrows(() => fc.assert(law, { numRuns: 3, endOnFailure: true }));
});
