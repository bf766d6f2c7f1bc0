import { type LogFollower, logOn } from '@mesobus/registry';
import { QueryService } from '@mesobus/registry/shell/serve-queries';
import type { EnvelopeBus } from '@mesobus/sdk/bus';
import type { SimulatedProcess } from '../engine/engine.ts';
import { Host } from './host.ts';

/** A registry: what services/registry/src/main.ts wires, on the simulated world. */
export class RegistryHost extends Host {
  follower: LogFollower | undefined;

  protected override main(process: SimulatedProcess, bus: EnvelopeBus): void {
    const { world } = this;
    const log = logOn({
      store: world.stream.client(process, this.line),
      log: this.log,
      clock: process.clock,
      wallMs: process.wallMs,
      random: process.dice.random,
    });
    let queries: QueryService | undefined;
    const follower = log.follow({
      onEntry: ({ index }) => {
        queries?.onIndex(index);
        world.witness.onReplica(this.name, index, follower.ledger);
      },
      onStopped: (error) => world.witness.onUnfitLog(this.name, error),
    });
    this.follower = follower;
    void follower.caughtUp.then(() => {
      queries = new QueryService({
        bus,
        subjects: world.subjects,
        clock: process.clock,
        follower,
        registryId: process.name,
      });
    });
  }

  protected override onEnded(): void {
    this.follower = undefined;
  }
}
