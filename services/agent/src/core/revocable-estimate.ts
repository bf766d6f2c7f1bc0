import { type Amounts, eachAmount, type Measured, measurable } from './usage.ts';

/** A change below this part of what the agent has is not worth telling. */
const worthTelling = 0.05;

/**
 * What tasks hold for good and do not use, less a margin: it may be lent once more. Cpus to the thousandth, whole MB.
 *
 * @param total - what the agent has
 * @param margin - the part of it that stays idle
 */
export function estimateIdle(containers: readonly Measured[], total: Amounts, margin: number): Amounts {
  const idle = eachAmount((name) => {
    let sum = 0;
    for (const { regular, expected } of containers) sum += Math.max(0, regular[name] - expected[name]);
    return Math.max(0, sum - margin * total[name]);
  });
  return { cpus: Math.floor(idle.cpus), mem: Math.floor(idle.mem / 1_000) * 1_000 };
}

/** Whether an estimate differs enough from the one that was told last: offers are not made and taken back for a wobble. */
export function isNews(told: Amounts, now: Amounts, total: Amounts): boolean {
  return measurable.some((name) => {
    const change = Math.abs(now[name] - told[name]);
    return change > 0 && (now[name] === 0 || change >= worthTelling * total[name]);
  });
}
