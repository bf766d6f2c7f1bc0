import { setTimeout as sleep } from 'node:timers/promises';
import type { JetStreamView } from './jetstream-view.ts';
import { wallMs } from './workload.ts';

const name = 'chaos-bare';
const writeEveryMs = 25;
const writeTimeoutMs = 500;
const lookEveryMs = 100;

/** A stream of three replicas with a writer of its own and nothing of Mesobus: what JetStream does by itself. */
export class BareStream implements AsyncDisposable {
  readonly #view: JetStreamView;
  /** When writes were acknowledged, time of day, ms. */
  readonly #writes: number[] = [];
  readonly #writing: Promise<void>;
  #stopped = false;

  private constructor(view: JetStreamView) {
    this.#view = view;
    this.#writing = this.#write();
  }

  static async create(view: JetStreamView): Promise<BareStream> {
    const config = { name, subjects: [name], num_replicas: 3, storage: 'file', max_msgs: 1_000 };
    while ((await view.leaderOf(name)) === undefined) {
      await view.ask(`STREAM.CREATE.${name}`, config);
      await sleep(lookEveryMs);
    }
    return new BareStream(view);
  }

  /** Has it led by a server. */
  async leadFrom(server: string, signal: AbortSignal): Promise<void> {
    while ((await this.#view.leaderOf(name)) !== server) {
      await this.#view.ask(`STREAM.LEADER.STEPDOWN.${name}`, { placement: { preferred: server } });
      await sleep(lookEveryMs, undefined, { signal });
    }
    await this.untilWritten(signal);
  }

  /** Waits for a write that begins now or later. */
  async untilWritten(signal: AbortSignal): Promise<void> {
    const after = wallMs() + writeTimeoutMs;
    while ((this.#writes.at(-1) ?? 0) < after) await sleep(lookEveryMs, undefined, { signal });
  }

  /** The longest time between two acknowledged writes, from a moment on, ms. */
  longestPause(after: number): number {
    const times = [after, ...this.#writes.filter((at) => at > after)];
    return times.reduce((longest, at, index) => Math.max(longest, (times[index + 1] ?? at) - at), 0);
  }

  async #write(): Promise<void> {
    while (!this.#stopped) {
      try {
        const answer = await this.#view.connection.request(name, 'x'.repeat(300), { timeout: writeTimeoutMs });
        if (answer.json<{ seq?: number }>().seq !== undefined) this.#writes.push(wallMs());
      } catch {
        // It stalls: that is what is measured.
      }
      await sleep(writeEveryMs);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped = true;
    await this.#writing;
  }
}
