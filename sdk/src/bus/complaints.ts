import type { Clock } from './clock.ts';
import type { BusLogger } from './logger.ts';

/** The same complaint about the same subject is logged once in so long, ms. */
const intervalMs = 1000;
/** So many subjects are told apart; beyond that all are forgotten and may be logged again. */
const maxSubjects = 1000;

/** Logs what is wrong with what others send, but never so often that it fills the disk. */
export class Complaints {
  readonly #logger: BusLogger;
  readonly #clock: Clock;
  readonly #last = new Map<string, { at: number; unsaid: number }>();

  constructor(logger: BusLogger, clock: Clock) {
    this.#logger = logger;
    this.#clock = clock;
  }

  /** Somebody sent something that we dropped or refused. */
  warn(subject: string, message: string, error: Error): void {
    const unsaid = this.#mayLog(`${subject} ${message}`);
    if (unsaid !== undefined) this.#logger.warn({ subject, err: error, unsaid }, message);
  }

  /** Our own code failed on what somebody sent. */
  error(subject: string, message: string, error: unknown): void {
    const unsaid = this.#mayLog(`${subject} ${message}`);
    if (unsaid !== undefined) this.#logger.error({ subject, err: error, unsaid }, message);
  }

  /** How many of the kind were kept back since the last one that was logged; undefined if this one is, too. */
  #mayLog(key: string): number | undefined {
    const at = this.#clock.now();
    const last = this.#last.get(key);
    if (last !== undefined && at - last.at < intervalMs) {
      last.unsaid += 1;
      return undefined;
    }
    if (this.#last.size >= maxSubjects) this.#last.clear();
    this.#last.set(key, { at, unsaid: 0 });
    return last?.unsaid ?? 0;
  }
}
