import { setTimeout as sleep } from 'node:timers/promises';
import type { LocalCluster } from '@mesobus/cli/local-cluster';
import { subjectsOf } from '@mesobus/sdk/bus';
import { connect, type NatsConnection } from '@nats-io/transport-node';

interface StreamInfo {
  readonly cluster?: {
    readonly leader?: string;
    readonly replicas?: readonly { readonly name: string; readonly current: boolean }[];
  };
}

const lookEveryMs = 25;
const askTimeoutMs = 250;

/** Looks at the streams of a cluster from outside, by JetStream's API. */
export class JetStreamView implements AsyncDisposable {
  readonly connection: NatsConnection;
  /** Of the log. */
  readonly stream: string;

  private constructor(connection: NatsConnection, stream: string) {
    this.connection = connection;
    this.stream = stream;
  }

  static async on({ nats, token, cluster }: LocalCluster): Promise<JetStreamView> {
    const connection = await connect({
      ...{ servers: nats.split(','), token, name: 'chaos', maxReconnectAttempts: -1 },
      ...{ reconnectTimeWait: 50, reconnectJitter: 50 },
    });
    return new JetStreamView(connection, `KV_${subjectsOf(cluster).logBucket}`);
  }

  /** Waits until every replica of the log has all of it; gives the server that leads it. */
  async untilWhole(signal: AbortSignal): Promise<string> {
    for (;;) {
      const { cluster } = (await this.ask<StreamInfo>(`STREAM.INFO.${this.stream}`)) ?? {};
      const replicas = cluster?.replicas ?? [];
      const whole = replicas.length === 2 && replicas.every(({ current }) => current);
      if (cluster?.leader && whole) return cluster.leader;
      await sleep(lookEveryMs, undefined, { signal });
    }
  }

  /** Waits until the log has a leader: which may be the killed one, once it is back. */
  async untilLed(signal: AbortSignal): Promise<void> {
    while ((await this.leaderOf(this.stream)) === undefined) await sleep(lookEveryMs, undefined, { signal });
  }

  async leaderOf(stream: string): Promise<string | undefined> {
    const info = await this.ask<StreamInfo>(`STREAM.INFO.${stream}`);
    return info?.cluster?.leader || undefined;
  }

  /** What JetStream says; undefined if nobody answers: the leader does, and there may be none. */
  async ask<T>(what: string, body: unknown = ''): Promise<T | undefined> {
    try {
      const payload = body === '' ? '' : JSON.stringify(body);
      const answer = await this.connection.request(`$JS.API.${what}`, payload, { timeout: askTimeoutMs });
      return answer.json<T>();
    } catch {
      return undefined;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.connection.close();
  }
}
