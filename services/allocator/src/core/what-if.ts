import type { mesobus } from '@mesobus/protos';
import { MalformedResourceError, roleProblem } from '@mesobus/sdk/resources';
import { allocate, type Decision } from './allocate.ts';
import { putAgent } from './books.ts';
import { type Bundle, emptyBundle, readBundle } from './bundle.ts';
import { putFramework } from './on-feed.ts';
import { putQuota, setQuota } from './quota.ts';
import { memberOf, roleNamed } from './role-tree.ts';
import { shares } from './shares.ts';
import { type Agent, type Holding, initialState, type State } from './state.ts';

/** Agents copied in one go: a few milliseconds. */
const agentsPerStep = 1_000;
const maxAgentsAdded = 100_000;

/** What is asked cannot be answered: what, why, and what to do. */
export class WhatIfProblem extends Error {
  override readonly name = 'WhatIfProblem';
}

/**
 * What a full round would offer, now and if some things were otherwise, and the shares if all of that were accepted. The
 * rounds are those of the allocator, on copies of its books in which all present offers are taken back; filters are left
 * out, for they end. Nothing of the books themselves is changed.
 *
 * The work is done step by step, so that rounds can go between: each agent is copied as it is when its turn comes.
 *
 * @throws {WhatIfProblem} what, why, and what to do
 */
export function* whatIf(
  state: State,
  at: number,
  query: mesobus.v1.WhatIf,
): Generator<undefined, mesobus.v1.WhatIfAnswer.$Properties> {
  check(state, query);
  const before = yield* copyOf(state, new Set());
  const after = yield* copyOf(state, new Set(query.agentsRemoved));
  change(after, query);
  const [offersBefore, offersAfter] = [yield* fullRound(before, at), yield* fullRound(after, at)];
  return {
    sharesBefore: shares(before, at),
    sharesAfter: shares(after, at),
    offersBefore,
    offersAfter,
  };
}

function check(state: State, { roles, agentsAdded, agentsRemoved }: mesobus.v1.WhatIf): void {
  for (const { role, weight } of roles) {
    const problem = roleProblem(role);
    if (problem !== undefined) throw new WhatIfProblem(`${problem}: name a role as frameworks do`);
    if (!(weight >= 0 && weight < Number.POSITIVE_INFINITY)) {
      throw new WhatIfProblem(
        `the weight ${weight} of role '${role}' is not above 0: give such a one, or leave it out`,
      );
    }
  }
  const count = agentsAdded.map((added) => added.count).reduce((a, b) => a + b, 0);
  if (count > maxAgentsAdded) throw new WhatIfProblem(`${count} agents are too many: add at most ${maxAgentsAdded}`);
  const unknown = agentsRemoved.find((id) => !state.agents.has(id));
  if (unknown !== undefined)
    throw new WhatIfProblem(`there is no agent '${unknown}' to remove: name one that is there`);
}

/** @param without - agents that are left out */
function* copyOf(state: State, without: ReadonlySet<string>): Generator<undefined, State> {
  const copy = initialState(state.allocatorId, 1, state.settings);
  copy.appointedAllocatorId = state.allocatorId;
  copy.region = state.region;
  sameColumns(state, copy);
  for (const { name, weight, configured, quota } of state.roles.values()) {
    if (!configured) continue;
    const role = roleNamed(copy, name);
    role.weight = weight;
    role.configured = true;
    putQuota(copy, role, quota);
  }
  for (const framework of state.frameworks.values()) putFramework(copy, framework);
  for (const [i, agent] of [...state.agents.values()].entries()) {
    if (i > 0 && i % agentsPerStep === 0) yield;
    if (state.agents.get(agent.id) !== agent || without.has(agent.id)) continue;
    sameColumns(state, copy);
    copyAgent(state, copy, agent);
  }
  copy.synchronised = true;
  return copy;
}

/** Numbers of scalars mean the same in both: new ones are taken over in their order. */
function sameColumns({ columns }: State, copy: State): void {
  for (let column = copy.columns.count; column < columns.count; column += 1)
    copy.columns.columnOf(columns.nameOf(column));
}

function copyAgent(state: State, copy: State, agent: Agent): void {
  const { id, inactive, facts, capabilities } = agent;
  const holdings = agent.holdings.map((holding) => allocated(state, copy, holding));
  const total = totalOf(state, agent);
  putAgent(copy, { id, total, inactive, facts, capabilities, holdings, reclaiming: undefined });
}

/** What is held without what is only offered. */
function allocated({ extras }: State, copy: State, holding: Holding): Holding {
  const { member, offered, offeredSinceMs } = holding;
  return {
    member: memberOf(copy, roleNamed(copy, member.role.name), member.frameworkId),
    amounts: holding.amounts.map((amount, column) => amount - (offered.amounts[column] ?? 0)),
    extras: extras.subtract(holding.extras, offered.extras) ?? emptyBundle.extras,
    offered: emptyBundle,
    offeredSinceMs,
    reclaimable: [],
  };
}

function totalOf({ amounts }: State, { totalRow, extras }: Agent): Bundle {
  return { amounts: [...amounts.data.subarray(totalRow * amounts.width, (totalRow + 1) * amounts.width)], extras };
}

function change(copy: State, { roles, agentsAdded }: mesobus.v1.WhatIf): void {
  for (const { role: name, weight, quota } of roles) {
    const role = roleNamed(copy, name);
    role.configured = true;
    if (weight > 0) role.weight = weight;
    if (quota !== null) setQuota(copy, role, quota);
  }
  for (const [group, added] of agentsAdded.entries()) {
    const model = mostFrequent(copy);
    const total = added.resources.length > 0 ? readTotal(copy, added) : model && totalOf(copy, model);
    if (total === undefined) throw new WhatIfProblem('there is no agent to copy: say what the added ones have');
    const facts = { attributes: added.attributes, hostname: `added-${group}`, domain: model?.facts.domain ?? null };
    const capabilities = model?.capabilities ?? 0xff;
    for (let i = 0; i < added.count; i += 1) {
      const id = `added-${group}-${i}`;
      putAgent(copy, { id, total, inactive: undefined, facts, capabilities, holdings: [], reclaiming: undefined });
    }
  }
}

function readTotal({ columns, extras }: State, { resources }: mesobus.v1.WhatIfAgents): Bundle {
  try {
    return readBundle(resources, columns, extras);
  } catch (error) {
    if (error instanceof MalformedResourceError) throw new WhatIfProblem(error.message, { cause: error });
    throw error;
  }
}

/** An agent of the kind of which there are most. */
function mostFrequent(state: State): Agent | undefined {
  const counts = new Map<string, { agent: Agent; count: number }>();
  let best: { agent: Agent; count: number } | undefined;
  for (const agent of state.agents.values()) {
    const { amounts, extras } = totalOf(state, agent);
    const key = `${amounts.join()} ${extras.list.map((resource) => resource.key).join()}`;
    const kind = counts.get(key) ?? { agent, count: 0 };
    counts.set(key, kind);
    kind.count += 1;
    if (best === undefined || kind.count > best.count) best = kind;
  }
  return best?.agent;
}

function* fullRound(copy: State, at: number): Generator<undefined, mesobus.v1.OfferedTo.$Properties[]> {
  const offered = new Map<
    string,
    { role: string; frameworkId: string; agents: number; amounts: Record<string, number> }
  >();
  while (copy.candidates.size > 0) {
    for (const decision of allocate(copy, at)) count(offered, decision);
    yield;
  }
  return [...offered.values()].map(({ amounts, ...whose }) => ({
    ...whose,
    quantities: Object.fromEntries(Object.entries(amounts).map(([name, amount]) => [name, { value: amount / 1000 }])),
  }));
}

function count(
  offered: Map<string, { role: string; frameworkId: string; agents: number; amounts: Record<string, number> }>,
  { role, frameworkId, resources }: Decision,
): void {
  const key = `${role}\n${frameworkId}`;
  const sum = offered.get(key) ?? { role, frameworkId, agents: 0, amounts: {} };
  offered.set(key, sum);
  sum.agents += 1;
  for (const resource of resources) {
    if (resource.kind !== 'scalar') continue;
    sum.amounts[resource.name] = (sum.amounts[resource.name] ?? 0) + resource.amount * (resource.copies ?? 1);
  }
}
