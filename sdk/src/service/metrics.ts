import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import { invariant } from '../errors.ts';

export type { Counter, Gauge, Histogram } from 'prom-client';

/** What one metric is told beside its name and help. */
export interface MetricSettings<Label extends string> {
  readonly labels?: readonly Label[];
}

export interface CounterSettings<Label extends string> extends MetricSettings<Label> {
  /** Says the counts when they are read, for what is counted elsewhere anyway; it begins at 0 each time. */
  readonly collect?: (counter: Counter<Label>) => void;
}

export interface GaugeSettings<Label extends string> extends MetricSettings<Label> {
  /** Sets the gauge when it is read, for what is cheaper to ask than to follow. */
  readonly collect?: (gauge: Gauge<Label>) => void;
}

export interface HistogramSettings<Label extends string> extends MetricSettings<Label> {
  /** Upper bounds, ascending, in the unit that the name ends with; default: 0.5 ms to 60 s, in seconds. */
  readonly buckets?: readonly number[];
}

/** The metrics of one process. Names are given without `mesobus_` and end with their unit (`_seconds`, `_bytes`, `_total`). */
export interface Metrics {
  counter<Label extends string = never>(name: string, help: string, settings?: CounterSettings<Label>): Counter<Label>;
  gauge<Label extends string = never>(name: string, help: string, settings?: GaugeSettings<Label>): Gauge<Label>;
  histogram<Label extends string = never>(
    name: string,
    help: string,
    settings?: HistogramSettings<Label>,
  ): Histogram<Label>;
  /** Adds those of the process itself: memory, CPU, garbage collection, event loop. They cost a little: only where read. */
  collectProcess(): void;
  /** All of them, as Prometheus reads it. */
  text(): Promise<string>;
  /** Of what {@link text} gives. */
  readonly contentType: string;
}

/**
 * How often the event loop is looked at: what is told of its lag is at least this, when nothing holds it up. Ten times as
 * often, as is the default, it is half of what an idle service does.
 */
const eventLoopResolutionMs = 100;
const secondsBuckets = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

/** An empty set of metrics with a registry of its own. */
export function createMetrics(): Metrics {
  const registry = new Registry();
  const base = <Label extends string>(
    name: string,
    help: string,
    settings: MetricSettings<Label>,
  ): { name: string; help: string; labelNames: Label[]; registers: Registry[] } => {
    invariant(
      /^(?!mesobus_)[a-z][a-z\d_]*$/.test(name),
      `the metric '${name}' is named in snake_case, without mesobus_`,
    );
    invariant(help !== '', `the metric '${name}' says in a sentence what it counts`);
    return { name: `mesobus_${name}`, help, labelNames: [...(settings.labels ?? [])], registers: [registry] };
  };
  return {
    counter: (name, help, settings = {}) => {
      const { collect } = settings;
      if (collect === undefined) return new Counter(base(name, help, settings));
      return new Counter({
        ...base(name, help, settings),
        collect() {
          this.reset();
          collect(this);
        },
      });
    },
    gauge: (name, help, settings = {}) => {
      const { collect } = settings;
      if (collect === undefined) return new Gauge(base(name, help, settings));
      return new Gauge({
        ...base(name, help, settings),
        collect() {
          collect(this);
        },
      });
    },
    histogram: (name, help, settings = {}) =>
      new Histogram({ ...base(name, help, settings), buckets: [...(settings.buckets ?? secondsBuckets)] }),
    collectProcess: () =>
      collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: eventLoopResolutionMs }),
    text: () => registry.metrics(),
    contentType: registry.contentType,
  };
}
