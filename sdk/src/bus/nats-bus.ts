import type { NatsConnection } from '@nats-io/transport-node';
import type { Bus } from './bus.ts';
import { systemClock } from './clock.ts';
import { EnvelopeBus } from './envelope-bus.ts';
import { type Identity, identityOf, inboxPrefixOf } from './identity.ts';
import { silentLogger } from './logger.ts';
import { type NatsOptions, openNatsConnection } from './nats-connection.ts';
import { NatsTransport } from './nats-transport.ts';

export type { NatsOptions };

/** A bus over NATS. */
export interface NatsBus extends Bus {
  /** For what is no message of ours: JetStream. Close the bus, not this. */
  readonly connection: NatsConnection;
  /** How it was connected, for another connection to the same place: plain data. */
  readonly connectedBy: Omit<NatsOptions, 'logger'>;
  /** Whose credentials it has shown; undefined without any of `mesobus auth`. */
  readonly identity: Identity | undefined;
}

class NatsEnvelopeBus extends EnvelopeBus implements NatsBus {
  readonly connection: NatsConnection;
  readonly connectedBy: Omit<NatsOptions, 'logger'>;
  readonly identity: Identity | undefined;

  constructor(
    connection: NatsConnection,
    identity: Identity | undefined,
    { logger = silentLogger, ...connectedBy }: NatsOptions,
  ) {
    const { maxMessageBytes } = connectedBy;
    const limits = maxMessageBytes === undefined ? {} : { maxMessageBytes };
    const transport = new NatsTransport(connection, inboxPrefixOf(identity), logger);
    super(transport, { clock: systemClock, logger, ...limits });
    this.connection = connection;
    this.connectedBy = connectedBy;
    this.identity = identity;
  }
}

/**
 * Connects to NATS and keeps connected: once the first connection stands, a lost one is renewed for ever.
 *
 * @throws {DisconnectedError} no server could be reached within `maxWait`, it refused the credentials, or a file cannot be read
 */
export async function connectNats(options: NatsOptions): Promise<NatsBus> {
  const { credsFile } = options;
  const identity = credsFile === undefined ? undefined : identityOf(credsFile);
  return new NatsEnvelopeBus(await openNatsConnection(options), identity, options);
}
