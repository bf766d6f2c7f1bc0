import type { TaskEntry } from '@mesobus/registry/core';
import type { Config, Offer, State } from './state.ts';
import type { Turn } from './turn.ts';

/**
 * The trace of an offer, and of the tasks that are launched on it. Its ids are counted, so that whoever leads finds them
 * again in the record of a task: nothing of a trace is kept elsewhere.
 *
 *     allocate → offer → accept → commit
 *
 * What the framework says of itself hangs below `offer`, what the agent says below `accept`: each part of the trace hangs
 * where somebody can write it again who has the records. See docs/operations/observability.md.
 */
const spanIds = { allocate: 1, offer: 2, accept: 3, commit: 4 } as const;
/** The span of a kill has this plus the number of its command: all tasks of a trace are on one agent. */
const killSpanIds = 2 ** 40;

/** Spans are sent soon after they ended: those of launches that a dead leader made in its last minute may be lost. */
const maybeUnsentMs = 60_000;
const maxRewritten = 10_000;

const hex16 = (value: number): string => value.toString(16).padStart(16, '0');
const traceIdOf = (traceparent: string): string => traceparent.slice(3, 35);
const isTraceId = (text: string): boolean => /^[\da-f]{32}$/.test(text);
const inTrace = (traceId: string, span: number, sampled = true): string =>
  `00-${traceId}-${hex16(span)}-${sampled ? '01' : '00'}`;

/**
 * What the scheduler gets with an offer: the ids of the span `offer`. The first half of the trace id is the master's, its
 * second counts the offers; the flag says whether the offer is traced even if it is declined.
 */
export function mintTrace({ tracePrefix, config }: State, offerNumber: number): string {
  return inTrace(`${tracePrefix}${hex16(offerNumber)}`, spanIds.offer, isSampled(config, offerNumber));
}

/** Evenly, so many of all. */
const isSampled = ({ traceSample }: Config, number: number): boolean =>
  Math.floor(number * traceSample) > Math.floor((number - 1) * traceSample);

/** The first half of this master's trace ids, from the end of its id, where its leaderships differ: never all zeros. */
export function tracePrefixOf(masterId: string): string {
  const digits = masterId.replaceAll(/[^\da-f]/gi, '').toLowerCase();
  const prefix = digits.padStart(16, '0').slice(-16);
  return /^0+$/.test(prefix) ? '0000000000000001' : prefix;
}

/** What a line of the log has about something that is traced. */
export const idsIn = (traceparent: string): { trace_id?: string; span_id?: string } =>
  isTraceId(traceIdOf(traceparent)) ? { trace_id: traceIdOf(traceparent), span_id: traceparent.slice(36, 52) } : {};

/** The ids of the span `accept` in the trace of an offer, recorded whatever the offer's flag was; empty if it is none. */
export const acceptTraceOf = (trace: string): string =>
  isTraceId(traceIdOf(trace)) ? inTrace(traceIdOf(trace), spanIds.accept) : '';

/** The ids of the span of a kill, in the trace of its task; empty without a trace. */
export const killTraceOf = ({ launched: { traceparent } }: TaskEntry, commandNumber: number): string =>
  traceparent === '' ? '' : inTrace(traceIdOf(traceparent), killSpanIds + commandNumber);

/**
 * Says how an offer ended. Accepted ones, and those that were taken back for a reason, are always kept, others as their
 * trace says.
 *
 * @param accepted - the trace that its tasks are in, where it was accepted together with others
 */
export function traceOffer(
  turn: Turn,
  offer: Offer,
  outcome: 'accepted' | 'declined' | 'rescinded' | 'expired',
  { why, accepted }: { readonly why?: string | undefined; readonly accepted?: string | undefined } = {},
): void {
  if (!turn.state.config.tracing) return;
  if (outcome !== 'accepted' && why === undefined && offer.trace.endsWith('00')) return;
  const { frameworkId, agentId, role } = offer;
  const about = { 'mesobus.framework_id': frameworkId, 'mesobus.agent_id': agentId, 'mesobus.role': role };
  const elsewhere = accepted !== undefined && traceIdOf(accepted) !== traceIdOf(offer.trace);
  spansOfOffer(
    turn,
    offer.trace,
    { roundBeganAtMs: offer.roundBeganAtMs, decidedAtMs: offer.decidedAtMs, offeredAtMs: offer.offeredAtMs },
    { ...about, 'mesobus.role_share': offer.roleShare, 'mesobus.framework_share': offer.frameworkShare },
    {
      endMs: turn.at,
      attributes: {
        ...about,
        'mesobus.offer_id': offer.id,
        'mesobus.outcome': outcome,
        ...(why !== undefined && { 'mesobus.why': why }),
      },
      ...(elsewhere && { link: accepted }),
    },
  );
}

interface OfferTimes {
  readonly roundBeganAtMs: number;
  readonly decidedAtMs: number;
  readonly offeredAtMs: number;
}

type Attributes = Readonly<Record<string, string | number | boolean>>;

function spansOfOffer(
  turn: Turn,
  trace: string,
  { roundBeganAtMs, decidedAtMs, offeredAtMs }: OfferTimes,
  allocation: Attributes,
  offered: { readonly endMs: number; readonly attributes: Attributes; readonly link?: string },
): void {
  const traceId = traceIdOf(trace);
  const allocate = inTrace(traceId, spanIds.allocate);
  const times = { startMs: roundBeganAtMs, endMs: decidedAtMs };
  turn.span({ name: 'allocate', identity: allocate, ...times, attributes: allocation });
  const identity = inTrace(traceId, spanIds.offer);
  turn.span({ name: 'offer', identity, parent: allocate, startMs: offeredAtMs, ...offered });
}

/**
 * Says that offers were accepted.
 *
 * @param trace - from {@link acceptTraceOf}
 * @param asked - the caller's span; empty if it has none
 */
export function traceAccept(
  turn: Turn,
  trace: string,
  asked: string,
  { recorded, attributes }: { readonly recorded: boolean; readonly attributes: Attributes },
): void {
  if (trace === '' || !turn.state.config.tracing) return;
  const traceId = traceIdOf(trace);
  const parent = inTrace(traceId, spanIds.offer);
  const link = asked !== '' && asked !== parent ? { link: asked } : {};
  turn.span({ name: 'accept', identity: trace, parent, startMs: turn.at, attributes, ...link });
  if (!recorded) return;
  const identity = inTrace(traceId, spanIds.commit);
  turn.span({ name: 'commit', identity, parent: trace, startMs: turn.at }, 'committed');
}

/**
 * Says that somebody wants a task ended: in the trace of the task, whoever it is.
 *
 * @param asked - the caller's span; empty if it has none
 */
export function traceKill(turn: Turn, task: TaskEntry, trace: string, asked: string, attributes: Attributes): void {
  if (trace === '' || !turn.state.config.tracing) return;
  turn.span(
    {
      name: 'kill',
      identity: trace,
      parent: task.launched.traceparent,
      startMs: turn.at,
      attributes: { 'mesobus.task_id': task.taskId, 'mesobus.framework_id': task.frameworkId, ...attributes },
      ...(asked !== '' && { link: asked }),
    },
    'committed',
  );
}

/**
 * Says that a framework has acknowledged an update.
 *
 * @param parent - ids of the span of the update, or at least of one in its trace; may be empty
 * @param asked - the caller's span; empty if it has none
 */
export function traceAcknowledgement(
  turn: Turn,
  { frameworkId, taskId }: { readonly frameworkId: string; readonly taskId: string },
  { parent, asked }: { readonly parent: string; readonly asked: string },
): void {
  if (parent === '' || !turn.state.config.tracing) return;
  const attributes = { 'mesobus.task_id': taskId, 'mesobus.framework_id': frameworkId };
  const link = asked === '' ? {} : { link: asked };
  turn.span({ name: 'acknowledge', parent, startMs: turn.at, attributes, ...link }, 'committed');
}

/**
 * Something is heard of a task that an earlier leader launched. If it died soon after, the first spans of the trace were
 * perhaps never sent: they are written again, from the record, under the same ids.
 */
export function retrace(turn: Turn, task: TaskEntry, commandsBefore: number): void {
  const { state } = turn;
  if (task.commandNumber > commandsBefore || !state.config.tracing) return;
  const { traceparent, acceptedAtMs, offeredAtMs, roundMs, decidedToOfferedMs, role } = task.launched;
  const traceId = traceIdOf(traceparent);
  if (traceparent === '' || acceptedAtMs < state.startedAtMs - maybeUnsentMs) return;
  if (state.rewrittenTraces.has(traceId) || state.rewrittenTraces.size >= maxRewritten) return;
  state.rewrittenTraces.add(traceId);
  const about = {
    'mesobus.framework_id': task.frameworkId,
    'mesobus.agent_id': task.agentId,
    'mesobus.role': role,
    'mesobus.rewritten': true,
  };
  const decidedAtMs = offeredAtMs - decidedToOfferedMs;
  const times = { offeredAtMs, decidedAtMs, roundBeganAtMs: decidedAtMs - roundMs };
  const offered = { endMs: acceptedAtMs, attributes: { ...about, 'mesobus.outcome': 'accepted' } };
  spansOfOffer(turn, traceparent, times, about, offered);
  const accept = inTrace(traceId, spanIds.accept);
  const accepted = { startMs: acceptedAtMs, endMs: acceptedAtMs, attributes: about };
  turn.span({ name: 'accept', identity: accept, parent: inTrace(traceId, spanIds.offer), ...accepted });
  turn.span({ name: 'commit', identity: inTrace(traceId, spanIds.commit), parent: accept, ...accepted });
}
