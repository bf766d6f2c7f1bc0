import { formatDuration } from '@mesobus/sdk/service';
import type { Effect, ExecutorStart } from '../../core/index.ts';

export type StartOfExecutor = Extract<Effect, { kind: 'start' }> & { readonly executor: ExecutorStart };

/** Where an executor finds its agent. */
export interface Address {
  /** Of the loopback address. */
  readonly port: number;
  /** Path of the domain socket, if there is one. */
  readonly socket: string | undefined;
}

/** What Mesos tells an executor about its agent, by the same names. */
export function executorEnvironment(start: StartOfExecutor, address: Address, token: string): Record<string, string> {
  const { shutdownGraceMs, recoveryTimeoutMs, maxBackoffMs } = start.executor;
  const endpoint = `127.0.0.1:${address.port}`;
  return {
    LIBPROCESS_PORT: '0',
    MESOS_AGENT_ENDPOINT: endpoint,
    MESOS_SLAVE_ID: start.agentId,
    MESOS_SLAVE_PID: `slave(1)@${endpoint}`,
    MESOS_HTTP_COMMAND_EXECUTOR: '0',
    MESOS_EXECUTOR_AUTHENTICATION_TOKEN: token,
    MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD: formatDuration(shutdownGraceMs),
    MESOS_CHECKPOINT: recoveryTimeoutMs === undefined ? '0' : '1',
    ...(recoveryTimeoutMs !== undefined && {
      MESOS_RECOVERY_TIMEOUT: formatDuration(recoveryTimeoutMs),
      MESOS_SUBSCRIPTION_BACKOFF_MAX: formatDuration(maxBackoffMs),
    }),
    ...(address.socket !== undefined && { MESOS_DOMAIN_SOCKET: address.socket }),
  };
}
