import { defaultConfig, type State } from '@mesobus/master/core';
import { type Contender, contend } from '@mesobus/master/shell/contend';
import { type Leadership, type Log, logOn } from '@mesobus/registry';
import type { EnvelopeBus } from '@mesobus/sdk/bus';
import type { SimulatedProcess } from '../engine/engine.ts';
import { Host } from './host.ts';

/** A master: what services/master/src/main.ts wires, on the simulated world. */
export class MasterHost extends Host {
  /** It takes the calls of schedulers. */
  serving = false;
  #contender: Contender | undefined;

  /** Of the leader; undefined for a standby. */
  get state(): State | undefined {
    return this.#contender?.state;
  }

  get leadership(): Leadership | undefined {
    return this.#contender?.leadership;
  }

  protected override main(process: SimulatedProcess, bus: EnvelopeBus): void {
    const { world } = this;
    const masterId = process.name;
    this.#contender = contend({
      log: this.#log(process),
      bus,
      subjects: world.subjects,
      clock: process.clock,
      wallMs: process.wallMs,
      logger: this.log,
      masterId,
      config: {
        ...defaultConfig,
        ...world.plan.master,
        masterInfo: { id: masterId, ip: 0, port: 5050, hostname: this.name },
      },
      onFailed: (error) => {
        world.witness.onFatal(this, error);
        this.exit(process, `it cannot go on: ${String(error)}`);
      },
    });
  }

  /** The log of the process; each leadership is shown to the witness before the master has it. */
  #log(process: SimulatedProcess): Log {
    const { world } = this;
    const log = logOn({
      store: world.stream.client(process, this.line),
      snapshots: world.snapshots.client(process, this.line),
      log: this.log,
      clock: process.clock,
      wallMs: process.wallMs,
      random: process.dice.random,
    });
    return {
      ...log,
      lead: async (options) => {
        const leadership = await log.lead(options);
        world.witness.onLeading(this, options.masterId, leadership);
        leadership.onLease((lease) => {
          if (lease !== 'frozen') return;
          world.counters.add('leader frozen');
          world.engine.after(500, process, () => world.witness.onFrozenFor(this));
        });
        void leadership.lost.then(({ reason }) => {
          if (reason === 'deposed') world.counters.add('leader deposed while it lived');
        });
        return leadership;
      },
    };
  }

  /** A clean stop: it hands over. */
  stop(): void {
    const { process } = this;
    if (process === undefined || process.ended) return;
    process.begin(() => {
      void (this.#contender as Contender).stop().then(() => this.exit(process, 'stopped'));
    });
  }

  protected override onEnded(): void {
    this.serving = false;
    this.#contender = undefined;
  }
}
