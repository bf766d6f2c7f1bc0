import { encode, mesos } from '@mesobus/protos';

type Update = mesos.v1.executor.Call.Update.$Properties;

interface Waiting {
  readonly update: Update;
  readonly bytes: number;
  readonly settle: PromiseWithResolvers<void>;
}

/** So much may wait for an agent that is away: a subscription has to carry it all. */
const maxBytes = 8 << 20;

const idOf = (uuid: Uint8Array): string => Buffer.from(uuid).toString('hex');

/** Updates that the agent has not written down, oldest first. */
export class Unacknowledged {
  readonly #waiting = new Map<string, Waiting>();
  #bytes = 0;

  get updates(): Update[] {
    return [...this.#waiting.values()].map(({ update }) => update);
  }

  /**
   * @returns when the agent has written it down; rejected with what `fail` is given
   * @throws {RangeError} too much waits
   */
  add(status: mesos.v1.TaskStatus.$Properties & { readonly uuid: Uint8Array }): Promise<void> {
    const update = { status };
    const bytes = encode(mesos.v1.executor.Call.Update, update).length;
    if (this.#bytes + bytes > maxBytes) {
      throw new RangeError(
        `Cannot keep an update of task '${status.taskId.value}': ${this.#waiting.size} others wait for the agent`,
      );
    }
    const settle = Promise.withResolvers<void>();
    settle.promise.catch(() => undefined); // whoever waits for it hears of it; nobody has to
    this.#waiting.set(idOf(status.uuid), { update, bytes, settle });
    this.#bytes += bytes;
    return settle.promise;
  }

  /** @returns what was acknowledged, if it was waiting */
  acknowledge(uuid: Uint8Array): Update | undefined {
    const waiting = this.#take(uuid);
    waiting?.settle.resolve();
    return waiting?.update;
  }

  fail(uuid: Uint8Array, error: Error): void {
    this.#take(uuid)?.settle.reject(error);
  }

  failAll(error: Error): void {
    for (const { settle } of this.#waiting.values()) settle.reject(error);
    this.#waiting.clear();
    this.#bytes = 0;
  }

  /** Resolves when nothing waits any more. */
  async settled(): Promise<void> {
    while (this.#waiting.size > 0)
      await Promise.allSettled([...this.#waiting.values()].map(({ settle }) => settle.promise));
  }

  #take(uuid: Uint8Array): Waiting | undefined {
    const id = idOf(uuid);
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return undefined;
    this.#waiting.delete(id);
    this.#bytes -= waiting.bytes;
    return waiting;
  }
}
