import type { EnvelopeBus } from '@mesobus/sdk/bus';
import { RefusedError } from '@mesobus/sdk/errors';
import { connectOperator, type Operator } from '@mesobus/sdk/operator';
import type { SimulatedProcess } from '../engine/engine.ts';
import type { AgentOperation, FrameworkOperation, Operation } from '../plan.ts';
import { Host } from './host.ts';

/** What an operator was told is so of an agent; `unknown`: the last call got no answer. */
export type Decision = 'active' | 'deactivated' | 'drained' | 'gone' | 'unknown';

/** How often a call that got no answer is made again. */
const maxTries = 10;
const lookEveryMs = 200;

const isAboutAgent = (operation: Operation): operation is AgentOperation => 'agent' in operation;

/** Somebody at a terminal. */
export class OperatorHost extends Host {
  /** By agent id. */
  readonly decided = new Map<string, Decision>();
  /** By machine: the agent that was named last. */
  readonly #named = new Map<string, string>();
  /** What is done about agents is done in order, so that what was said last holds. */
  #lane: Promise<void> = Promise.resolve();

  protected override main(process: SimulatedProcess, bus: EnvelopeBus): void {
    for (const operation of this.world.plan.operations) {
      const run = async (): Promise<void> => {
        const operator = await connectOperator({ bus, principal: 'operator', timeoutMs: 30_000 });
        if (isAboutAgent(operation)) await this.#changeAgent(process, operator, operation);
        else await this.#carryOut(process, operator, operation);
      };
      const tell = (error: unknown): void =>
        this.world.tell(this.name, 'an operation failed', { kind: operation.kind, why: String(error) });
      process.clock.after(operation.at, () => {
        if (isAboutAgent(operation)) this.#lane = this.#lane.then(run).catch(tell);
        else run().catch(tell);
      });
    }
  }

  async #carryOut(process: SimulatedProcess, operator: Operator, operation: FrameworkOperation): Promise<void> {
    const { kind, framework } = operation;
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

  async #changeAgent(process: SimulatedProcess, operator: Operator, operation: AgentOperation): Promise<void> {
    const { kind, agent, again } = operation;
    const { witness, counters } = this.world;
    if (kind === 'drain') await this.#until(process, () => witness.hasTasks(agent), 20_000);
    const isUnreachable = (): boolean => witness.isUnreachable(agent);
    if (kind === 'gone_if_unreachable' && !(await this.#until(process, isUnreachable, 60_000))) return;
    const id = again ? this.#named.get(agent) : witness.ledger.agentsByName.get(agent)?.id;
    if (id === undefined) return;
    this.#named.set(agent, id);
    this.world.tell(this.name, kind, { agent: id, ...operation.drain });
    for (let tries = 1; ; tries += 1) {
      try {
        await call(operator, id, operation);
        this.decided.set(id, decision(operation, this.decided.get(id)));
        return;
      } catch (error) {
        const refused = error instanceof RefusedError && !error.transient;
        if (refused) counters.add('operator refused: the agent is gone');
        else this.decided.set(id, 'unknown');
        if (refused || tries === maxTries) throw error;
      }
    }
  }

  /** Looks again and again. Says whether it is so within a time. */
  async #until({ clock }: SimulatedProcess, isSo: () => boolean, ms: number): Promise<boolean> {
    for (const end = clock.now() + ms; clock.now() < end && !isSo(); ) {
      await new Promise<void>((resolve) => clock.after(lookEveryMs, resolve));
    }
    return isSo();
  }
}

function call(operator: Operator, id: string, { kind, drain }: AgentOperation): Promise<void> {
  switch (kind) {
    case 'drain':
      return operator.drainAgent(id, drain);
    case 'deactivate':
      return operator.deactivateAgent(id);
    case 'reactivate':
      return operator.reactivateAgent(id);
    default:
      return operator.markAgentGone(id);
  }
}

/** What holds after a call was accepted. */
function decision({ kind, drain }: AgentOperation, before: Decision | undefined): Decision {
  if (kind === 'drain') return drain?.markGone ? 'gone' : 'drained';
  if (kind === 'reactivate') return 'active';
  // An agent that drains is deactivated already, and goes on.
  if (kind === 'deactivate') return before === undefined || before === 'active' ? 'deactivated' : before;
  return 'gone';
}
