import { encode, mesobus } from '@mesobus/protos';
import { applyRecord } from '@mesobus/registry/core';
import type { Effect, RecordProperties, SchedulerEvent, SpanFact, Stream, When } from './messages.ts';
import type { State } from './state.ts';
import { countRecord } from './tally.ts';

/** So few records always fit in an entry of the log; of more, a transaction has at most about so many bytes. */
const alwaysFit = 50;
const bytesPerTransaction = 256 * 1024;
/** Events in one effect, at most. */
const eventsPerEffect = 500;

/** One input being handled: the state, the time, and what has been decided so far. */
export class Turn {
  readonly state: State;
  /** Ms since 1970, from a clock that never goes back. */
  readonly at: number;
  readonly effects: Effect[] = [];

  constructor(state: State, at: number) {
    this.state = state;
    this.at = at;
  }

  /**
   * Records facts. They hold for every later decision at once; a log that refuses them ends this leadership. What is too
   * much for one transaction is cut, in order: each piece must be valid by itself.
   */
  commit(records: readonly mesobus.v1.Record.$Properties[], urgency: 'urgent' | 'riding' = 'urgent'): void {
    for (const piece of piecesOf(records)) this.transaction(piece, urgency);
  }

  /** As {@link commit}, but never in parts. */
  transaction(records: readonly mesobus.v1.Record.$Properties[], urgency: 'urgent' | 'riding' = 'urgent'): void {
    if (records.length === 0) return;
    const made = records.map((record): RecordProperties => new mesobus.v1.Record(record));
    for (const record of made) {
      countRecord(this.state, record);
      applyRecord(this.state.ledger, record);
    }
    this.effects.push({ kind: 'commit', records: made, urgent: urgency === 'urgent' });
  }

  emit(effect: Effect): void {
    this.effects.push(effect);
  }

  /**
   * To a scheduler that is subscribed; another learns by reconciling what it misses. It goes out even while nobody seems to
   * follow: the stream is numbered, so that whoever follows after all has it, or sees that something is lost.
   */
  tell(frameworkId: string, events: readonly SchedulerEvent[], when: When = 'now'): void {
    const link = this.state.frameworks.get(frameworkId);
    if (link === undefined || !link.subscribed) return;
    for (let from = 0; from < events.length; from += eventsPerEffect) {
      this.tellStream(link.stream, events.slice(from, from + eventsPerEffect), when);
    }
  }

  tellStream(to: Stream, events: readonly SchedulerEvent[], when: When): void {
    this.effects.push({ kind: 'events', when, to, events });
  }

  span(span: SpanFact, when: When = 'now'): void {
    this.effects.push({ kind: 'span', when, span });
  }

  log(
    level: 'debug' | 'info' | 'warn',
    message: string,
    fields: Readonly<Record<string, string | number | boolean>>,
  ): void {
    this.effects.push({ kind: 'log', when: 'now', level, message, fields });
  }
}

type Records = readonly mesobus.v1.Record.$Properties[];

function piecesOf(records: Records): Records[] {
  if (records.length <= alwaysFit) return [records];
  const pieces: Records[] = [];
  let from = 0;
  let bytes = 0;
  for (const [index, record] of records.entries()) {
    const size = encode(mesobus.v1.Record, record).length;
    if (bytes + size > bytesPerTransaction && index > from) {
      pieces.push(records.slice(from, index));
      from = index;
      bytes = 0;
    }
    bytes += size;
  }
  return [...pieces, records.slice(from)];
}
