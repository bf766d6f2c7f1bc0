import { randomFillSync } from 'node:crypto';
import type { SpanContext } from '@opentelemetry/api';
import { otel } from './open-telemetry-api.ts';

const written = /^(?!ff)[\da-f]{2}-([\da-f]{32})-([\da-f]{16})-([\da-f]{2})(?:-.*)?$/;

/** The ids in a W3C traceparent; nothing if it is empty or malformed. */
export function parseTraceparent(traceparent: string | undefined): SpanContext | undefined {
  if (traceparent === undefined || traceparent === '') return undefined;
  const [, traceId = '', spanId = '', flags = ''] = written.exec(traceparent) ?? [];
  const ids = { traceId, spanId, traceFlags: Number.parseInt(flags, 16) & otel.TraceFlags.SAMPLED, isRemote: true };
  return otel.isSpanContextValid(ids) ? ids : undefined;
}

/** The ids of a span as W3C writes them. */
export function formatTraceparent({ traceId, spanId, traceFlags }: SpanContext): string {
  return `00-${traceId}-${spanId}-${(traceFlags & otel.TraceFlags.SAMPLED) === 0 ? '00' : '01'}`;
}

/**
 * Gives out the ids of a span that is written later, once it is known what came of it: hand the result to others as their
 * parent now, and as `identity` to `startSpan` when it is time. Works with tracing off too.
 *
 * @param options.sampled - the others record their parts; default true
 * @param options.within - a traceparent of the trace to be part of; default a new trace
 */
export function mintTraceparent(options: { readonly sampled?: boolean; readonly within?: string } = {}): string {
  const traceId = parseTraceparent(options.within)?.traceId ?? randomHex(16);
  return formatTraceparent({
    traceId,
    spanId: randomHex(8),
    traceFlags: options.sampled === false ? 0 : 1,
  });
}

/**
 * Ids of a span below another that are the same whenever they are asked for: whoever takes over a part of a trace from a
 * process that is gone goes on under them.
 *
 * @param parent - a traceparent
 * @param key - tells the span from others below the same parent
 * @returns empty if there is no parent
 */
export function childTraceparent(parent: string, key: string): string {
  const ids = parseTraceparent(parent);
  return ids === undefined ? '' : formatTraceparent({ ...ids, spanId: hash64(`${ids.spanId}/${key}`) });
}

/** FNV-1a of 32 bits, from both ends: ids in a trace have to differ, not to be hard to guess. In 16 hex digits, never zero. */
function hash64(text: string): string {
  let ahead = 0x811c9dc5;
  let back = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) {
    ahead = Math.imul(ahead ^ text.charCodeAt(i), 0x01000193);
    back = Math.imul(back ^ text.charCodeAt(text.length - 1 - i), 0x01000193);
  }
  const hex8 = (value: number): string => (value >>> 0).toString(16).padStart(8, '0');
  return `${hex8(ahead | 1)}${hex8(back)}`;
}

// Drawn in one go: asking the system for a few bytes at a time costs more than all the rest of an id.
const pool = Buffer.alloc(4_096);
let used = pool.length;

function randomHex(bytes: number): string {
  if (used + bytes > pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  used += bytes;
  return pool.toString('hex', used - bytes, used);
}
