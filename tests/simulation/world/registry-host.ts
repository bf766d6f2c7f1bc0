import { type LogFollower, type LogStore, logOn } from '@mesobus/registry';
import type { LogMessage } from '@mesobus/registry/core';
import { SnapshotKeeper } from '@mesobus/registry/shell/keep-snapshots';
import { QueryService } from '@mesobus/registry/shell/serve-queries';
import type { EnvelopeBus } from '@mesobus/sdk/bus';
import type { SimulatedProcess } from '../engine/engine.ts';
import { Host } from './host.ts';

/** A registry: what services/registry/src/main.ts wires, on the simulated world. */
export class RegistryHost extends Host {
  follower: LogFollower | undefined;
  /** The next entry reaches it damaged; which one did. */
  damageNext = false;
  #damagedAt: number | undefined;

  protected override main(process: SimulatedProcess, bus: EnvelopeBus): void {
    const { world } = this;
    const tools = {
      store: world.stream.client(process, this.line),
      snapshots: world.snapshots.client(process, this.line),
      log: this.log,
      clock: process.clock,
      wallMs: process.wallMs,
      random: process.dice.random,
    };
    let queries: QueryService | undefined;
    let keeper: SnapshotKeeper | undefined;
    // Whoever checks a snapshot reads the log a second time, and that reading is not the one that is damaged.
    const follower = logOn({ ...tools, store: this.#damaging(tools.store) }).follow({
      onEntry: (entry) => {
        const { index } = entry;
        queries?.onIndex(index);
        keeper?.onEntry(entry);
        world.witness.onReplica(this.name, index, follower.ledger, this.#damagedAt);
      },
      onReloaded: () => {
        world.counters.add('ledger loaded from a snapshot');
        this.#damagedAt = undefined;
        queries?.onIndex(follower.lastIndex);
      },
      onStopped: (error) => {
        if (this.#damagedAt === undefined) world.witness.onUnfitLog(this.name, error);
        else world.counters.add('damaged entry noticed');
        this.exit(process, error.message);
      },
    });
    this.follower = follower;
    void follower.caughtUp.then(() => {
      const registryId = process.name;
      const { snapshots: options } = world.plan;
      const kept = new SnapshotKeeper(tools, follower.reading, { registryId, ...options });
      keeper = kept;
      queries = new QueryService({
        bus,
        subjects: world.subjects,
        clock: process.clock,
        follower,
        registryId,
        snapshots: () => kept.status,
      });
    });
  }

  /** A store that flips a bit of an entry when it is told to. */
  #damaging(store: LogStore): LogStore {
    const damage = (message: LogMessage): LogMessage => {
      const index = Number(/^log\.(\d+)$/.exec(message.key)?.[1] ?? 0);
      const isNext = index === (this.follower?.lastIndex ?? 0) + 1;
      if (!this.damageNext || !isNext || message.bytes.length < 200) return message;
      this.damageNext = false;
      this.#damagedAt = index;
      const bytes = Uint8Array.from(message.bytes);
      // Within a text of a record: what is read still decodes.
      bytes[bytes.length - 3] = (bytes[bytes.length - 3] as number) ^ 1;
      return { ...message, bytes };
    };
    return {
      ...store,
      tail: (options) => store.tail({ ...options, onMessage: (message) => options.onMessage(damage(message)) }),
    };
  }

  protected override onEnded(): void {
    this.follower = undefined;
    this.#damagedAt = undefined;
  }
}
