import type { ProviderSettings } from './trace-provider.ts';
import { recordWith } from './tracing.ts';

/** What sends the spans of this process; nothing of it exists while tracing is off. */
export interface Tracing {
  readonly enabled: boolean;
  /** Sends what has ended so far; rejects if the collector does not take it. */
  flush(): Promise<void>;
  /** Turns tracing off and sends what has ended so far; rejects, within seconds, if the collector does not take it. */
  shutdown(): Promise<void>;
}

export type TracingSettings = Omit<ProviderSettings, 'endpoint'> & {
  /** The OTLP/HTTP collector, `http://host:4318`; `/v1/traces` is added. Without it, or if it is empty, tracing stays off. */
  readonly endpoint?: string | undefined;
};

/** Starts to record and send spans if an endpoint is given; else nothing is loaded or installed. */
export async function startTracing(settings: TracingSettings): Promise<Tracing> {
  const { endpoint } = settings;
  const nothing = async (): Promise<void> => undefined;
  if (endpoint === undefined || endpoint === '') return { enabled: false, flush: nothing, shutdown: nothing };
  const { installProvider } = await import('./trace-provider.ts');
  const provider = installProvider({ ...settings, endpoint });
  recordWith(provider.startSpan);
  return {
    enabled: true,
    flush: provider.flush,
    shutdown: () => {
      recordWith(undefined);
      return provider.shutdown();
    },
  };
}
