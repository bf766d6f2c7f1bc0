import { quantitiesOf, type Resources } from '@mesobus/sdk/resources';
import type { Launch, Millis } from './state.ts';

/** What a container uses, as measured once. */
export interface ContainerUsage {
  readonly containerId: string;
  readonly atMs: Millis;
  /** Since its start, of all its processes, those that have ended included. */
  readonly cpuSeconds: number;
  /** Now. */
  readonly memoryBytes: number;
}

/** What can be held and lie idle, and be measured. */
export const measurable = ['cpus', 'mem'] as const;
export type Measurable = (typeof measurable)[number];
/** In thousandths of the Mesos unit. */
export type Amounts = Readonly<Record<Measurable, number>>;

export const nothing: Amounts = { cpus: 0, mem: 0 };

export function amountsOf(resources: Resources): Amounts {
  const { cpus = 0, mem = 0 } = quantitiesOf(resources);
  return { cpus, mem };
}

export const eachAmount = (of: (name: Measurable) => number): Amounts => ({ cpus: of('cpus'), mem: of('mem') });

/** A container whose use is followed. */
export interface Measured {
  readonly launch: Launch;
  /** What its task holds, and what of that may be taken back. */
  readonly regular: Amounts;
  readonly revocable: Amounts;
  readonly sample: ContainerUsage;
  /** What it uses: cpus smoothed, memory as measured last; undefined until it was measured twice. */
  readonly use: Amounts | undefined;
  /**
   * What it has to be given: rises with its use at once and falls slowly, beginning with all that it holds for good. So a
   * task is believed to be idle only after it has been for a while.
   */
  readonly expected: Amounts;
}

export const firstMeasured = (
  launch: Launch,
  held: Pick<Measured, 'regular' | 'revocable'>,
  sample: ContainerUsage,
): Measured => ({ launch, ...held, sample, use: undefined, expected: held.regular });

/**
 * The same container after another sample.
 *
 * @param smoothingMs - after so long 63 % of a change counts (an exponentially weighted mean)
 */
export function measuredAgain(before: Measured, sample: ContainerUsage, smoothingMs: number): Measured {
  const elapsedMs = sample.atMs - before.sample.atMs;
  if (elapsedMs <= 0) return before;
  // Less than before: a process has ended whose parent does not want to hear of it.
  const cpuMs = Math.max(0, sample.cpuSeconds - before.sample.cpuSeconds) * 1_000;
  const now: Amounts = { cpus: (cpuMs / elapsedMs) * 1_000, mem: (sample.memoryBytes / 2 ** 20) * 1_000 };
  const weight = 1 - Math.exp(-elapsedMs / smoothingMs);
  const smooth = (from: number, to: number): number => from + weight * (to - from);
  return {
    ...before,
    sample,
    use: { cpus: smooth(before.use?.cpus ?? now.cpus, now.cpus), mem: now.mem },
    expected: eachAmount((name) => Math.max(now[name], smooth(before.expected[name], now[name]))),
  };
}
