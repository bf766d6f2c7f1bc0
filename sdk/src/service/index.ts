export { aclsOption, openAcls } from './acls-file.ts';
export type { CommonOptions, LogLevel } from './common-options.ts';
export { ConfigError, TextWanted } from './config-error.ts';
export { type ConnectedBus, connectBus, type ReconnectSettings } from './connect-bus.ts';
export { type ConfigDefinition, type ConfigOf, defineConfig, type OptionTable } from './define-config.ts';
export { type Domain, domainOption } from './domain-option.ts';
export { formatDuration, parseDuration } from './duration.ts';
export { createHealth, type Health, type HealthCheck, type HealthReport } from './health.ts';
export { type Http, type HttpSettings, startHttp } from './http.ts';
export { type ConfigSources, loadConfig } from './load-config.ts';
export { createLogger, type Logger, type LoggerSettings } from './logger.ts';
export { type Counter, createMetrics, type Gauge, type Histogram, type Metrics } from './metrics.ts';
export { installedNatsServers, type NatsServerBinary, resolveNatsServer } from './nats-server-binary.ts';
export { firstNatsServerWith, isOlder } from './nats-server-version.ts';
export * from './option.ts';
export { runService, type Service, type ServiceContext } from './run-service.ts';
export type { ShutdownHook } from './shutdown.ts';
export { formatSize, parseSize } from './size.ts';
export { startTracing, type Tracing, type TracingSettings } from './start-tracing.ts';
export { childTraceparent, formatTraceparent, mintTraceparent, parseTraceparent } from './traceparent.ts';
export {
  activeTraceparent,
  contextFrom,
  inSpan,
  type Span,
  type SpanSettings,
  startSpan,
  traceparentOf,
  tracer,
  tracingEnabled,
  withSpan,
} from './tracing.ts';
export { version } from './version.ts';
export { WatchedFile } from './watched-file.ts';
