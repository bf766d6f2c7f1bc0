import { compareEpochs, type Epoch } from './bus.ts';

/** Remembers the highest epoch seen: agents and schedulers obey no lower one. */
export class EpochGate {
  #highest: Epoch;

  /** @param highest - where to start, for example what was checkpointed */
  constructor(highest: Epoch = { incarnation: 0, epoch: 0 }) {
    this.#highest = highest;
  }

  get highest(): Epoch {
    return this.#highest;
  }

  /** `newer`: a new master leads, now remembered; `current`: obey; `stale`: a deposed master, do not obey. */
  observe(epoch: Epoch): 'newer' | 'current' | 'stale' {
    const order = compareEpochs(epoch, this.#highest);
    if (order < 0) return 'stale';
    if (order === 0) return 'current';
    this.#highest = { incarnation: epoch.incarnation, epoch: epoch.epoch };
    return 'newer';
  }
}
