import type { mesobus } from '@mesobus/protos';
import { mesos } from '@mesobus/protos';
import { formatQuantities, formatResources, reservationRole } from '@mesobus/sdk/resources';
import { mayAllocate } from './allocate.ts';
import { availableOn, reclaimingOn } from './books.ts';
import { emptyBundle } from './bundle.ts';
import { claimsOf } from './claims.ts';
import { filtersOf } from './filters.ts';
import { createOffer, offerable, Reason, withheldFromAll } from './offerable.ts';
import { claimOf, findReclaim, isHelped } from './reclaim.ts';
import { everyRole } from './serving-order.ts';
import { memberShare } from './shares.ts';
import type { Agent, Holding, Member, Role, State } from './state.ts';

type Withheld = mesobus.v1.Withheld.$Properties;
type RoleExplanation = mesobus.v1.RoleExplanation.$Properties;

/** Agents looked at in one go: about a millisecond. */
const agentsPerStep = 1_000;
const maxNamedAgents = 1_000;
/** Reasons told apart by the roles that they name; the others are told without. */
const maxReasons = 100;
const maxRolesNamed = 10;
const maxSizesNamed = 3;

const { Type: FrameworkCan } = mesos.v1.FrameworkInfo.Capability;
const scratch = createOffer();

/**
 * Why a framework is offered nothing, or not more: of itself, of a role of it, or of agents, as the rounds see it. The work
 * is done step by step, so that rounds can go between: the books may change meanwhile, and each agent is told of as it was
 * when it was looked at.
 *
 * @param at - asked for at each step
 */
export function* explain(
  state: State,
  at: () => number,
  query: mesobus.v1.ExplainFramework,
): Generator<undefined, mesobus.v1.Explanation.$Properties> {
  const { frameworkId, role } = query;
  const framework = state.frameworks.get(frameworkId);
  const names = role === '' ? [...(framework?.roles ?? [''])] : [role];
  const roles: RoleExplanation[] = [];
  for (const name of names) roles.push(yield* explainRole(state, at, query, name));
  return { frameworkId, roles };
}

function* explainRole(
  state: State,
  at: () => number,
  query: mesobus.v1.ExplainFramework,
  role: string,
): Generator<undefined, RoleExplanation> {
  const { frameworkId } = query;
  const member = state.roles.get(role)?.members.get(frameworkId);
  const share = member === undefined ? {} : { share: memberShare(state, member) };
  const reason = whyNoAgent(state, frameworkId, member);
  if (reason !== 0) return { role, reason: { reason, detail: ofFramework(state, reason, member) }, ...share };
  const found = new Findings(Math.min(query.maxAgents, maxNamedAgents));
  if (query.agentId !== '' && !state.agents.has(query.agentId)) {
    found.add({ reason: Reason.AGENT_UNKNOWN, detail: 'no agent has this id, or it has been removed' }, query.agentId);
  }
  const asked = state.agents.get(query.agentId);
  const agents = query.agentId === '' ? [...state.agents.values()] : asked === undefined ? [] : [asked];
  let turn: Withheld | undefined;
  for (const [i, agent] of agents.entries()) {
    if (i > 0 && i % agentsPerStep === 0) yield;
    const present = state.roles.get(role)?.members.get(frameworkId);
    if (present === undefined) break;
    if (state.agents.get(agent.id) !== agent) continue;
    const why = whyOn(state, at(), agent, present);
    if (why.reason === Reason.IN_TURN) turn ??= ofTurn(state, at(), present);
    found.add(why.reason === Reason.IN_TURN ? (turn ?? why) : why, agent.id);
  }
  const reclaim = member === undefined ? undefined : ofReclaim(state, at(), member);
  return { role, agents: found.list(), ...share, ...(reclaim && { reclaim }) };
}

/** What becomes of a guarantee or fair share that a member lacks; undefined if it does not, or something else helps. */
function ofReclaim(state: State, at: number, member: Member): Withheld | undefined {
  const { role, claimingSinceMs } = member;
  const claims = claimsOf(state);
  const claim = claimOf(state, claims, member);
  if (claim === undefined) return undefined;
  const what = claim === 'guarantee' ? `the guarantee of '${role.name}'` : `the fair share of '${role.name}'`;
  if (state.reclaimAfterMs === 0) {
    if (claim === 'share') return undefined;
    const detail = `${what} waits until tasks end, if nothing is free: the masters' --reclaim-after is not set`;
    return { reason: Reason.RECLAIM_OFF, detail };
  }
  for (const agent of state.agents.values()) {
    const claimed = reclaimingOn(agent);
    if (claimed?.role !== role.name) continue;
    const roles = [...new Set(claimed.victims.map((victim) => victim.role))].slice(0, maxRolesNamed);
    const when = claimed.killAtMs > 0 ? `; what runs after ${new Date(claimed.killAtMs).toISOString()} is killed` : '';
    const detail = `for ${what} tasks of ${roles.join(', ') || 'others'} on agent ${agent.id} are asked back${when}`;
    return { reason: Reason.RECLAIM_UNDER_WAY, detail, roles };
  }
  if (isHelped(state, at, member)) return undefined;
  const endsInMs = Math.max(0, Math.min(claimingSinceMs, at) + state.reclaimAfterMs - at);
  if (endsInMs > 0 || findReclaim(state, at, member, claims) !== undefined) {
    const detail = `${what} waits: tasks of others may be asked back in ${(endsInMs / 1000).toFixed(1)} s`;
    return { reason: Reason.RECLAIM_WAITS, detail, endsInMs };
  }
  const detail = `${what} waits until tasks end: no agent has revocable or preemptible ones that help and may be asked back`;
  return { reason: Reason.NOTHING_TO_RECLAIM, detail };
}

/** Agents by reason. Of details that differ, one is told as an example. */
class Findings {
  readonly #named: number;
  readonly #found = new Map<string, { reason: Withheld; count: number; agentIds: string[]; differs: boolean }>();

  constructor(named: number) {
    this.#named = named;
  }

  add(reason: Withheld, agentId: string): void {
    const precise = `${reason.reason} ${reason.roles?.join()}`;
    const key = this.#found.has(precise) || this.#found.size < maxReasons ? precise : `${reason.reason}`;
    const found = this.#found.get(key) ?? { reason, count: 0, agentIds: [], differs: false };
    this.#found.set(key, found);
    found.count += 1;
    found.differs ||= reason.detail !== found.reason.detail;
    if (found.agentIds.length < this.#named) found.agentIds.push(agentId);
    const { endsInMs } = reason;
    // Of many filters the one that ends first is told.
    if (endsInMs != null && endsInMs < (found.reason.endsInMs ?? 0)) found.reason = reason;
  }

  list(): mesobus.v1.WithheldAgents.$Properties[] {
    const found = [...this.#found.values()].sort((a, b) => b.count - a.count);
    return found.map(({ reason, count, agentIds, differs }) => {
      const detail = differs ? `for example: ${reason.detail}` : (reason.detail ?? '');
      return { reason: { ...reason, detail }, count, agentIds };
    });
  }
}

function whyNoAgent(state: State, frameworkId: string, member: Member | undefined): Reason {
  if (!mayAllocate(state)) return Reason.ALLOCATOR_NOT_READY;
  const framework = state.frameworks.get(frameworkId);
  if (framework === undefined) return Reason.FRAMEWORK_UNKNOWN;
  if (member !== undefined) return withheldFromAll(state, member);
  return framework.active ? Reason.ROLE_NOT_SUBSCRIBED : Reason.FRAMEWORK_DISCONNECTED;
}

function ofFramework(state: State, reason: Reason, member: Member | undefined): string {
  switch (reason) {
    case Reason.FRAMEWORK_UNKNOWN:
      return 'no framework has this id, or it has been removed';
    case Reason.FRAMEWORK_DISCONNECTED:
      return 'its scheduler is not connected';
    case Reason.ROLE_NOT_SUBSCRIBED:
      return 'the framework is not subscribed to the role';
    case Reason.ROLE_SUPPRESSED:
      return 'it has suppressed offers in this role: it has to revive them';
    case Reason.NO_DEMAND:
      return 'it has said that it wants nothing in this role';
    case Reason.DEMAND_UNDER_OFFER:
      return `what it wants lies in ${numbered(member?.openOffers ?? 0, 'offer')} that it has not answered`;
    case Reason.TOO_MANY_OPEN_OFFERS: {
      const most = numbered(member?.framework?.maxOpenOffers ?? 0, 'offer');
      return `it may have ${most} open at a time, because it has let others expire: it has to answer them`;
    }
    case Reason.ALLOCATOR_NOT_READY:
      return `the allocator ${state.allocatorId} does not know all of the leader's books yet, or is not appointed`;
    default:
      return '';
  }
}

const numbered = (count: number, what: string): string => `${count} ${what}${count === 1 ? '' : 's'}`;

/** Why nothing more of an agent is offered to a member. */
function whyOn(state: State, at: number, agent: Agent, member: Member): Withheld {
  const reason = offerable(state, at, agent, member, 'share', scratch);
  const inTurn = reason === 0 || (state.quotas > 0 && offerable(state, at, agent, member, 'guarantee', scratch) === 0);
  if (inTurn) return { reason: Reason.IN_TURN };
  if (reason === Reason.NOTHING_FREE && hasOffer(agent, member)) {
    return { reason: Reason.OFFERED_ALREADY, detail: 'it has not answered its offer of this agent yet' };
  }
  return { reason, ...ofAgent(state, at, reason, agent, member) };
}

const hasOffer = (agent: Agent, member: Member): boolean =>
  agent.open.some((decision) => decision.member === member && decision.kind === 'offer') ||
  agent.holdings.some((holding) => holding.member === member && holding.offered !== emptyBundle);

function ofTurn(state: State, at: number, member: Member): Withheld {
  const before: string[] = [];
  // Where dice decide there is no order before it is needed.
  if (state.settings.rolePolicy.keysLast === 'change') {
    everyRole(state, at, (role) => role !== member.role && before.push(role.name) < maxRolesNamed);
  }
  const others = before.length > 0 ? `, after ${before.join(', ')}` : '';
  return { reason: Reason.IN_TURN, detail: `it is offered something in its turn${others}`, roles: before };
}

function ofAgent(state: State, at: number, reason: Reason, agent: Agent, member: Member): Withheld {
  const { role } = member;
  switch (reason) {
    case Reason.CONSTRAINT_NOT_MET:
      return { detail: 'it does not meet the offer constraints of the framework' };
    case Reason.NOTHING_FREE:
      return ofHoldings(agent);
    case Reason.RESERVED_FOR_OTHERS:
      return ofReservations(agent, member);
    case Reason.RECLAIMED_FOR_OTHERS: {
      const claim = reclaimingOn(agent);
      const detail = `tasks on it are asked back for framework ${claim?.frameworkId} in role '${claim?.role}'`;
      return { detail, roles: [claim?.role ?? ''], frameworkId: claim?.frameworkId ?? '' };
    }
    case Reason.GPU_ONLY_FOR_GPU_FRAMEWORKS:
      return { detail: 'it has gpus, and the framework does not say GPU_RESOURCES' };
    case Reason.OTHER_REGION: {
      const region = agent.facts.domain?.faultDomain?.region.name;
      return { detail: `it is in region '${region}', the master in '${state.region}', and REGION_AWARE is not said` };
    }
    case Reason.CAPABILITY_MISSING:
      return { detail: ofCapabilities(member) };
    case Reason.QUOTA_LIMIT:
      return ofLimits(state, role);
    case Reason.QUOTA_HEADROOM: {
      const roles = guaranteedRoles(state).slice(0, maxRolesNamed);
      return { detail: `what is free is kept for the guarantees of ${roles.join(', ')}`, roles };
    }
    case Reason.BELOW_MINIMUM:
      return { detail: `what is free, ${formatResources(availableOn(state, agent.id))}, is below the smallest offer` };
    case Reason.SHAPE_DOES_NOT_FIT: {
      const free = formatResources(availableOn(state, agent.id));
      return { detail: `no task that is wanted fits in what is free, ${free}: ${wantedBy(member)}` };
    }
    case Reason.FILTERED: {
      const ends = Math.max(...filtersOf(member, agent).map(({ untilMs }) => untilMs));
      const seconds = ((ends - at) / 1000).toFixed(1);
      return { detail: `it was declined or left to expire, and comes again in ${seconds} s`, endsInMs: ends - at };
    }
    default:
      return { detail: ofInactive(reason, agent) };
  }
}

/** The first sizes of tasks that it wants. */
function wantedBy({ demand }: Member): string {
  const sizes = (demand?.shapes ?? []).map(({ names, amounts }) =>
    formatQuantities(Object.fromEntries(names.map((name, i) => [name, amounts[i] ?? 0]))),
  );
  const more = sizes.length > maxSizesNamed ? ' and others' : '';
  return `${sizes.slice(0, maxSizesNamed).join(' or ')}${more} is wanted`;
}

function ofInactive(reason: Reason, { facts }: Agent): string {
  switch (reason) {
    case Reason.AGENT_DEACTIVATED:
      return 'it is deactivated, until an operator reactivates it';
    case Reason.AGENT_DRAINING:
      return 'it is being drained, or has been, until an operator reactivates it';
    case Reason.AGENT_NOT_WHITELISTED:
      return `its hostname '${facts.hostname}' is not on the whitelist of the masters`;
    case Reason.AGENT_DOWN:
      return 'its machine is down for maintenance';
    default:
      return 'it is not connected to the leader';
  }
}

/** Whose tasks and offers take all of an agent. */
function ofHoldings({ holdings, open }: Agent): Withheld {
  const allocated = new Set<string>();
  const offered = new Set<string>();
  for (const holding of holdings) {
    if (isUsed(holding)) allocated.add(holding.member.role.name);
    if (holding.offered !== emptyBundle) offered.add(holding.member.role.name);
  }
  for (const { kind, member } of open) if (kind === 'offer') offered.add(member.role.name);
  const roles = [...new Set([...allocated, ...offered])].sort().slice(0, maxRolesNamed);
  if (roles.length === 0) return { detail: 'it has nothing' };
  const said = (how: string, names: ReadonlySet<string>): string[] =>
    names.size === 0 ? [] : [`${how} to ${[...names].sort().slice(0, maxRolesNamed).join(', ')}`];
  return {
    detail: `all of it is ${[...said('allocated', allocated), ...said('offered', offered)].join(' or ')}`,
    roles,
  };
}

/** Whether more is held than what is only offered. */
const isUsed = ({ amounts, extras, offered }: Holding): boolean =>
  amounts.some((amount, column) => amount > (offered.amounts[column] ?? 0)) ||
  extras.list.length > offered.extras.list.length;

function ofReservations({ freeExtras }: Agent, member: Member): Withheld {
  const owners = new Set<string>();
  for (const resource of freeExtras.list)
    if (resource.reservations !== undefined) owners.add(reservationRole(resource));
  owners.delete(member.role.name);
  const roles = [...owners].sort().slice(0, maxRolesNamed);
  return { detail: `what is free is reserved to ${roles.join(', ')}`, roles };
}

function ofCapabilities({ framework, role }: Member): string {
  const can = framework?.capabilities ?? 0;
  const missing = (['REVOCABLE_RESOURCES', 'SHARED_RESOURCES', 'RESERVATION_REFINEMENT'] as const).filter(
    (name) => (can & (1 << FrameworkCan[name])) === 0,
  );
  const ofAgent = role.name.includes('/') ? 'MULTI_ROLE and HIERARCHICAL_ROLE' : 'MULTI_ROLE';
  return `the agent has to have ${ofAgent}, or what is free needs one of ${missing.join(', ')} of the framework`;
}

/** The roles, of it and those above, whose own limit of something leaves no room. */
function ofLimits({ amounts, columns }: State, role: Role): Withheld {
  const roles: string[] = [];
  const full = new Set<string>();
  for (let above: Role | undefined = role; above !== undefined; above = above.parent) {
    for (let column = 0; column < columns.count; column += 1) {
      const limit = above.quota?.limits[column];
      if (limit === undefined || limit > (amounts.data[above.consumed * amounts.width + column] as number)) continue;
      if (roles.at(-1) !== above.name) roles.push(above.name);
      full.add(`${columns.nameOf(column)} of '${above.name}' (${limit / 1000})`);
    }
  }
  const what =
    full.size > 0 ? `reached: ${[...full].join(', ')}` : 'nearly reached: what is left is below the smallest offer';
  return { detail: `the limit is ${what}`, roles: roles.length > 0 ? roles : [role.name] };
}

/** Those that lack something of their guarantee. */
function guaranteedRoles({ roles, columns, amounts }: State): string[] {
  const lacking: string[] = [];
  for (const { name, quota, consumed } of roles.values()) {
    for (let column = 0; column < columns.count; column += 1) {
      const guarantee = quota?.guarantees[column] ?? 0;
      if (guarantee <= (amounts.data[consumed * amounts.width + column] as number)) continue;
      lacking.push(name);
      break;
    }
  }
  return lacking.sort();
}
