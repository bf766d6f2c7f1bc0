import type { Subjects } from '@mesobus/sdk/bus';
import { firstNatsServerWith, isOlder } from '@mesobus/sdk/service';
import { jetstreamManager, type StreamInfo } from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/transport-node';
import { lackOf } from './fit-server.ts';
import { bucketDifferences, findStream } from './log-bucket.ts';
import { type FoundServers, findServers } from './nats-servers.ts';

/** Something that is not as it should be, and what mends it. */
export interface Finding {
  /** `unfit`: data would be lost, or nothing can be written. `warning`: less safe than it could be. `note`: unknown. */
  readonly severity: 'unfit' | 'warning' | 'note';
  /** The server or stream. */
  readonly about: string;
  readonly what: string;
  readonly mend: string;
}

/** A stream of the cluster as JetStream shows it. */
export interface StreamFacts {
  readonly stream: string;
  readonly exists: boolean;
  readonly replicas: number;
  /** Empty where there is only one server, or no leader. */
  readonly leader: string;
  readonly peers: readonly {
    readonly name: string;
    readonly current: boolean;
    readonly offline: boolean;
    readonly lag: number;
  }[];
  readonly messages: number;
  readonly bytes: number;
  /** How it differs from what it must be; empty if it does not. */
  readonly differences: string;
  /** Why nothing could be found out; empty if it could. */
  readonly unreadable: string;
}

export interface Diagnosis extends FoundServers {
  readonly streams: readonly StreamFacts[];
  readonly findings: readonly Finding[];
}

/** Looks at the NATS servers and the streams of a cluster; changes nothing. */
export async function diagnose(
  connection: NatsConnection,
  { logBucket, snapshotBucket, historyStream }: Subjects,
  monitorPort: number,
): Promise<Diagnosis> {
  const names = [`KV_${logBucket}`, `KV_${snapshotBucket}`, historyStream];
  const [servers, ...streams] = await Promise.all([
    findServers(connection, monitorPort),
    ...names.map((name) => lookAtStream(connection, name)),
  ]);
  const [log] = streams;
  const findings = [
    ...judgeServers(servers, log?.exists === true ? log.replicas : 1),
    ...streams.flatMap((stream) => judgeStream(stream, servers.reached.length + servers.unreached.length)),
  ];
  return { ...servers, streams, findings };
}

async function lookAtStream(connection: NatsConnection, stream: string): Promise<StreamFacts> {
  const nothing = { exists: false, replicas: 0, leader: '', peers: [], messages: 0, bytes: 0, differences: '' };
  try {
    const manager = await jetstreamManager(connection, { checkAPI: false });
    const info = await findStream(manager, stream);
    return info === undefined ? { stream, ...nothing, unreadable: '' } : factsOf(stream, info);
  } catch (error) {
    return { stream, ...nothing, unreadable: (error as Error).message };
  }
}

function factsOf(stream: string, { config, cluster, state }: StreamInfo): StreamFacts {
  return {
    stream,
    exists: true,
    replicas: config.num_replicas,
    leader: cluster?.leader ?? '',
    peers: (cluster?.replicas ?? []).map(({ name, current, offline = false, lag = 0 }) => ({
      name,
      current,
      offline,
      lag,
    })),
    messages: state.messages,
    bytes: state.bytes,
    differences: stream.startsWith('KV_') ? bucketDifferences(stream, config) : '',
    unreadable: '',
  };
}

const defaultSyncMinutes = 2;
const syncAlways = 'jetstream { sync_interval: always }';

/** What the servers lack for keeping so many replicas. */
export function judgeServers({ reached, unreached }: FoundServers, replicas: number): Finding[] {
  const findings: Finding[] = [];
  const find = (severity: Finding['severity'], about: string, what: string, mend: string): void =>
    void findings.push({ severity, about, what, mend });
  for (const { name, version, jetstream, maxPayload, syncMs } of reached) {
    const lack = lackOf({ version, jetstream, max_payload: maxPayload }, replicas);
    if (lack !== undefined) find('unfit', name, lack.what, lack.mend);
    const cost = replicas > 1 ? 'when most of the machines lose power at once' : 'when its machine loses power';
    if (syncMs === undefined && isOlder(version, firstNatsServerWith.syncInterval)) {
      const what = `nats-server ${version} cannot sync to disk with every write: minutes of what was acknowledged can be lost ${cost}`;
      find('warning', name, what, `upgrade it to ${firstNatsServerWith.syncInterval} or newer, then \`${syncAlways}\``);
    } else if (syncMs === undefined) {
      const mend = `add \`http: 8222\` to its configuration, or name its monitoring port; the default is ${defaultSyncMinutes} minutes`;
      find('note', name, 'how often it syncs to disk cannot be read: its monitoring does not answer', mend);
    } else if (syncMs > 0) {
      const what = `it syncs to disk every ${syncMs / 1000} s: so much of what was acknowledged can be lost ${cost}`;
      find('warning', name, what, `set \`${syncAlways}\` and restart the servers one after the other`);
    }
  }
  for (const { address, why } of unreached)
    find('warning', address, `it does not answer: ${why}`, 'start it, or remove it');
  if (replicas > 1 && reached.length + unreached.length < replicas) {
    const what = `${replicas} replicas need ${replicas} servers, and ${reached.length + unreached.length} are known`;
    find('warning', 'NATS', what, 'start as many servers with routes to each other, or start with --replicas 1');
  }
  return findings;
}

/** Whether a stream is kept as it should be. */
export function judgeStream(facts: StreamFacts, servers: number): Finding[] {
  const { stream: about, replicas, peers, leader } = facts;
  const finding = (severity: Finding['severity'], what: string, mend: string): Finding[] => [
    { severity, about, what, mend },
  ];
  if (facts.unreadable !== '') {
    const mend =
      'give this user the permission to publish to $JS.API.STREAM.INFO.*; or wait until JetStream has elected';
    return finding('unfit', `it cannot be read: ${facts.unreadable}`, mend);
  }
  if (!facts.exists) return finding('note', 'it does not exist yet', 'start a master and a registry: they create it');
  if (facts.differences !== '') return finding('unfit', facts.differences, `nats stream edit ${about}`);
  if (replicas === 1) {
    if (servers < 3) return [];
    const what = `one server alone keeps it, although there are ${servers}: it is lost with its disk`;
    return finding(
      'warning',
      what,
      `nats stream edit ${about} --replicas 3, and start masters and registries with --replicas 3`,
    );
  }
  if (leader === '')
    return finding('unfit', 'it has no leader: nothing can be written', 'start the servers that keep it');
  const behind = peers.filter(({ current, offline }) => offline || !current);
  const placed = peers.length + 1;
  if (placed < replicas) {
    return finding(
      'unfit',
      `it stands on ${placed} servers, not ${replicas}`,
      `nats stream cluster peer-remove ${about}, or start more servers`,
    );
  }
  if (behind.length === 0) return [];
  const who = behind.map(({ name, offline, lag }) => `${name} (${offline ? 'offline' : `lacks ${lag}`})`).join(', ');
  const severity = (placed - behind.length) * 2 > replicas ? 'warning' : 'unfit';
  return finding(
    severity,
    `not every replica is current: ${who}`,
    'start these servers, and wait until they have caught up',
  );
}
