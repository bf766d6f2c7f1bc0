import type { BusLogger } from '@mesobus/sdk/bus';
import type { NatsConnection } from '@nats-io/transport-node';
import { judgeServers } from './diagnose.ts';
import { UnfitServerError } from './fit-server.ts';
import { findServers, usualMonitorPort } from './nats-servers.ts';

interface CheckSettings {
  /** How many NATS servers are to keep the log. */
  readonly replicas: number;
  /** It is known and accepted what a power cut can cost. */
  readonly acceptLazyFsync: boolean;
  readonly log: BusLogger;
}

/**
 * Looks at every server of the cluster before anything is trusted to them: refuses what would lose data, warns of what a
 * power cut can cost.
 *
 * @throws {UnfitServerError} saying what mends it
 */
export async function checkServers(connection: NatsConnection, settings: CheckSettings): Promise<void> {
  const { replicas, acceptLazyFsync, log } = settings;
  const found = await findServers(connection, acceptLazyFsync ? undefined : usualMonitorPort);
  for (const { severity, about, what, mend } of judgeServers(found, replicas)) {
    if (severity === 'unfit') {
      throw new UnfitServerError(`Cannot keep the log on the NATS server '${about}': ${what}; ${mend}`);
    }
    if (!acceptLazyFsync) log[severity === 'warning' ? 'warn' : 'info']({ server: about, mend }, what);
  }
}
