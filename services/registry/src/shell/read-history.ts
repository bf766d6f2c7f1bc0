import type { mesobus } from '@mesobus/protos';
import { AckPolicy, DeliverPolicy, type JetStreamManager, jetstream, jetstreamManager } from '@nats-io/jetstream';
import { createInbox, type Msg, type NatsConnection } from '@nats-io/transport-node';
import { taskFactsIn, writtenAtMs } from '../core/task-history.ts';
import { isFull, placeOf } from './tailer.ts';

interface HistoryStream {
  readonly connection: NatsConnection;
  readonly manager: JetStreamManager;
  /** Name of the stream. */
  readonly stream: string;
  /** What inboxes begin with. */
  readonly inboxPrefix: string | undefined;
}

/** For whoever answers queries of the history. */
export async function openHistoryReader(
  connection: NatsConnection,
  stream: string,
): Promise<(query: mesobus.v1.GetTaskHistory) => Promise<mesobus.v1.TaskHistory.$Properties>> {
  const manager = await jetstreamManager(connection, { checkAPI: false });
  const inboxPrefix = jetstream(connection).getOptions().watcherPrefix;
  const history = { connection, manager, stream, inboxPrefix };
  return (query) => readTaskHistory(history, query);
}

/** One part of an answer: so much is read, so many facts are found, or so long it takes. */
const maxBytes = 64 * 1024 * 1024;
const maxFactBytes = 256 * 1024;
const maxMs = 1_500;
const batch = 256;
const batchBytes = 4 * 1024 * 1024;
const batchTimeoutMs = 2_000;
const inactiveNs = 10_000_000_000;

/**
 * Looks for tasks in the history of the log.
 *
 * @throws {Error} JetStream does not answer, or there is no history
 */
async function readTaskHistory(
  history: HistoryStream,
  { frameworkId, taskId, sinceMs, fromSequence }: mesobus.v1.GetTaskHistory,
): Promise<mesobus.v1.TaskHistory.$Properties> {
  const { manager, stream } = history;
  const end = (await manager.streams.info(stream)).state.last_seq;
  const start =
    fromSequence > 0
      ? { deliver_policy: DeliverPolicy.StartSequence, opt_start_seq: fromSequence }
      : { deliver_policy: DeliverPolicy.StartTime, opt_start_time: new Date(sinceMs).toISOString() };
  if (fromSequence > end) return { facts: [], nextSequence: 0 };
  const settings = { ack_policy: AckPolicy.None, inactive_threshold: inactiveNs, mem_storage: true, num_replicas: 1 };
  const { name: consumer } = await manager.consumers.add(stream, { ...settings, ...start });
  try {
    const part = new Part();
    let last = 0;
    for (const stopAt = performance.now() + maxMs; performance.now() < stopAt && !part.isFull; ) {
      const messages = await pull(history, consumer);
      if (messages.length === 0) return part.answer(0);
      for (const message of messages) {
        part.take(message.data, { frameworkId, taskId });
        last = placeOf(message.reply)?.sequence ?? last;
      }
      if (last >= end) return part.answer(0);
    }
    return part.answer(last + 1);
  } finally {
    manager.consumers.delete(stream, consumer).catch(() => {}); // the server would forget it anyway
  }
}

class Part {
  readonly #facts: mesobus.v1.TaskFact.$Properties[] = [];
  #bytes = 0;
  #factBytes = 0;
  #last: Uint8Array | undefined;

  get isFull(): boolean {
    return this.#bytes >= maxBytes || this.#factBytes >= maxFactBytes;
  }

  take(entry: Uint8Array, wanted: { readonly frameworkId: string; readonly taskId: string }): void {
    this.#bytes += entry.length;
    this.#last = entry;
    for (const fact of taskFactsIn(entry, wanted)) {
      this.#facts.push(fact);
      this.#factBytes += fact.record?.length ?? 0;
    }
  }

  answer(nextSequence: number): mesobus.v1.TaskHistory.$Properties {
    const lookedAtUntilMs = this.#last === undefined ? 0 : writtenAtMs(this.#last);
    return { facts: this.#facts, nextSequence, lookedAtUntilMs };
  }
}

/** Nothing more stands there, or no more fits. All else, such as nobody being there to answer, is no end of the history. */
export const isEndOfPull = (code: number, description: string): boolean =>
  code === 404 || code === 408 || (code === 409 && isFull(description));

/**
 * What stands there now, at most a batch; nothing at the end.
 *
 * @throws {Error} JetStream does not answer, or lost the consumer
 */
function pull({ connection, stream, inboxPrefix }: HistoryStream, consumer: string): Promise<Msg[]> {
  const inbox = createInbox(inboxPrefix);
  return new Promise((resolve, reject) => {
    const messages: Msg[] = [];
    const done = (settle: () => void): void => {
      clearTimeout(timer);
      subscription.unsubscribe();
      settle();
    };
    const timer = setTimeout(
      () => done(() => reject(new Error(`JetStream gives nothing of '${stream}' for ${batchTimeoutMs} ms`))),
      batchTimeoutMs,
    );
    const subscription = connection.subscribe(inbox, {
      callback: (error, message) => {
        const { code = 0, description = '' } = message.headers ?? {};
        if (error !== null) done(() => reject(error));
        else if (code === 0) {
          if (messages.push(message) >= batch) done(() => resolve(messages));
        } else if (isEndOfPull(code, description)) done(() => resolve(messages));
        else done(() => reject(new Error(`JetStream gives no more of '${stream}': ${code} ${description}`)));
      },
    });
    const request = { batch, max_bytes: batchBytes, no_wait: true };
    connection.publish(`$JS.API.CONSUMER.MSG.NEXT.${stream}.${consumer}`, JSON.stringify(request), { reply: inbox });
  });
}
