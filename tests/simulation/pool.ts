import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import type { Plan } from './plan.ts';
import type { Outcome } from './run-plan.ts';

/** Processes that run plans side by side. */
export class Pool {
  readonly #workers: Promise<Worker>[];

  /** @param plant - the mistake that their production code carries; none if undefined */
  constructor(size: number, plant?: string) {
    this.#workers = Array.from({ length: size }, () => Worker.start(plant));
  }

  /** Runs plans as they come, and hands on what came of them, in any order; until there are no more or it says to stop. */
  async run(plans: Iterable<Plan>, onOutcome: (outcome: Outcome, plan: Plan) => 'go on' | 'stop'): Promise<void> {
    const iterator = plans[Symbol.iterator]();
    let stopped = false;
    const work = async (starting: Promise<Worker>): Promise<void> => {
      const worker = await starting;
      while (!stopped) {
        const { value: plan, done } = iterator.next();
        if (done) return;
        const outcome = await worker.run(plan);
        if (!stopped && onOutcome(outcome, plan) === 'stop') stopped = true;
      }
    };
    await Promise.all(this.#workers.map(work));
  }

  async close(): Promise<void> {
    for (const worker of await Promise.all(this.#workers)) worker.close();
  }
}

class Worker {
  readonly #child: ChildProcess;
  readonly #gone: Promise<never>;

  static async start(plant: string | undefined): Promise<Worker> {
    const child = fork(path.join(import.meta.dirname, 'worker.ts'), plant === undefined ? [] : [plant], {
      execArgv: ['--conditions=mesobus-source', '--no-warnings'],
      serialization: 'advanced',
    });
    const worker = new Worker(child);
    await worker.#answer();
    return worker;
  }

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.#gone = once(child, 'exit').then(([code, signal]) => {
      throw new Error(`a simulating process ended (${signal ?? `exit code ${code}`}); what it said is above`);
    });
    this.#gone.catch(() => undefined); // whoever waits for an answer hears of it
  }

  run(plan: Plan): Promise<Outcome> {
    const answer = this.#answer();
    this.#child.send(plan);
    return answer as Promise<Outcome>;
  }

  close(): void {
    if (this.#child.connected) this.#child.disconnect();
  }

  #answer(): Promise<unknown> {
    const answer = new Promise((resolve) => this.#child.once('message', resolve));
    return Promise.race([answer, this.#gone]);
  }
}
