import { otel } from '../service/open-telemetry-api.ts';
import { type Attributes, contextFrom, type Span, traceparentOf, tracer } from '../service/tracing.ts';

/*
 * Through the OpenTelemetry API alone, so that a framework's own OpenTelemetry set-up records these spans as well as ours
 * does. Without one, spans only carry the trace context on.
 */

/** A span below one of another process; undefined, at no cost, where there is no trace. */
export function spanBelow(
  traceparent: string | undefined,
  name: string,
  attributes: Attributes,
  startMs?: number,
): Span | undefined {
  if (traceparent === undefined || traceparent === '') return undefined;
  const began = startMs === undefined ? {} : { startTime: startMs };
  return tracer('mesobus').startSpan(name, { attributes, ...began }, contextFrom(traceparent));
}

/** Ids that say that the trace is kept. */
export const kept = (traceparent: string): string => traceparent.replace(/00$/, '01');

/** A span below one of this process. */
export function childOf(parent: Span | undefined, name: string, attributes: Attributes): Span | undefined {
  if (parent === undefined) return undefined;
  return tracer('mesobus').startSpan(name, { attributes }, otel.trace.setSpan(otel.context.active(), parent));
}

/** Runs `fn` with the span as the active one. */
export function within<Result>(span: Span | undefined, fn: () => Result): Result {
  return span === undefined ? fn() : otel.context.with(otel.trace.setSpan(otel.context.active(), span), fn);
}

/** What to send along so that others continue the trace; empty without one. */
export const contextOf = (span: Span | undefined): string => (span === undefined ? '' : traceparentOf(span));

export function noteError(span: Span | undefined, error: Error): void {
  span?.recordException(error);
  span?.setStatus({ code: otel.SpanStatusCode.ERROR, message: error.message });
}

/** What the author is doing at the moment; empty if that is not traced. */
export const activeTraceparent = (): string => traceparentOf(otel.context.active());
