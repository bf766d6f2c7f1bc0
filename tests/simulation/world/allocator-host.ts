import { Allocator } from '@mesobus/allocator/shell/allocator';
import type { EnvelopeBus } from '@mesobus/sdk/bus';
import type { Logger, Metrics } from '@mesobus/sdk/service';
import type { SimulatedProcess } from '../engine/engine.ts';
import { Host } from './host.ts';

const counter = { inc: () => {} };
const histogram = { observe: () => {} };
const noMetrics = { counter: () => counter, histogram: () => histogram, gauge: () => ({ set: () => {} }) };

/** An allocator: what services/allocator/src/main.ts wires, on the simulated world. */
export class AllocatorHost extends Host {
  protected override main(process: SimulatedProcess, bus: EnvelopeBus): void {
    new Allocator({
      bus,
      subjects: this.world.subjects,
      allocatorId: this.name,
      incarnation: process.name,
      seed: process.dice.below(2 ** 31),
      clock: process.clock,
      now: process.wallMs,
      log: this.log as unknown as Logger,
      metrics: noMetrics as unknown as Metrics,
      gatherMs: 5,
    }).start();
  }
}
