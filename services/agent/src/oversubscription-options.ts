import { choice, decimal, duration, type Option } from '@mesobus/sdk/service';
import type { Oversubscription } from './core/index.ts';

interface Written {
  readonly resourceEstimator: 'none' | 'measured';
  readonly oversubscribedResourcesIntervalMs: number;
  readonly oversubscriptionMargin: number;
  readonly usageSmoothingMs: number;
}

/** Options of how what tasks hold and leave idle is lent once more. */
export const oversubscriptionOptions: { readonly [Key in keyof Written]: Option<Written[Key]> } = {
  resourceEstimator: choice(['none', 'measured'], {
    help: 'whether what tasks hold and leave idle is offered once more, as revocable resources: never, or as measured',
    default: 'none',
  }),
  oversubscribedResourcesIntervalMs: duration({
    help: 'how often the use of tasks is measured, the estimate made, and what is too much taken back',
    default: '15secs',
    min: '100ms',
  }),
  oversubscriptionMargin: decimal({
    help: 'which part of its cpus and memory the agent keeps idle; when half of it is left, revocable tasks are killed',
    default: 0.1,
    min: 0,
    max: 1,
  }),
  usageSmoothingMs: duration({
    help: 'how slowly a task is believed to need less: after so long 63 % of a change counts',
    default: '1mins',
    min: '1ms',
  }),
};

/** @returns undefined: nothing is lent */
export function oversubscriptionOf(written: Written): Oversubscription | undefined {
  if (written.resourceEstimator === 'none') return undefined;
  return {
    intervalMs: written.oversubscribedResourcesIntervalMs,
    margin: written.oversubscriptionMargin,
    smoothingMs: written.usageSmoothingMs,
  };
}
