import type { NatsConnection } from '@nats-io/transport-node';
import type { Bus } from './bus.ts';
import { systemClock } from './clock.ts';
import { EnvelopeBus } from './envelope-bus.ts';
import { silentLogger } from './logger.ts';
import { inboxPrefixOf, type NatsOptions, openNatsConnection } from './nats-connection.ts';
import { NatsTransport } from './nats-transport.ts';

export type { NatsOptions };

/** A bus over NATS. */
export interface NatsBus extends Bus {
  /** For what is no message of ours: JetStream. Close the bus, not this. */
  readonly connection: NatsConnection;
  /** How it was connected, for another connection to the same place: plain data, unless the TLS options are not. */
  readonly connectedBy: Omit<NatsOptions, 'logger'>;
}

class NatsEnvelopeBus extends EnvelopeBus implements NatsBus {
  readonly connection: NatsConnection;
  readonly connectedBy: Omit<NatsOptions, 'logger'>;

  constructor(connection: NatsConnection, { logger = silentLogger, ...connectedBy }: NatsOptions) {
    const { maxMessageBytes } = connectedBy;
    const limits = maxMessageBytes === undefined ? {} : { maxMessageBytes };
    const transport = new NatsTransport(connection, inboxPrefixOf(connectedBy), logger);
    super(transport, { clock: systemClock, logger, ...limits });
    this.connection = connection;
    this.connectedBy = connectedBy;
  }
}

/**
 * Connects to NATS and keeps connected: once the first connection stands, a lost one is renewed for ever.
 *
 * @throws {DisconnectedError} no server could be reached within `maxWait`, or it refused the credentials
 */
export const connectNats = async (options: NatsOptions): Promise<NatsBus> =>
  new NatsEnvelopeBus(await openNatsConnection(options), options);
