import type { Logger } from './logger.ts';

/** Something to be done before the process ends. */
export type ShutdownHook = () => Promise<void> | void;

interface Step {
  readonly what: string;
  readonly hook: ShutdownHook;
  readonly deadlineMs: number;
}

/** Ends the process in order: what was added last is done first, each for no longer than its deadline. */
export class Shutdown {
  private readonly log: Logger;
  private readonly steps: Step[] = [];
  private readonly controller = new AbortController();

  constructor(log: Logger) {
    this.log = log;
  }

  /** Aborted when the end begins. */
  get signal(): AbortSignal {
    return this.controller.signal;
  }

  add(what: string, hook: ShutdownHook, deadlineMs: number): void {
    this.steps.push({ what, hook, deadlineMs });
  }

  /** Does all steps, also those that are added meanwhile, and exits. Later calls change nothing. */
  async run(reason: string, exitCode: number): Promise<void> {
    if (this.signal.aborted) return;
    this.log.info({ reason }, 'stopping');
    this.controller.abort(new Error(`the service stops: ${reason}`));
    for (let step = this.steps.pop(); step !== undefined; step = this.steps.pop()) await this.take(step);
    this.log.info({ exitCode }, 'stopped');
    process.exit(exitCode);
  }

  private async take({ what, hook, deadlineMs }: Step): Promise<void> {
    const { promise: late, reject } = Promise.withResolvers<never>();
    const timer = setTimeout(() => reject(new Error(`not done within ${deadlineMs} ms`)), deadlineMs);
    try {
      await Promise.race([hook(), late]);
    } catch (error) {
      this.log.error({ err: error }, `while stopping: could not ${what}`);
    } finally {
      clearTimeout(timer);
    }
  }
}
