import { percentile, rounded } from '../bench/percentiles.ts';
import type { RunOptions } from './stage.ts';
import type { Tally } from './workload.ts';

/** One way to hurt a cluster. */
export interface Scenario {
  /** For people. */
  readonly tells: string;
  run(options: RunOptions): Promise<Result | Skipped>;
}

export interface Result {
  /** What was done and measured, as it stands in the JSON. */
  readonly figures: Readonly<Record<string, unknown>>;
  readonly outcome: Tally & { readonly tasks: number };
  /** What must not have happened, beyond what was lost or doubled. */
  readonly wrong?: readonly string[];
}

/** This machine cannot do it. */
export interface Skipped {
  readonly skipped: string;
}

/** Median and maximum, in ms. */
export const spread = (sample: readonly number[]): { readonly p50: number; readonly max: number } => ({
  p50: rounded(percentile(sample, 0.5), 0),
  max: rounded(Math.max(...sample), 0),
});
