import { once } from 'node:events';
import { connect } from 'node:net';
import type { NatsConnection } from '@nats-io/transport-node';

/** What a NATS server says of itself. */
export interface NatsServerFacts {
  /** `10.0.0.1:4222`. */
  readonly address: string;
  readonly name: string;
  readonly version: string;
  readonly jetstream: boolean;
  readonly maxPayload: number;
  /** How often JetStream syncs to disk, in ms; 0: with every write. Undefined if its monitoring cannot be read. */
  readonly syncMs: number | undefined;
}

export interface FoundServers {
  readonly reached: readonly NatsServerFacts[];
  readonly unreached: readonly { readonly address: string; readonly why: string }[];
}

/** Where a nats-server serves its monitoring unless told otherwise. */
export const usualMonitorPort = 8222;
const answerTimeoutMs = 1_000;
const nsPerMs = 1_000_000;

interface Greeting {
  readonly server_name?: string;
  readonly server_id: string;
  readonly version: string;
  readonly jetstream?: boolean;
  readonly max_payload: number;
}

/**
 * Looks at every server of the cluster that this connection is to, as far as they know of each other.
 *
 * @param monitorPort - where they serve their monitoring; not asked unless given
 */
export async function findServers(connection: NatsConnection, monitorPort?: number): Promise<FoundServers> {
  const addresses = new Set([connection.getServer(), ...(connection.info?.connect_urls ?? [])]);
  const looks = await Promise.allSettled([...addresses].map((address) => look(address, monitorPort)));
  const outcomes = [...addresses].map((address, at) => ({
    address,
    look: looks[at] as PromiseSettledResult<NatsServerFacts>,
  }));
  const byName = new Map<string, NatsServerFacts>(); // one server may be known by several addresses
  for (const { look: outcome } of outcomes) {
    if (outcome.status === 'fulfilled' && !byName.has(outcome.value.name))
      byName.set(outcome.value.name, outcome.value);
  }
  const unreached = outcomes.flatMap(({ address, look: outcome }) =>
    outcome.status === 'rejected' ? [{ address, why: (outcome.reason as Error).message }] : [],
  );
  return { reached: [...byName.values()].sort((a, b) => (a.name < b.name ? -1 : 1)), unreached };
}

async function look(address: string, monitorPort: number | undefined): Promise<NatsServerFacts> {
  const { hostname, port } = new URL(`nats://${address}`);
  const host = hostname.replace(/^\[|\]$/g, '');
  const [greeting, syncMs] = await Promise.all([
    greet(host, Number(port)),
    monitorPort === undefined ? undefined : readSync(hostname, monitorPort),
  ]);
  return {
    address,
    name: greeting.server_name ?? greeting.server_id,
    version: greeting.version,
    jetstream: greeting.jetstream === true,
    maxPayload: greeting.max_payload,
    syncMs,
  };
}

/** A server says what it is to whoever connects, before it asks who that is. */
async function greet(host: string, port: number): Promise<Greeting> {
  const socket = connect({ host, port });
  try {
    let text = '';
    while (!text.includes('\n')) {
      const [chunk] = (await once(socket, 'data', { signal: AbortSignal.timeout(answerTimeoutMs) })) as [Buffer];
      text += chunk.toString('utf8');
    }
    return JSON.parse(text.slice(text.indexOf('{'), text.indexOf('\n'))) as Greeting;
  } finally {
    socket.destroy();
  }
}

async function readSync(host: string, port: number): Promise<number | undefined> {
  try {
    const answer = await fetch(`http://${host}:${port}/varz`, { signal: AbortSignal.timeout(answerTimeoutMs) });
    const varz = (await answer.json()) as {
      jetstream?: { config?: { sync_interval?: number; sync_always?: boolean } };
    };
    const config = varz.jetstream?.config;
    if (config?.sync_always === true) return 0;
    return config?.sync_interval === undefined ? undefined : config.sync_interval / nsPerMs;
  } catch {
    return undefined; // it serves no monitoring, or not to us
  }
}
