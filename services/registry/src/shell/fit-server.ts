import { firstNatsServerWith, isOlder } from '@mesobus/sdk/service';
import type { NatsConnection, ServerInfo } from '@nats-io/transport-node';

/** A server, or a bucket, that would lose data. */
export class UnfitServerError extends Error {
  override readonly name = 'UnfitServerError';
}

/** Half of it must hold an entry of the log. */
const minPayloadBytes = 1024 * 1024;

/**
 * Refuses a NATS server that would lose what is written.
 *
 * @throws {UnfitServerError} saying which server would do
 */
export function requireFitServer({ info }: NatsConnection, replicas: number): void {
  if (info === undefined)
    throw new UnfitServerError('Cannot check the NATS server: it has not said what it is; connect first');
  const lack = lackOf(info, replicas);
  if (lack === undefined) return;
  throw new UnfitServerError(`Cannot keep the log on this NATS server: ${lack.what}; ${lack.mend}`);
}

/** What a server lacks for keeping the log; undefined if nothing. */
export function lackOf(
  { version, jetstream, max_payload: payload }: Pick<ServerInfo, 'version' | 'jetstream' | 'max_payload'>,
  replicas: number,
): { readonly what: string; readonly mend: string } | undefined {
  if (jetstream !== true) {
    return { what: 'JetStream is off', mend: 'add `jetstream { store_dir: … }` to its configuration' };
  }
  if (payload < minPayloadBytes) return { what: `its max_payload is ${payload} bytes`, mend: 'set it to 1MB or more' };
  if (replicas > 1 && isOlder(version, firstNatsServerWith.soundReplicas)) {
    return {
      what: `two masters could both win with ${replicas} replicas on nats-server ${version} (nats-server #4320)`,
      mend: `upgrade it to ${firstNatsServerWith.soundReplicas} or newer, or start with --replicas 1`,
    };
  }
  return undefined;
}
