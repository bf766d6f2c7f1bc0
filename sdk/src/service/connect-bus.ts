import { connectNats, type NatsBus, type Subjects, subjectsOf } from '../bus/index.ts';
import type { CommonOptions } from './common-options.ts';
import type { ConfigOf } from './define-config.ts';
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

/**
 * Connects a service to the bus as its configuration says. It closes at shutdown, and `/health` says when it is away.
 *
 * @throws {DisconnectedError} if no server can be reached
 */
export async function connectBus(
  context: ServiceContext<ConfigOf<CommonOptions>>,
  settings: ReconnectSettings = few,
): Promise<ConnectedBus> {
  const { config, log, health, instance } = context;
  const { reconnectWaitMs, jitterMs, ...patience } = settings;
  const bus = await connectNats({
    servers: config.nats,
    name: `mesobus ${instance}`,
    logger: log,
    ...patience,
    reconnectWaitMs: config.natsReconnectWaitMs ?? reconnectWaitMs,
    jitterMs: config.natsReconnectJitterMs ?? jitterMs,
    ...(config.natsToken !== undefined && { token: config.natsToken }),
    ...(config.natsCreds !== undefined && { credsFile: config.natsCreds }),
  });
  context.onShutdown('close the connection to NATS', () => bus.close());
  health.check('nats', () =>
    bus.connected ? undefined : 'the connection to NATS is lost; it is tried again and again',
  );
  return { bus, subjects: subjectsOf(config.cluster) };
}
