import { type DestinationStream, destination, type Logger, pino, stdTimeFunctions } from 'pino';
import type { LogLevel } from './common-options.ts';
import { otel } from './open-telemetry-api.ts';

export type { Logger } from 'pino';

export interface LoggerSettings {
  /** The least important lines that are written; default `info`. */
  readonly level?: LogLevel | undefined;
  /** Texts that must not appear in any line, wherever they stand in it. */
  readonly secrets?: readonly (string | undefined)[];
  /** Where the lines go; default: standard error. */
  readonly destination?: DestinationStream;
}

/** Fields that are never shown, however deep (to three levels) they lie. */
const secretFields = ['token', 'natsToken', 'creds', 'password', 'secret', 'seed', 'jwt', 'authorization'];
const censored = '[secret]';

/**
 * A logger of JSON lines: time, level, service, msg, the trace_id and span_id of the active span, then the line's own fields.
 * Fields named like secrets, the given secrets, and user and password in URLs are censored.
 */
export function createLogger(service: string, settings: LoggerSettings = {}): Logger {
  const censor = censorOf(settings.secrets ?? []);
  const options = {
    level: settings.level ?? 'info',
    base: { service },
    timestamp: stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    mixin: activeIds,
    redact: {
      paths: ['', '*.', '*.*.'].flatMap((above) => secretFields.map((field) => above + field)),
      censor: censored,
    },
    hooks: { streamWrite: censor },
  };
  // Written at once: a line that explains why the process ends must not be lost with it.
  return pino(options, settings.destination ?? destination({ fd: 2, sync: true }));
}

function activeIds(): object {
  const ids = otel.trace.getActiveSpan()?.spanContext();
  return ids === undefined ? {} : { trace_id: ids.traceId, span_id: ids.spanId };
}

function censorOf(secrets: readonly (string | undefined)[]): (line: string) => string {
  const escaped = secrets
    .filter((one) => one !== undefined && one !== '')
    .map((one) => JSON.stringify(one).slice(1, -1));
  return (line) => {
    let shown = line.includes('@') ? line.replace(/:\/\/[^\s"/@]+@/g, `://${censored}@`) : line;
    for (const one of escaped) shown = shown.replaceAll(one, censored);
    return shown;
  };
}
