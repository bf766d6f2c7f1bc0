import type { EnvelopeBus } from '@mesobus/sdk/bus';
import { connectOperator } from '@mesobus/sdk/operator';
import type { SimulatedProcess } from '../engine/engine.ts';
import type { Operation } from '../plan.ts';
import { Host } from './host.ts';

/** Somebody at a terminal. */
export class OperatorHost extends Host {
  protected override main(process: SimulatedProcess, bus: EnvelopeBus): void {
    for (const operation of this.world.plan.operations) {
      const run = (): void => {
        this.#carryOut(process, bus, operation).catch((error: unknown) =>
          this.world.tell(this.name, 'an operation failed', { kind: operation.kind, why: String(error) }),
        );
      };
      process.clock.after(operation.at, run);
    }
  }

  async #carryOut(process: SimulatedProcess, bus: EnvelopeBus, { kind, framework }: Operation): Promise<void> {
    const operator = await connectOperator({ bus, principal: 'operator', timeoutMs: 30_000 });
    const host = this.world.frameworks.find(({ name }) => name === framework);
    const frameworkId = host?.memory.frameworkId;
    this.world.tell(this.name, kind, { framework: frameworkId ?? '' });
    if (kind === 'weights') {
      await operator.updateWeights([{ role: host?.plan.role ?? '*', weight: process.dice.pick([0.5, 2, 5]) }]);
    } else if (kind === 'teardown' && frameworkId !== undefined) {
      await operator.teardown(frameworkId);
    } else if (kind === 'kill' && frameworkId !== undefined) {
      for await (const { id: taskId } of operator.tasks({ frameworkId })) {
        await operator.killTask({ frameworkId, taskId });
        return;
      }
    }
  }
}
