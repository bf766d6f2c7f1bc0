import { isAnythingLeft } from './demand.ts';
import { isShort } from './quota.ts';
import type { Member, Role, State } from './state.ts';

/** Whoever has used nothing of so many offers in a row only says that it wants something. */
const maxUnused = 8;

/** Looks who waits now, of those whose demand or offers have changed. */
export function settleWaiting(state: State, at: number): void {
  for (const member of state.unsettled) {
    const { openOffers } = member;
    const amounts = sumOf(state, member.offered);
    const used = sumOf(state, member.held) - amounts;
    // An offer was answered: it may have more now, of any agent.
    if (openOffers < member.settledOffers || amounts < member.settledAmounts) {
      state.reconsider = true;
      member.unused = used > member.settledUsed ? 0 : member.unused + 1;
    }
    member.settledOffers = openOffers;
    member.settledAmounts = amounts;
    member.settledUsed = used;
    settleOne(state, at, member);
  }
  state.unsettled.clear();
}

function sumOf({ amounts, columns }: State, row: number): number {
  let sum = 0;
  for (let column = 0; column < columns.count; column += 1) sum += amounts.data[row * amounts.width + column] ?? 0;
  return sum;
}

/** Looks which roles wait for a part of their guarantee. */
export function settleGuarantees(state: State, at: number): void {
  if (state.quotas === 0) return;
  for (const role of state.roles.values()) for (const member of role.members.values()) settleOne(state, at, member);
}

function settleOne(state: State, at: number, member: Member): void {
  const demand = member.demand;
  const lacks = demand === undefined ? isShort(state, member.role) : isAnythingLeft(state, member, demand);
  if (!member.wanting || !lacks) stopWaiting(state, member);
  else if (!state.waiting.has(member)) startWaiting(state, at, member);
}

function startWaiting(state: State, at: number, member: Member): void {
  state.waiting.add(member);
  member.waitingSinceMs = at;
}

function stopWaiting(state: State, member: Member): void {
  state.waiting.delete(member);
  member.waitingSinceMs = Number.POSITIVE_INFINITY;
}

/** It was given something: if it still waits, then from now on. */
export function waitAnew(state: State, at: number, member: Member): void {
  if (state.waiting.has(member)) member.waitingSinceMs = at;
}

/** Roles in which somebody waits; none while nobody has waited for longer than the bound. */
export function waitingRoles(state: State, at: number): Set<Role> {
  const roles = new Set<Role>();
  let hasOverdue = false;
  for (const member of state.waiting) {
    roles.add(member.role);
    hasOverdue ||= isOverdue(state, at, member);
  }
  if (!hasOverdue) roles.clear();
  return roles;
}

/**
 * Whether it goes before those who do not wait, if somebody is overdue. Of those who wait shares decide: where everything
 * is in use all of them are overdue.
 */
export const goesFirst = (state: State, at: number, member: Member): boolean =>
  state.waiting.has(member) && (member.unused < maxUnused || isOverdue(state, at, member));

export const isOverdue = ({ settings }: State, at: number, { waitingSinceMs }: Member): boolean =>
  at - waitingSinceMs >= settings.starvationBoundMs;

export function byWaiting(a: Member, b: Member): number {
  if (a.waitingSinceMs !== b.waitingSinceMs) return a.waitingSinceMs - b.waitingSinceMs;
  if (a.frameworkId !== b.frameworkId) return a.frameworkId < b.frameworkId ? -1 : 1;
  return a.role.name < b.role.name ? -1 : 1;
}

/** When the next one becomes overdue, or is sought for again, in ms; Infinity if nobody does. */
export function overdueAtMs({ waiting, rooms, settings }: State, at: number): number {
  let next = Number.POSITIVE_INFINITY;
  for (const { waitingSinceMs, soughtAtMs, rescinding } of waiting) {
    const due = waitingSinceMs + settings.starvationBoundMs;
    // What comes of offers that are being taken back for it comes with the feed.
    if (due <= at && rescinding > 0) continue;
    const wasSought = rooms !== undefined && soughtAtMs >= rooms.madeAtMs;
    const again = wasSought ? rooms.madeAtMs + settings.allocationIntervalMs : at;
    next = Math.min(next, due > at ? due : Math.max(at, again));
  }
  return next;
}
