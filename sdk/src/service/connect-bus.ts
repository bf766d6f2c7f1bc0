import {
  type ClientKind,
  connectNats,
  type Identity,
  identityOf,
  type NatsBus,
  type Subjects,
  subjectsOf,
} from '../bus/index.ts';
import type { CommonOptions } from './common-options.ts';
import { ConfigError } from './config-error.ts';
import type { ConfigOf } from './define-config.ts';
import type { Metrics } from './metrics.ts';
import type { ServiceContext } from './run-service.ts';

export interface ConnectedBus {
  readonly bus: NatsBus;
  readonly subjects: Subjects;
}

/** How soon a process comes back when it loses its NATS server, in ms, unless its configuration says. */
export interface ReconnectSettings {
  readonly reconnectWaitMs: number;
  readonly jitterMs: number;
  /** How often the server is asked for a sign of life; one that hangs is left after two to three times so long. */
  readonly pingIntervalMs?: number;
  /** A server that hangs is tried first on the way back; it is left for another after so long. */
  readonly handshakeTimeoutMs?: number;
}

/** Of services that are few and missed at once: a server that hangs costs them less than the lease of a leader. */
const few: ReconnectSettings = {
  reconnectWaitMs: 100,
  jitterMs: 100,
  pingIntervalMs: 2_000,
  handshakeTimeoutMs: 2_000,
};

/** What a service is to the others: its credentials, if it has any, must say the same. */
export interface ServiceIdentity {
  readonly kind: ClientKind;
  /** Its name on the bus, with the flag that says it; left out where the name of the credentials will do. */
  readonly name?: { readonly flag: string; readonly value: string } | undefined;
}

/**
 * Connects a service to the bus as its configuration says. It closes at shutdown, and `/health` says when it is away.
 *
 * @throws {ConfigError} if its credentials are those of another
 * @throws {DisconnectedError} if no server can be reached
 */
export async function connectBus(
  context: ServiceContext<ConfigOf<CommonOptions>>,
  as: ServiceIdentity,
  settings: ReconnectSettings = few,
): Promise<ConnectedBus> {
  const { config, log, health, instance } = context;
  const { reconnectWaitMs, jitterMs, ...patience } = settings;
  const { natsCreds: credsFile } = config;
  if (credsFile !== undefined) requireSame(as, config.cluster, identityOf(credsFile), credsFile);
  const bus = await connectNats({
    servers: config.nats,
    name: `mesobus ${instance}`,
    logger: log,
    ...patience,
    reconnectWaitMs: config.natsReconnectWaitMs ?? reconnectWaitMs,
    jitterMs: config.natsReconnectJitterMs ?? jitterMs,
    token: config.natsToken,
    credsFile,
    tlsCaFile: config.natsTlsCa,
    tlsCertFile: config.natsTlsCert,
    tlsKeyFile: config.natsTlsKey,
  });
  context.onShutdown('close the connection to NATS', () => bus.close());
  observeBus(context.metrics, bus);
  health.check('nats', () =>
    bus.connected ? undefined : 'the connection to NATS is lost; it is tried again and again',
  );
  return { bus, subjects: subjectsOf(config.cluster) };
}

function observeBus(metrics: Metrics, bus: NatsBus): void {
  metrics.gauge('nats_connected', '1 while the connection to NATS stands', {
    collect: (it) => it.set(bus.connected ? 1 : 0),
  });
  const back = metrics.counter('nats_reconnects_total', 'How often the connection to NATS came back');
  let before = bus.connected;
  bus.onConnection((connected) => {
    if (connected && !before) back.inc();
    before = connected;
  });
}

function requireSame(as: ServiceIdentity, cluster: string, found: Identity | undefined, file: string): void {
  if (found === undefined) return; // of another tool, which has permissions of its own
  const wrong = (what: string, todo: string): ConfigError =>
    new ConfigError([`Cannot use the NATS credentials '${file}': they are those of ${what}; ${todo}`]);
  const named = `${found.kind} '${found.name}'`;
  const give = `give those that \`mesobus auth add ${as.kind} ${as.name?.value ?? '<name>'}\` makes`;
  if (found.kind !== as.kind) throw wrong(named, give);
  if (found.cluster !== cluster)
    throw wrong(`the cluster '${found.cluster}'`, `correct --cluster, which is '${cluster}'`);
  if (as.name === undefined || as.name.value === found.name) return;
  throw wrong(named, `${give}, or say ${as.name.flag} ${found.name}, which is '${as.name.value}'`);
}
