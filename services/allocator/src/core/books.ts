import { mesobus } from '@mesobus/protos';
import { equals, noResources, type Resource, type Resources, reservationRole } from '@mesobus/sdk/resources';
import { type Bundle, emptyBundle, toResources } from './bundle.ts';
import type { ConstrainedAgent } from './constraints.ts';
import { amountOf, type Extras, noExtras, traits } from './extras.ts';
import { liftFiltersOn } from './filters.ts';
import { settleKept } from './quota.ts';
import { forgetIfUnused, forgetMemberIfUnused, roleNamed, touchPath } from './role-tree.ts';
import type { Account, Agent, Holding, Member, OpenDecision, Reclaiming, Role, State } from './state.ts';

/** What the leader says of an agent. */
export interface AgentBook {
  readonly id: string;
  readonly total: Bundle;
  readonly inactive: number | undefined;
  readonly facts: ConstrainedAgent;
  readonly capabilities: number;
  readonly holdings: readonly Holding[];
  readonly reclaiming: Reclaiming | undefined;
}

/** Puts an agent's new books in the place of its old ones. Open decisions stay with it. */
export function putAgent(state: State, book: AgentBook): Agent {
  const known = state.agents.get(book.id);
  const agent = known ?? createAgent(state, book);
  if (!hasTotal(state, agent, book.total)) {
    addTotal(state, agent, -1);
    agent.extras = book.total.extras;
    putRow(state, agent.totalRow, book.total);
    addTotal(state, agent, 1);
  } else {
    // What does not count when resources are compared, such as where a volume is mounted, may be another.
    agent.extras = book.total.extras;
  }
  agent.facts = book.facts;
  agent.capabilities = book.capabilities;
  agent.reclaiming = book.reclaiming;
  addHeadroom(state, agent, -1);
  agent.inactive = book.inactive;
  addHeadroom(state, agent, 1);
  putHoldings(state, agent, book.holdings);
  if (isOpen(state, agent)) state.candidates.add(agent);
  return agent;
}

/** Puts new holdings in the place of those of an agent. */
export function putHoldings(state: State, agent: Agent, holdings: readonly Holding[]): void {
  // The new ones first: who holds as before is not forgotten in between.
  for (const holding of holdings) charge(state, agent.id, holding, 1);
  for (const holding of agent.holdings) charge(state, agent.id, holding, -1);
  agent.holdings = holdings;
  recount(state, agent);
}

function createAgent({ amounts, agents }: State, { id, facts }: AgentBook): Agent {
  const agent: Agent = {
    id,
    totalRow: amounts.add(),
    freeRow: amounts.add(),
    inactive: undefined,
    facts,
    capabilities: 0,
    extras: emptyBundle.extras,
    freeExtras: emptyBundle.extras,
    holdings: [],
    reclaiming: undefined,
    open: [],
    filters: undefined,
    hiddenFrom: undefined,
    candidate: -1,
  };
  agents.set(id, agent);
  return agent;
}

export function removeAgent(state: State, id: string): void {
  const agent = state.agents.get(id);
  if (agent === undefined) return;
  for (const decision of agent.open) close(state, decision);
  liftFiltersOn(state, agent);
  addHeadroom(state, agent, -1);
  for (const holding of agent.holdings) charge(state, id, holding, -1);
  addTotal(state, agent, -1);
  state.amounts.remove(agent.totalRow);
  state.amounts.remove(agent.freeRow);
  state.candidates.delete(agent);
  state.agents.delete(id);
  // Whoever still has it in a list must not read its rows, which may be another's now.
  agent.inactive = mesobus.v1.AgentBook.Inactive.UNKNOWN;
}

/** Shares are of what the cluster has: they need not be looked at again as long as an agent has what it had. */
function hasTotal({ amounts, columns }: State, { totalRow, extras }: Agent, total: Bundle): boolean {
  const begin = totalRow * amounts.width;
  for (let column = 0; column < columns.count; column += 1) {
    const amount = column < total.amounts.length ? total.amounts[column] : 0;
    if (amounts.data[begin + column] !== amount) return false;
  }
  return extras === total.extras || equals(extras.list, total.extras.list);
}

function putRow({ amounts }: State, row: number, bundle: Bundle): void {
  const begin = row * amounts.width;
  amounts.data.fill(0, begin, begin + amounts.width);
  for (let column = 0; column < bundle.amounts.length; column += 1) {
    amounts.data[begin + column] = bundle.amounts[column] as number;
  }
}

/** Adds what an agent has to the sum of the cluster, and what is reserved there to what the roles consume. */
function addTotal(state: State, { totalRow, extras }: Agent, sign: 1 | -1): void {
  addRow(state, state.total, totalRow, sign);
  addSparse(state, state.total, extras.scalars, sign);
  state.keysVersion += 1;
  if ((extras.traits & traits.reserved) === 0) return;
  for (const resource of extras.list) {
    if (resource.reservations !== undefined) addReservation(state, resource, sign);
  }
}

function addReservation(state: State, resource: Resource, sign: 1 | -1): void {
  const role = roleNamed(state, reservationRole(resource));
  role.reservations += sign;
  if (resource.kind === 'scalar') {
    const column = state.columns.columnOf(resource.name);
    for (let above: Role | undefined = role; above !== undefined; above = above.parent) {
      add(state, above.consumed, column, sign * amountOf(resource));
    }
    settleKept(state, role);
    reconsiderForQuota(state);
  }
  forgetIfUnused(state, role);
}

/** With quotas, what one agent gives back may be what another was kept for. */
function reconsiderForQuota(state: State): void {
  if (state.quotas > 0) state.reconsider = true;
}

function add({ amounts }: State, row: number, column: number, amount: number): void {
  (amounts.data[row * amounts.width + column] as number) += amount;
}

function addRow({ amounts, columns }: State, to: number, from: number, sign: 1 | -1): void {
  const { data, width } = amounts;
  for (let column = 0; column < columns.count; column += 1) {
    (data[to * width + column] as number) += sign * (data[from * width + column] as number);
  }
}

function addSparse(state: State, row: number, { columns, amounts }: Extras['scalars'], sign: 1 | -1): void {
  for (let i = 0; i < columns.length; i += 1) add(state, row, columns[i] as number, sign * (amounts[i] as number));
}

function addAmounts({ amounts }: State, row: number, bundle: Bundle, sign: 1 | -1): void {
  const begin = row * amounts.width;
  const { data } = amounts;
  for (let column = 0; column < bundle.amounts.length; column += 1) {
    (data[begin + column] as number) += sign * (bundle.amounts[column] as number);
  }
}

/** Charges a holding to its member and role and all roles above (1), or takes that back (-1). */
function charge(state: State, agentId: string, holding: Holding, sign: 1 | -1): void {
  const { member, offered } = holding;
  chargeBundle(state, agentId, member, holding, sign);
  if (offered !== emptyBundle) chargeOffered(state, member, offered, sign);
  member.uses += sign;
  if (member.uses === 0) forgetMemberIfUnused(state, member);
}

function chargeOffered(state: State, member: Member, offered: Bundle, sign: 1 | -1): void {
  addAmounts(state, member.offered, offered, sign);
  addSparse(state, member.offered, offered.extras.scalars, sign);
  member.openOffers += sign;
  const { framework } = member;
  if (framework === undefined) return;
  if (framework.maxOpenOffers > 0 || member.demand !== undefined) state.unsettled.add(member);
}

function chargeBundle(state: State, agentId: string, member: Member, bundle: Bundle, sign: 1 | -1): void {
  const { role } = member;
  const volumes = sharedVolumes(state, agentId, bundle.extras);
  addHeld(state, member, bundle, volumes, sign);
  addHeld(state, role.leaf, bundle, volumes, sign);
  for (let above: Role | undefined = role; above !== undefined; above = above.parent) {
    addHeld(state, above, bundle, volumes, sign);
    addAmounts(state, above.consumed, bundle, sign);
    addSparse(state, above.consumed, bundle.extras.loose, sign);
  }
  role.memberOrder.touch(member);
  touchPath(state, role);
  settleKept(state, role);
  if (sign < 0) reconsiderForQuota(state);
}

interface SharedVolume {
  /** Of the volume on its agent. */
  readonly key: string;
  readonly column: number;
  readonly amount: number;
}

const noVolumes: readonly SharedVolume[] = [];

function sharedVolumes({ columns }: State, agentId: string, extras: Extras): readonly SharedVolume[] {
  if ((extras.traits & traits.shared) === 0) return noVolumes;
  const shared = extras.list.filter((resource) => resource.shared && resource.kind === 'scalar');
  return shared.map((resource) => ({
    key: `${agentId}\n${resource.key}`,
    column: columns.columnOf(resource.name),
    amount: amountOf(resource),
  }));
}

/** A shared volume counts once for whoever holds it, however many copies it holds. */
function addHeld(state: State, account: Account, bundle: Bundle, volumes: readonly SharedVolume[], sign: 1 | -1): void {
  addAmounts(state, account.held, bundle, sign);
  addSparse(state, account.held, bundle.extras.scalars, sign);
  for (const { key, column, amount } of volumes) {
    account.sharedHeld ??= new Map();
    const before = account.sharedHeld.get(key) ?? 0;
    const now = before + sign;
    if (now === 0) account.sharedHeld.delete(key);
    else account.sharedHeld.set(key, now);
    if (before > 0 && now > 0) add(state, account.held, column, -sign * amount);
  }
}

/** Works out what is free on an agent. */
function recount(state: State, agent: Agent): void {
  agent.hiddenFrom = undefined;
  addHeadroom(state, agent, -1);
  const { data, width } = state.amounts;
  data.copyWithin(agent.freeRow * width, agent.totalRow * width, (agent.totalRow + 1) * width);
  agent.freeExtras = agent.extras;
  let fits = true;
  for (const holding of agent.holdings) fits &&= take(state, agent, holding);
  for (const decision of agent.open) fits &&= take(state, agent, decision);
  // More is held than there is while an agent shrinks, or while an allocation that the leader refused is still open.
  if (!fits) setNothingFree(state, agent);
  addHeadroom(state, agent, 1);
}

function setNothingFree({ amounts }: State, agent: Agent): void {
  amounts.data.fill(0, agent.freeRow * amounts.width, (agent.freeRow + 1) * amounts.width);
  agent.freeExtras = emptyBundle.extras;
}

/** @returns false if there is not so much */
function take(state: State, agent: Agent, { amounts, extras }: Bundle): boolean {
  const { data, width } = state.amounts;
  const begin = agent.freeRow * width;
  for (let column = 0; column < amounts.length; column += 1) {
    const rest = (data[begin + column] as number) - (amounts[column] as number);
    if (rest < 0) return false;
    data[begin + column] = rest;
  }
  // Shared volumes are free for everyone, always.
  const unshared =
    (extras.traits & traits.shared) === 0 ? extras : state.extras.select(extras, ({ shared }) => shared === undefined);
  const free = state.extras.subtract(agent.freeExtras, unshared);
  if (free === undefined) return false;
  agent.freeExtras = free;
  return true;
}

/** Adds what is free on an active agent, unreserved and not revocable, to the headroom, or takes it away. */
function addHeadroom(state: State, { inactive, freeRow, freeExtras }: Agent, sign: 1 | -1): void {
  if (inactive !== undefined) return;
  addRow(state, state.headroom, freeRow, sign);
  addSparse(state, state.headroom, freeExtras.loose, sign);
}

/** The tasks of an agent that are asked back, as the leader says or as was decided here; undefined if none are. */
export const reclaimingOn = ({ reclaiming, open }: Agent): Reclaiming | undefined =>
  reclaiming ?? (open.length === 0 ? undefined : open.find(({ kind }) => kind === 'reclaim')?.reclaiming);

/** Whether there is something to give. */
export function isOpen({ amounts, columns }: State, { inactive, freeRow, freeExtras }: Agent): boolean {
  if (inactive !== undefined) return false;
  if (freeExtras !== noExtras) return true;
  const begin = freeRow * amounts.width;
  for (let column = 0; column < columns.count; column += 1) {
    if ((amounts.data[begin + column] as number) > 0) return true;
  }
  return false;
}

/** What nobody holds on an agent, whether it is active or not; nothing of an agent that is not known. */
export function availableOn({ agents, amounts, columns }: State, agentId: string): Resources {
  const agent = agents.get(agentId);
  if (agent === undefined) return noResources;
  const begin = agent.freeRow * amounts.width;
  const free = [...amounts.data.subarray(begin, begin + amounts.width)];
  return toResources(columns, { amounts: free, extras: agent.freeExtras });
}

/** Notes what was decided now. */
export function open(state: State, decision: OpenDecision): void {
  const { agent, member, number } = decision;
  state.open.set(number, decision);
  agent.open = agent.open.concat(decision); // with as much room as it needs: a list that is spread has more
  member.uses += 1;
  if (decision.beneficiary !== undefined) decision.beneficiary.rescinding += 1;
  if (decision.kind !== 'offer') return;
  chargeBundle(state, agent.id, member, decision, 1);
  chargeOffered(state, member, decision, 1);
  addHeadroom(state, agent, -1);
  if (!take(state, agent, decision)) setNothingFree(state, agent);
  addHeadroom(state, agent, 1);
}

/** Its outcome is in the books of its agent now. */
export function close(state: State, decision: OpenDecision): void {
  const { agent, member } = decision;
  if (!state.open.delete(decision.number)) return;
  if (decision.kind === 'offer') {
    chargeBundle(state, agent.id, member, decision, -1);
    chargeOffered(state, member, decision, -1);
  }
  if (decision.beneficiary !== undefined) {
    decision.beneficiary.rescinding -= 1;
    state.freed.set(agent, decision.beneficiary);
  }
  member.uses -= 1;
  if (member.uses === 0) forgetMemberIfUnused(state, member);
  agent.open = agent.open.filter((other) => other !== decision);
  recount(state, agent);
  if (isOpen(state, agent)) state.candidates.add(agent);
}
