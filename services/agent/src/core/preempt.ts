import { isLive, liveOf } from './state.ts';
import { type Amounts, type Measurable, type Measured, measurable } from './usage.ts';

/** Whose container has to give back what is revocable, and why, as the last updates of its tasks say it. */
export interface Preemption {
  readonly owner: Measured['owner'];
  readonly why: string;
}

/**
 * Which containers yield what they hold revocably, for all together use too much: the youngest first, and only as many as are
 * needed. Estimates keep the whole margin free, so between its half and the whole nothing is lent and nothing taken back.
 *
 * @param total - what the agent has
 * @param margin - the part of it that should stay idle
 */
export function preemptions(containers: readonly Measured[], total: Amounts, margin: number): Preemption[] {
  const chosen = new Map<Measured['owner'], Preemption>();
  // What is being killed already is on its way out.
  const staying = containers.filter(({ owner }) => isLive(owner) && !isLeaving(owner));
  for (const name of measurable) {
    const rest = staying.filter(({ owner }) => !chosen.has(owner));
    const borrowers = rest.filter(({ revocable }) => revocable[name] > 0);
    const most = total[name] * (1 - margin / 2);
    let used = usedBy(rest, name);
    if (used <= most) continue;
    const why = inWords(name, { used, total: total[name], revocably: usedBy(borrowers, name), most });
    borrowers.sort((a, b) => launchedBy(b.owner) - launchedBy(a.owner));
    for (const { owner, use } of borrowers) {
      if (used <= most) break;
      chosen.set(owner, { owner, why });
      used -= use?.[name] ?? 0;
    }
  }
  return [...chosen.values()];
}

const isLeaving = (owner: Measured['owner']): boolean =>
  'ending' in owner ? owner.ending !== undefined : owner.kill !== undefined;

/** The command that launched its youngest task. */
const launchedBy = (owner: Measured['owner']): number =>
  'launches' in owner ? Math.max(0, ...liveOf(owner).map(({ commandNumber }) => commandNumber)) : owner.commandNumber;

const usedBy = (containers: readonly Measured[], name: Measurable): number =>
  containers.reduce((sum, { use }) => sum + (use?.[name] ?? 0), 0);

function inWords(
  name: Measurable,
  { used, total, revocably, most }: Readonly<Record<'used' | 'total' | 'revocably' | 'most', number>>,
): string {
  const [inUse, has, lent, line] = [used, total, revocably, most].map((amount) => Math.round(amount) / 1_000);
  return (
    `Revocable ${name} are taken back: the tasks of the agent use ${inUse} of its ${has} ${name}, ` +
    `${lent} of that revocably; above ${line} the youngest yield`
  );
}
