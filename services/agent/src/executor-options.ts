import { duration, integer, type Option } from '@mesobus/sdk/service';
import type { Config } from './core/index.ts';

interface Written {
  readonly executorPort: number;
  readonly executorRegistrationTimeoutMs: number;
  readonly executorReregistrationTimeoutMs: number;
  readonly executorShutdownGracePeriodMs: number;
  readonly recoveryTimeoutMs: number;
}

/** Options of executors that frameworks bring, with Mesos' names and defaults. */
export const executorOptions: { readonly [Key in keyof Written]: Option<Written[Key]> } = {
  executorPort: integer({
    help: 'where executors reach the agent on 127.0.0.1; 0: any port, the same one after a restart',
    default: 0,
    min: 0,
    max: 65_535,
  }),
  executorRegistrationTimeoutMs: duration({
    help: 'an executor that has not subscribed so long after its start is ended',
    default: '1mins',
    min: '1secs',
  }),
  executorReregistrationTimeoutMs: duration({
    help: 'an executor that has not subscribed again so long after a restart of the agent is ended',
    default: '2secs',
    min: '100ms',
  }),
  executorShutdownGracePeriodMs: duration({
    help: 'how long an executor that is shut down may take to end by itself, unless it says so itself',
    default: '5secs',
    min: '0ms',
  }),
  recoveryTimeoutMs: duration({
    help: 'how long executors wait for an agent that is away before they end themselves',
    default: '15mins',
    min: '1secs',
  }),
};

export function executorTimesOf(written: Written): NonNullable<Config['executors']> {
  return {
    registrationTimeoutMs: written.executorRegistrationTimeoutMs,
    reregistrationTimeoutMs: written.executorReregistrationTimeoutMs,
    shutdownGraceMs: written.executorShutdownGracePeriodMs,
    recoveryTimeoutMs: written.recoveryTimeoutMs,
  };
}
