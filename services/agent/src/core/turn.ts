import type { mesobus } from '@mesobus/protos';
import { apply } from './apply.ts';
import type { Effect } from './index.ts';
import type { Deferred, Millis, State } from './state.ts';

/** One input being worked on: what it has led to so far. */
export interface Turn {
  readonly state: State;
  readonly at: Millis;
  readonly effects: Effect[];
  readonly records: mesobus.v1.JournalRecord.$Properties[];
}

/** Journals a record and lets the state follow it: the journal replayed is the state. */
export function append(turn: Turn, record: mesobus.v1.JournalRecord.$Properties): void {
  turn.records.push(record);
  turn.state.appended += 1;
  apply(turn.state, record);
}

/** Does something once every record so far is durable. */
export function defer(turn: Turn, what: Deferred, position: number = turn.state.appended): void {
  turn.state.deferred.push({ position, what });
}

export function log(
  turn: Turn,
  level: 'debug' | 'info' | 'warn' | 'error',
  message: string,
  fields: Record<string, string | number> = {},
): void {
  turn.effects.push({ kind: 'log', level, message, fields });
}

/** A die from 0 (included) to 1 (excluded), the same for the same state. */
export function roll(state: State): number {
  let x = state.dice;
  x ^= x << 13;
  x ^= x >>> 17;
  x ^= x << 5;
  state.dice = x >>> 0;
  return state.dice / 2 ** 32;
}

export function nextUuid(state: State): Uint8Array {
  state.uuidCount += 1;
  return state.config.uuid(state.uuidCount);
}
