import type { mesobus } from '@mesobus/protos';
import { everyMember, everyRole } from './serving-order.ts';
import type { Account, Member, Role, State } from './state.ts';

type Share = mesobus.v1.Share.$Properties;

/** Who holds how much, in the order in which roles and frameworks are served; those who take no part come last. */
export function shares(state: State, at: number): mesobus.v1.ShareList.$Properties {
  const roles: Role[] = [];
  everyRole(state, at, (role) => roles.push(role) > 0);
  for (const role of state.roles.values()) if (!roles.includes(role)) roles.push(role);
  return {
    roles: roles.map((role) => roleShare(state, role)),
    frameworks: roles.flatMap((role) => membersInOrder(state, at, role).map((member) => memberShare(state, member))),
  };
}

function membersInOrder(state: State, at: number, role: Role): Member[] {
  const members: Member[] = [];
  everyMember(state, at, role, (member) => members.push(member) > 0);
  return [...members, ...[...role.members.values()].filter(({ wanting }) => !wanting)];
}

/** Of the role with all below it. */
export const roleShare = (state: State, role: Role): Share => ({ role: role.name, ...shareOfAccount(state, role) });

export function memberShare(state: State, member: Member): Share {
  const { frameworkId, role, framework } = member;
  const suppressed = framework?.suppressedRoles.has(role.name) ?? false;
  return { role: role.name, frameworkId, suppressed, ...shareOfAccount(state, member) };
}

/** Divided by the weight. */
function shareOfAccount(state: State, { held, weight }: Account): Share {
  const { amounts, columns, total, settings } = state;
  let dominantShare = 0;
  let dominantResource = '';
  for (let column = 0; column < columns.count; column += 1) {
    const name = columns.nameOf(column);
    const amount = amounts.data[held * amounts.width + column] as number;
    const whole = amounts.data[total * amounts.width + column] as number;
    const fraction = whole > 0 && !settings.excludedFromShares.includes(name) ? amount / whole : 0;
    if (fraction <= dominantShare) continue;
    dominantShare = fraction;
    dominantResource = name;
  }
  return { weight, dominantShare: dominantShare / weight, dominantResource, held: wireAmounts(state, held) };
}

/** A row of the table of amounts as the wire has it: by name, in Mesos' units. */
export function wireAmounts({ amounts, columns }: State, row: number): Record<string, { value: number }> {
  const quantities: Record<string, { value: number }> = {};
  for (let column = 0; column < columns.count; column += 1) {
    const amount = amounts.data[row * amounts.width + column] as number;
    if (amount !== 0) quantities[columns.nameOf(column)] = { value: amount / 1000 };
  }
  return quantities;
}
