import { quantitiesOf, type Resources } from '@mesobus/sdk/resources';
import type { Executor, Launch, Millis } from './state.ts';

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

/** What a container was given: for good, and revocably. */
export interface Held {
  readonly regular: Amounts;
  readonly revocable: Amounts;
}

/** A container whose use is followed. */
export interface Measured extends Held {
  /** Its task, or the executor that runs tasks in it. */
  readonly owner: Launch | Executor;
  readonly sample: ContainerUsage;
  /** What it uses: cpus smoothed, memory as measured last; undefined until it was measured twice. */
  readonly use: Amounts | undefined;
  /**
   * What it has to be given: rises with its use at once and falls slowly, beginning with all that it holds for good. So a
   * task is believed to be idle only after it has been for a while.
   */
  readonly expected: Amounts;
}

export const firstMeasured = (owner: Measured['owner'], held: Held, sample: ContainerUsage): Measured => ({
  owner,
  ...held,
  sample,
  use: undefined,
  expected: held.regular,
});

/**
 * The same container after another sample. An executor may have been given more meanwhile: it is expected to need that.
 *
 * @param smoothingMs - after so long 63 % of a change counts (an exponentially weighted mean)
 */
export function measuredAgain(before: Measured, held: Held, sample: ContainerUsage, smoothingMs: number): Measured {
  const elapsedMs = sample.atMs - before.sample.atMs;
  if (elapsedMs <= 0) return before;
  // Less than before: a process has ended whose parent does not want to hear of it.
  const cpuMs = Math.max(0, sample.cpuSeconds - before.sample.cpuSeconds) * 1_000;
  const now: Amounts = { cpus: (cpuMs / elapsedMs) * 1_000, mem: (sample.memoryBytes / 2 ** 20) * 1_000 };
  const weight = 1 - Math.exp(-elapsedMs / smoothingMs);
  const smooth = (from: number, to: number): number => from + weight * (to - from);
  const needed = (name: Measurable): number =>
    before.expected[name] + Math.max(0, held.regular[name] - before.regular[name]);
  return {
    ...before,
    ...held,
    sample,
    use: { cpus: smooth(before.use?.cpus ?? now.cpus, now.cpus), mem: now.mem },
    expected: eachAmount((name) => Math.max(now[name], smooth(needed(name), now[name]))),
  };
}
