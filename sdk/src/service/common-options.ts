import {
  choice,
  decimal,
  duration,
  type HostPort,
  hostPort,
  list,
  type Option,
  optional,
  secret,
  text,
  url,
} from './option.ts';

/** Words that `--log-level` takes, most talkative first. */
export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';

/** What every service can be told. */
export interface CommonOptions {
  readonly nats: Option<readonly string[]>;
  readonly natsToken: Option<string | undefined>;
  readonly natsCreds: Option<string | undefined>;
  readonly natsTlsCa: Option<string | undefined>;
  readonly natsTlsCert: Option<string | undefined>;
  readonly natsTlsKey: Option<string | undefined>;
  readonly natsReconnectWaitMs: Option<number | undefined>;
  readonly natsReconnectJitterMs: Option<number | undefined>;
  readonly cluster: Option<string>;
  readonly logLevel: Option<LogLevel>;
  readonly http: Option<HostPort | undefined>;
  readonly otlpEndpoint: Option<string | undefined>;
  readonly traceSample: Option<number>;
}

export const commonOptions: CommonOptions = {
  nats: list(url(['nats', 'tls', 'ws', 'wss'], { help: 'a NATS server', example: 'nats://10.0.0.1:4222' }), {
    help: 'the NATS servers to connect to',
    default: ['nats://127.0.0.1:4222'],
  }),
  natsToken: optional(secret({ help: 'the token that the NATS servers ask for' })),
  natsCreds: optional(
    text({
      help: 'the file with the NATS credentials, of `mesobus auth add`',
      example: '/etc/mesobus/master.creds',
    }),
  ),
  natsTlsCa: optional(
    text({
      help: 'the file with the certificate that vouches for the NATS servers; nothing is sent to others, or unencrypted',
      example: '/etc/mesobus/tls-ca.pem',
    }),
  ),
  natsTlsCert: optional(
    text({
      help: 'the file with the certificate to show to NATS servers that ask',
      example: '/etc/mesobus/tls-cert.pem',
    }),
  ),
  natsTlsKey: optional(text({ help: 'the file with its key', example: '/etc/mesobus/tls-key.pem' })),
  natsReconnectWaitMs: optional(
    duration({ help: 'between two tries to come back to NATS (100ms; agents: 500ms)', example: '100ms', min: '10ms' }),
  ),
  natsReconnectJitterMs: optional(
    duration({
      help: 'at most so much more, at random (100ms; agents, of which there are many: 5secs)',
      example: '5secs',
    }),
  ),
  cluster: text({
    help: 'the cluster; several share one NATS when their names differ',
    default: 'main',
    pattern: /^[A-Za-z0-9_-]{1,64}$/,
    expected: 'up to 64 letters, digits, - and _',
  }),
  logLevel: choice(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'], {
    help: 'the least important lines that are logged',
    default: 'info',
  }),
  http: optional(
    hostPort({ help: 'where to serve /metrics, /health and /version (nowhere unless given; port 0: a free one)' }),
  ),
  otlpEndpoint: optional(
    url(['http', 'https'], {
      help: 'the OTLP/HTTP collector that traces go to (nowhere unless given)',
      example: 'http://127.0.0.1:4318',
      otherEnv: ['OTEL_EXPORTER_OTLP_ENDPOINT'],
    }),
  ),
  traceSample: decimal({
    help: 'the part of the offers whose traces are kept though they are declined; of accepted ones all are',
    default: 0.01,
    min: 0,
    max: 1,
  }),
};
