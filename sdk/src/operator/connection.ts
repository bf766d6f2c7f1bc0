import { type Bus, connectNats, type NatsSecurity, principalWith, type Subjects, subjectsOf } from '../bus/index.ts';
import { findContext } from './context.ts';

/** Which cluster to talk to, and as whom. Whatever is left out is found by `findContext`. */
export interface ConnectionOptions extends NatsSecurity {
  /** `nats://127.0.0.1:4222`; of several, any that answers. */
  readonly nats?: string | readonly string[];
  /** Default: that of the environment or the context file, else `main`. */
  readonly cluster?: string;
  /** Who we are; the NATS server checks it where it knows its clients. Default: whom the credentials name, or `default`. */
  readonly principal?: string;
  /** Use this bus instead of connecting. It stays open afterwards. */
  readonly bus?: Bus;
}

/** A bus with the subjects of one cluster. */
export interface Connection {
  readonly bus: Bus;
  readonly subjects: Subjects;
  readonly principal: string;
  readonly cluster: string;
  /** Closes the bus, unless it was given. */
  close(): Promise<void>;
}

/**
 * @param name - says in the NATS server's monitoring who we are
 * @throws {NoContextError} no cluster was named and none was found
 * @throws {DisconnectedError} no NATS server could be reached
 */
export async function openConnection(options: ConnectionOptions, name: string): Promise<Connection> {
  const { bus: given, principal } = options;
  if (given !== undefined) {
    const cluster = options.cluster ?? 'main';
    const subjects = subjectsOf(cluster);
    return { bus: given, subjects, principal: principal ?? 'default', cluster, close: async () => {} };
  }
  const found = options.nats === undefined ? findContext() : undefined;
  const cluster = options.cluster ?? found?.cluster ?? 'main';
  const credsFile = options.credsFile ?? found?.credsFile;
  const spokenAs = principalWith(credsFile, cluster, principal);
  const bus = await connectNats({
    servers: options.nats ?? found?.nats ?? [],
    name,
    token: options.token ?? found?.token,
    credsFile,
    tlsCaFile: options.tlsCaFile ?? found?.tlsCaFile,
    tlsCertFile: options.tlsCertFile ?? found?.tlsCertFile,
    tlsKeyFile: options.tlsKeyFile ?? found?.tlsKeyFile,
  });
  return { bus, subjects: subjectsOf(cluster), principal: spokenAs, cluster, close: () => bus.close() };
}
