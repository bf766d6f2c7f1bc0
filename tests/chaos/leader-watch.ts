import { EventEmitter, once } from 'node:events';
import { mesobus } from '@mesobus/protos';
import { connectNats, type NatsBus, subjectsOf } from '@mesobus/sdk/bus';
import { wallMs } from './workload.ts';

/** A leadership as its first beat showed it. */
export interface Reign {
  readonly masterId: string;
  readonly epoch: number;
  /** Time of day, ms. */
  readonly at: number;
}

/** Hears who leads. */
export class LeaderWatch {
  /** In the order of their epochs. */
  readonly reigns: Reign[] = [];
  readonly #bus: NatsBus;
  readonly #changed = new EventEmitter();

  private constructor(bus: NatsBus, cluster: string) {
    this.#bus = bus;
    bus.serve(subjectsOf(cluster).leader, ({ message: { masterId, phase }, epoch: { epoch } }) => {
      const isNew = epoch > (this.reigns.at(-1)?.epoch ?? 0);
      if (!isNew || phase !== mesobus.v1.LeaderBeat.Phase.LEADING) return;
      this.reigns.push({ masterId, epoch, at: wallMs() });
      this.#changed.emit('reign');
    });
  }

  static async on(where: { nats: string; token: string; cluster: string }): Promise<LeaderWatch> {
    const bus = await connectNats({
      servers: where.nats,
      token: where.token,
      name: 'chaos',
      reconnectWaitMs: 50,
      jitterMs: 50,
    });
    return new LeaderWatch(bus, where.cluster);
  }

  /** How often the leader has changed. */
  get changes(): number {
    return Math.max(0, this.reigns.length - 1);
  }

  /** The first leadership after an epoch. */
  async after(epoch: number, signal: AbortSignal): Promise<Reign> {
    for (;;) {
      const reign = this.reigns.find((one) => one.epoch > epoch);
      if (reign !== undefined) return reign;
      await once(this.#changed, 'reign', { signal });
    }
  }

  close(): Promise<void> {
    return this.#bus.close();
  }
}
