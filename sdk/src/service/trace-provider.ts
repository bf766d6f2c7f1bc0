import type { SpanContext, SpanOptions } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import { resourceFromAttributes } from '@opentelemetry/resources';
import {
  BatchSpanProcessor,
  type IdGenerator,
  ParentBasedSampler,
  RandomIdGenerator,
  type Sampler,
  SamplingDecision,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from '@opentelemetry/sdk-trace';
import { ATTR_SERVICE_NAME, ATTR_SERVICE_VERSION } from '@opentelemetry/semantic-conventions';
import { otel } from './open-telemetry-api.ts';
import { parseTraceparent } from './traceparent.ts';
import type { StartSpan } from './tracing.ts';
import { version } from './version.ts';

/** Spans that wait for being sent; what comes above is dropped. A burst of launches makes tens of thousands. */
const maxQueueSize = 65_536;
/** Spans of one request to the collector. */
const maxExportBatchSize = 4_096;
const scheduledDelayMs = 500;
/** How long one request is tried, repetitions included. */
const exportTimeoutMs = 3_000;

export interface ProviderSettings {
  /** `master`, `agent`, ...: the service name that the trace viewer shows is `mesobus-<service>`. */
  readonly service: string;
  /** Unique per process start. */
  readonly instance: string;
  /** The OTLP/HTTP collector, `http://host:4318`; `/v1/traces` is added. */
  readonly endpoint: string;
  /** The part of the traces begun here that is recorded, from 0 to 1; of a trace begun elsewhere its origin decides. Default 1. */
  readonly sample?: number | undefined;
  /** Told what the exporter complains about: a collector that does not answer, spans that were dropped. */
  readonly onProblem?: ((problem: string) => void) | undefined;
}

export interface InstalledProvider {
  readonly startSpan: StartSpan;
  flush(): Promise<void>;
  shutdown(): Promise<void>;
}

/** Makes this process record spans and send them. Loaded only when there is a collector: it takes a fifth of a second. */
export function installProvider(settings: ProviderSettings): InstalledProvider {
  const { onProblem } = settings;
  if (onProblem !== undefined) reportProblems(onProblem);
  const mint = new Mint(settings.sample ?? 1);
  const exporter = new OTLPTraceExporter({ url: tracesUrl(settings.endpoint), timeoutMillis: exportTimeoutMs });
  const processor = new BatchSpanProcessor({
    exporter,
    maxQueueSize,
    maxExportBatchSize,
    scheduledDelayMillis: scheduledDelayMs,
    exportTimeoutMillis: exportTimeoutMs,
  });
  const provider = new TracerProvider({
    resource: resourceFromAttributes({
      [ATTR_SERVICE_NAME]: `mesobus-${settings.service}`,
      [ATTR_SERVICE_VERSION]: version,
      'service.instance.id': settings.instance,
    }),
    sampler: mint,
    idGenerator: mint,
    spanProcessors: [processor],
  });
  const contextManager = new AsyncLocalStorageContextManager().enable();
  otel.context.setGlobalContextManager(contextManager);
  otel.propagation.setGlobalPropagator(new W3CTraceContextPropagator());
  otel.trace.setGlobalTracerProvider(provider);
  const tracer = provider.getTracer('mesobus', version);
  return {
    startSpan: (name, { identity, link, attributes, kind, startTime }, parent) => {
      const options: SpanOptions = {};
      const linked = parseTraceparent(link);
      if (linked !== undefined) options.links = [{ context: linked }];
      if (attributes !== undefined) options.attributes = attributes;
      if (kind !== undefined) options.kind = otel.SpanKind[kind];
      if (startTime !== undefined) options.startTime = startTime;
      return mint.as(parseTraceparent(identity), () => tracer.startSpan(name, options, parent));
    },
    flush: () => provider.forceFlush(),
    shutdown: async () => {
      otel.trace.disable();
      otel.context.disable();
      otel.propagation.disable();
      await provider.shutdown().finally(() => otel.diag.disable());
    },
  };
}

/** Collectors are named without the path (the OpenTelemetry variable is defined so); a full URL stays as it is. */
function tracesUrl(endpoint: string): string {
  return endpoint.endsWith('/v1/traces') ? endpoint : `${endpoint.replace(/\/+$/, '')}/v1/traces`;
}

/** Chooses ids and what is recorded: at random and by the ratio, or, inside `as`, what was minted earlier. */
class Mint implements IdGenerator, Sampler {
  private readonly random = new RandomIdGenerator();
  private readonly usual: Sampler;
  private minted: SpanContext | undefined;

  constructor(sample: number) {
    this.usual = new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(sample) });
  }

  as<Result>(minted: SpanContext | undefined, start: () => Result): Result {
    this.minted = minted;
    try {
      return start();
    } finally {
      this.minted = undefined;
    }
  }

  generateTraceId = (): string => this.minted?.traceId ?? this.random.generateTraceId();
  generateSpanId = (): string => this.minted?.spanId ?? this.random.generateSpanId();

  shouldSample(...question: Parameters<Sampler['shouldSample']>): ReturnType<Sampler['shouldSample']> {
    if (this.minted === undefined) return this.usual.shouldSample(...question);
    const sampled = (this.minted.traceFlags & otel.TraceFlags.SAMPLED) !== 0;
    return { decision: sampled ? SamplingDecision.RECORD_AND_SAMPLED : SamplingDecision.NOT_RECORD };
  }

  toString(): string {
    return `minted, else ${this.usual.toString()}`;
  }
}

function reportProblems(onProblem: (problem: string) => void): void {
  const say = (message: string, ...rest: unknown[]): void => {
    onProblem([message, ...rest.map((part) => (part instanceof Error ? part.message : String(part)))].join(' '));
  };
  const ignore = (): void => undefined;
  otel.diag.setLogger(
    { error: say, warn: say, info: ignore, debug: ignore, verbose: ignore },
    { logLevel: otel.DiagLogLevel.WARN, suppressOverrideMessage: true },
  );
}
