import type { Attributes, Context, Span, SpanKind, TimeInput, Tracer } from '@opentelemetry/api';
import { otel } from './open-telemetry-api.ts';
import { formatTraceparent, parseTraceparent } from './traceparent.ts';

export type { Attributes, Context, Span, TimeInput, Tracer } from '@opentelemetry/api';

/** What may be said of a span when it starts. */
export interface SpanSettings {
  /** The parent, from another process; an empty or malformed one counts as none. */
  readonly traceparent?: string | undefined;
  /** The parent, from this process; default: the active context. */
  readonly parent?: Span | Context | undefined;
  /** The span's own ids, minted before: see {@link mintTraceparent}. With a parent as well, both must be of one trace. */
  readonly identity?: string | undefined;
  /** A span that has to do with it and is no parent, from another trace perhaps; an empty or malformed one counts as none. */
  readonly link?: string | undefined;
  readonly attributes?: Attributes | undefined;
  readonly kind?: keyof typeof SpanKind | undefined;
  /** When it began, if that was not now; ms since 1970 or a Date. */
  readonly startTime?: TimeInput | undefined;
}

/** Starts spans whose ids were given out before; only a running provider has it. */
export type StartSpan = (name: string, settings: SpanSettings, parent: Context) => Span;

let running: StartSpan | undefined;

/** Nothing is recorded; everything in this file returns at once. */
export const tracingEnabled = (): boolean => running !== undefined;

/** Sends every span that starts from now on to a provider; with `undefined`, to nobody. */
export function recordWith(startSpan: StartSpan | undefined): void {
  running = startSpan;
}

/** An OpenTelemetry tracer, for libraries that want one; our own code starts spans with the functions below. */
export const tracer = (name: string): Tracer => otel.trace.getTracer(name);

const unrecorded = otel.trace.wrapSpanContext(otel.INVALID_SPAN_CONTEXT);

/**
 * Starts a span that the caller ends. It does not become the active one: pass it on as `parent`.
 * While tracing is off the span records nothing, but still carries the ids of `identity` or of its parent.
 */
export function startSpan(name: string, settings: SpanSettings = {}): Span {
  if (running !== undefined) return running(name, settings, parentOf(settings));
  const carried = parseTraceparent(settings.identity ?? settings.traceparent);
  if (carried !== undefined) return otel.trace.wrapSpanContext(carried);
  return settings.parent === undefined ? unrecorded : (spanOf(settings.parent) ?? unrecorded);
}

/**
 * Runs `fn` inside a span, which is the active one meanwhile, and ends the span when `fn` has returned or its promise has
 * settled. What `fn` throws is noted on the span and passes on.
 */
export function inSpan<Result>(name: string, settings: SpanSettings, fn: (span: Span) => Result): Result {
  const span = startSpan(name, settings);
  if (running === undefined) return fn(span);
  return otel.context.with(otel.trace.setSpan(parentOf(settings), span), () => {
    try {
      const result = fn(span);
      if (result instanceof Promise) return endedWith(span, result) as Result;
      span.end();
      return result;
    } catch (error) {
      note(span, error);
      span.end();
      throw error;
    }
  });
}

/** Runs `fn` with the span as the active one, without ending it. */
export function withSpan<Result>(span: Span, fn: () => Result): Result {
  return running === undefined ? fn() : otel.context.with(otel.trace.setSpan(otel.context.active(), span), fn);
}

function endedWith<Value>(span: Span, promise: Promise<Value>): Promise<Value> {
  return promise.then(
    (value) => {
      span.end();
      return value;
    },
    (error: unknown) => {
      note(span, error);
      span.end();
      throw error;
    },
  );
}

function note(span: Span, error: unknown): void {
  span.recordException(error instanceof Error ? error : String(error));
  span.setStatus({ code: otel.SpanStatusCode.ERROR, message: error instanceof Error ? error.message : String(error) });
}

function parentOf({ traceparent, parent, identity }: SpanSettings): Context {
  const remote = parseTraceparent(traceparent);
  if (remote !== undefined) return otel.trace.setSpanContext(otel.ROOT_CONTEXT, remote);
  if (parent !== undefined) return isSpan(parent) ? otel.trace.setSpan(otel.context.active(), parent) : parent;
  return identity === undefined ? otel.context.active() : otel.ROOT_CONTEXT;
}

const isSpan = (value: Span | Context): value is Span => 'spanContext' in value;
const spanOf = (value: Span | Context): Span | undefined => (isSpan(value) ? value : otel.trace.getSpan(value));

/** The ids of a span, or of the span in a context, as W3C writes them; empty if there are none. */
export function traceparentOf(source: Span | Context): string {
  const ids = spanOf(source)?.spanContext();
  return ids === undefined || !otel.isSpanContextValid(ids) ? '' : formatTraceparent(ids);
}

/** The ids of the active span as W3C writes them; empty if there is none. Put it into every message. */
export function activeTraceparent(): string {
  return running === undefined ? '' : traceparentOf(otel.context.active());
}

/** A context in which the given span of another process is the parent; an empty or malformed one gives the root context. */
export function contextFrom(traceparent: string): Context {
  const remote = parseTraceparent(traceparent);
  return remote === undefined ? otel.ROOT_CONTEXT : otel.trace.setSpanContext(otel.ROOT_CONTEXT, remote);
}
