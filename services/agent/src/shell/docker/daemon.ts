import { setTimeout as wait } from 'node:timers/promises';
import Docker from 'dockerode';

const retryMs = 1_000;

interface Log {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

/** The HTTP status of what Docker answered; undefined if it did not answer. */
export const statusOf = (error: unknown): number | undefined =>
  (error as { readonly statusCode?: number } | undefined)?.statusCode;

export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** Docker's daemon, which may go away and come back at any time. */
export class Daemon {
  readonly docker: Docker;
  readonly #socketPath: string;
  readonly #log: Log;
  #away = false;

  constructor(socketPath: string, log: Log) {
    this.docker = new Docker({ socketPath });
    this.#socketPath = socketPath;
    this.#log = log;
  }

  /** Asks once. Undefined if Docker says that there is no such thing. */
  async ask<T>(question: (docker: Docker) => Promise<T>): Promise<T | undefined> {
    try {
      return await question(this.docker);
    } catch (error) {
      if (statusOf(error) === 404) return undefined;
      throw statusOf(error) === undefined ? this.unreachable(error) : error;
    }
  }

  /** Asks until Docker answers: it may be away for long. Undefined if it says that there is no such thing. */
  async askUntilAnswered<T>(question: (docker: Docker) => Promise<T>, signal: AbortSignal): Promise<T | undefined> {
    for (;;) {
      try {
        const answer = await question(this.docker);
        this.#onBack();
        return answer;
      } catch (error) {
        if (statusOf(error) === 404) return undefined;
        signal.throwIfAborted();
        this.#onFailure(error);
        await wait(retryMs, undefined, { signal });
      }
    }
  }

  unreachable(cause: unknown): Error {
    const what = `Cannot reach Docker at '${this.#socketPath}'`;
    return new Error(`${what}: ${messageOf(cause)}; start it, or name another --docker-socket`, { cause });
  }

  #onFailure(error: unknown): void {
    if (this.#away) return;
    this.#away = true;
    this.#log.warn({ err: error }, 'Docker does not answer; its containers are looked at again when it does');
  }

  #onBack(): void {
    if (!this.#away) return;
    this.#away = false;
    this.#log.info({}, 'Docker answers again');
  }
}
