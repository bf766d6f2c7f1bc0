import { quantitiesOf } from '@mesobus/sdk/resources';
import type { FrameworkLink, Offer } from './state.ts';

/** Offers to a framework of the SDK expire after so long at most, and while little is known of it. */
const longestTimeoutMs = 5_000;
/** A framework that answers in time is given so long at least: a pause of its process is no reason. */
const shortestTimeoutMs = 1_000;
/** One that lets offers expire is given so long at least. */
const hoarderTimeoutMs = 250;
/** So many answers must be known before their times count. */
const enoughAnswers = 8;
/** A window that has grown to so many offers is none any more. */
const unlimitedWindow = 1_024;
/** What expires is kept away for as long as a decline keeps it away, doubling. */
const firstPauseMs = 5_000;
const longestPauseMs = 60_000;
/** Expired offers whose late answers are still recognised. */
const maxExpiredKnown = 256;

/**
 * How a framework deals with its offers, as far as its leader has seen.
 *
 * Its time-out follows the time from an offer to its answer, weighted as TCP weighs round trips (RFC 6298): the mean moves
 * by an eighth of each new difference, the deviation by a quarter, and the time-out is `mean + 4 × deviation`, from 1 to 5 s.
 * An offer that nobody answers halves both the time-out, down to 250 ms, and the window of offers that may be open at a
 * time, down to 1, as a lost packet halves a congestion window; each answer in time doubles the window until there is none.
 */
export interface Conduct {
  answered: number;
  expired: number;
  /** From an offer to its answer, ms; and how far that strays. */
  decisionMs: number;
  deviationMs: number;
  /** So many offers may be open; Infinity: any number. */
  window: number;
  /** How often in a row offers have expired, those that were made together once; and when last. */
  strikes: number;
  struckAtMs: number;
  /** When offers were made that have expired since, by their ids. */
  readonly expiredKnown: Map<string, number>;
  /** Thousandths of scalars, times the ms for which they lay in offers that are no longer open. */
  readonly held: Map<string, number>;
}

export const createConduct = (): Conduct => ({
  answered: 0,
  expired: 0,
  decisionMs: 0,
  deviationMs: 0,
  window: Number.POSITIVE_INFINITY,
  strikes: 0,
  struckAtMs: Number.NEGATIVE_INFINITY,
  expiredKnown: new Map(),
  held: new Map(),
});

type FrameworkConduct = Pick<FrameworkLink, 'conduct' | 'mesosCompatible'>;

/** After how long its next offer expires, in ms; 0: never. */
export function offerTimeoutMs(
  { offerTimeoutMs: configured }: { readonly offerTimeoutMs: number | undefined },
  { conduct, mesosCompatible }: FrameworkConduct,
): number {
  if (mesosCompatible) return configured ?? 0;
  const full = configured ?? timeoutOf(conduct);
  return Math.min(full, Math.max(hoarderTimeoutMs, full / 2 ** conduct.strikes));
}

function timeoutOf({ answered, decisionMs, deviationMs }: Conduct): number {
  if (answered < enoughAnswers) return longestTimeoutMs;
  return Math.min(longestTimeoutMs, Math.max(shortestTimeoutMs, decisionMs + 4 * deviationMs));
}

/** How long the resources of an offer that has expired are kept from its framework, in ms. */
export const pauseMs = ({ strikes }: Conduct): number =>
  Math.min(longestPauseMs, firstPauseMs * 2 ** Math.max(0, strikes - 1));

/** An offer was answered before it expired. */
export function onAnswered(conduct: Conduct, { offeredAtMs }: Offer, at: number): void {
  learnDecision(conduct, at - offeredAtMs);
  conduct.answered += 1;
  conduct.strikes = 0;
  conduct.window = conduct.window * 2 >= unlimitedWindow ? Number.POSITIVE_INFINITY : conduct.window * 2;
}

/**
 * An answer names an offer that is not open. If it has expired, its framework is slow and not dead: what it is given time
 * for follows from how long it took.
 *
 * @returns whether it had been struck for that
 */
export function onAnsweredLate(conduct: Conduct, offerId: string, at: number): boolean {
  const offeredAtMs = conduct.expiredKnown.get(offerId);
  if (offeredAtMs === undefined) return false;
  conduct.expiredKnown.delete(offerId);
  learnDecision(conduct, at - offeredAtMs);
  conduct.answered += 1;
  const struck = conduct.strikes > 0;
  conduct.strikes = 0;
  return struck;
}

/** @param open - how many offers the framework had open, with this one */
export function onExpired(conduct: Conduct, { id, offeredAtMs }: Offer, open: number, at: number): void {
  conduct.expired += 1;
  conduct.window = Math.max(1, Math.floor(Math.min(conduct.window, open) / 2));
  if (offeredAtMs >= conduct.struckAtMs) {
    conduct.strikes += 1;
    conduct.struckAtMs = at;
  }
  const { expiredKnown } = conduct;
  expiredKnown.set(id, offeredAtMs);
  for (const oldest of expiredKnown.keys()) {
    if (expiredKnown.size <= maxExpiredKnown) break;
    expiredKnown.delete(oldest);
  }
}

function learnDecision(conduct: Conduct, ms: number): void {
  if (conduct.answered === 0) {
    conduct.decisionMs = ms;
    conduct.deviationMs = ms / 2;
    return;
  }
  conduct.deviationMs += (Math.abs(ms - conduct.decisionMs) - conduct.deviationMs) / 4;
  conduct.decisionMs += (ms - conduct.decisionMs) / 8;
}

/** An offer is over, however it ended: what it held was nobody else's for so long. */
export const heldNoMore = ({ held }: Conduct, offer: Offer, at: number): void => meter(held, offer, at);

function meter(held: Map<string, number>, { resources, offeredAtMs }: Offer, at: number): void {
  for (const [name, amount] of Object.entries(quantitiesOf(resources))) {
    held.set(name, (held.get(name) ?? 0) + amount * (at - offeredAtMs));
  }
}

/** Scalars in Mesos units, times the seconds for which they lay in offers to the framework; open ones up to now. */
export function heldSeconds({ conduct, offers }: FrameworkLink, at: number): Record<string, number> {
  const held = new Map(conduct.held);
  for (const offer of offers) meter(held, offer, at);
  return Object.fromEntries([...held].map(([name, sum]) => [name, sum / 1e6]));
}

/** So many offers may be open, as allocators are told; 0: any number. */
export const maxOpenOffers = ({ conduct, mesosCompatible }: FrameworkConduct): number =>
  mesosCompatible || !Number.isFinite(conduct.window) ? 0 : conduct.window;

/** As another instance of its scheduler begins: what it does itself counts, and what was held goes on counting. */
export const conductOfSuccessor = ({ held }: Conduct): Conduct => ({ ...createConduct(), held });
