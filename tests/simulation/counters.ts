/**
 * Rare branches that matter, seen from outside: in the log, in messages, in what happens to processes. A set of runs in which
 * one of them never happened has not tried it, and fails.
 */
export const rareBranches = [
  'append of unknown outcome, written',
  'append of unknown outcome, not written',
  'takeover after a lease',
  'takeover before the lease was over',
  'handed over by a clean stop',
  'leader frozen',
  'leader deposed while it lived',
  "deposed leader's command refused by an agent",
  'load of the log began on a stale replica',
  'tail of the log begun anew',
  'launch sent again',
  'launch sent again by a new leader',
  'group launch asked',
  'executor launch asked',
  'executor subscribed again',
  'group sent as ended',
  'kill sent in place of a launch',
  'update gap reported to an agent',
  'snapshot taken',
  'log purged behind a snapshot',
  'ledger loaded from a snapshot',
  'damaged entry noticed',
  'journal cut off at its torn end',
  'agent restarted with tasks alive',
  'agent rebooted with tasks alive',
  'container lost without a word',
  'container that was prepared and never begun',
  'launch refused by an agent whose disk is full',
  'commands refused by an agent whose disk is full',
  'call repeated',
  'repeated ACCEPT answered from the record',
  'launch dropped',
  'framework failed over',
  'framework removed',
  'instance superseded while it lived',
  'scheduler lost contact and came back',
  'offer rescinded',
  'drain finished',
  'drain finished under another leader than began it',
  'drained agent marked gone',
  'drain taken back',
  'agent marked gone with tasks alive',
  'agent marked gone while unreachable',
  'gone agent refused',
  'gone agent ended itself',
  'operator refused: the agent is gone',
  'allocator replaced',
  'request found nobody',
] as const;

export type RareBranch = (typeof rareBranches)[number];

/** Other things worth counting. */
export type Count = RareBranch | 'launch asked' | 'task started' | 'leader elected';

export class Counters {
  readonly #counts = new Map<string, number>();

  add(name: Count, by = 1): void {
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + by);
  }

  get(name: Count): number {
    return this.#counts.get(name) ?? 0;
  }

  toJSON(): Record<string, number> {
    return Object.fromEntries(this.#counts);
  }
}
