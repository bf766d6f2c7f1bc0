import { otel } from '../service/open-telemetry-api.ts';

const setter = {
  set: (carrier: Map<string, string>, key: string, value: string): void => {
    carrier.set(key, value);
  },
};

/** The `traceparent` of the active span; empty if there is none or nothing propagates it. */
export function activeTraceparent(): string {
  const active = otel.context.active();
  if (otel.trace.getSpanContext(active) === undefined) return '';
  const carrier = new Map<string, string>();
  otel.propagation.inject(active, carrier, setter);
  return carrier.get('traceparent') ?? '';
}
