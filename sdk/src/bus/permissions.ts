import type { ClientKind } from './identity.ts';
import { subjectsOf } from './subjects.ts';
import { encodeToken } from './token.ts';

/** What a client may do on the bus; all else is refused. The NATS server puts a client's name in place of `{{name()}}`. */
export interface Permissions {
  readonly publish: readonly string[];
  readonly subscribe: readonly string[];
  /** May answer whoever asked it, and nobody else. Who has to answer everyone at any rate may publish to all inboxes. */
  readonly mayRespond: boolean;
}

const own = '{{name()}}';
const everyInbox = '_INBOX.>';

/**
 * What each kind of client may do, and no more: its own subjects under its own name, and of JetStream only what its work
 * needs. These are the templates of the signing keys that make credentials.
 */
export function permissionsOf(cluster: string, kind: ClientKind): Permissions {
  const root = `mesobus.${encodeToken(cluster)}`;
  const store = jetStreamOf(cluster);
  const inbox = `_INBOX.${kind}.${own}.>`;
  const allow = (publish: readonly string[], subscribe: readonly string[] = [], mayRespond = false): Permissions => ({
    publish,
    subscribe: [inbox, ...subscribe],
    mayRespond,
  });
  const scheduler = [`${root}.master.scheduler.${own}`];
  const heard = [`${root}.scheduler.${own}.*`, `${root}.leader`];
  const looking = [
    `${root}.registry.query.${own}`,
    `${root}.allocator.query.${own}`,
    `${root}.agent.*.files.${own}`, // what it may see there is for the agent to say
  ];
  switch (kind) {
    case 'master':
      return allow(
        [
          everyInbox,
          `${root}.scheduler.*.*`,
          `${root}.agent.*`,
          `${root}.allocator.feed.*.*`,
          `${root}.leader`,
          `${root}.master.query.*`, // standbys ask whether anybody leads
          ...store.info,
          ...store.create,
          ...store.readBuckets,
          store.writeLog,
        ],
        [
          `${root}.leader`,
          `${root}.heartbeat.*`,
          ...['scheduler', 'agent', 'operator', 'query', 'allocator'].map((who) => `${root}.master.${who}.*`),
        ],
      );
    case 'registry':
      return allow(
        [
          everyInbox,
          ...store.info,
          ...store.create,
          ...store.readBuckets,
          store.writeSnapshots,
          ...store.purge,
          ...store.keepHistory,
        ],
        [`${root}.leader`, `${root}.registry.query.*`],
      );
    case 'allocator':
      return allow(
        [everyInbox, `${root}.master.allocator.${own}`],
        [`${root}.leader`, `${root}.allocator.feed.${own}.*`, `${root}.allocator.query.*`],
      );
    case 'agent':
      return allow(
        [`${root}.master.agent.${own}`, `${root}.heartbeat.${own}`],
        [`${root}.leader`, `${root}.agent.${own}`, `${root}.agent.${own}.*.*`],
        true,
      );
    case 'framework':
      return allow([...scheduler, ...looking], heard, true); // the leader asks whether it follows its events
    case 'operator':
      return allow(
        [
          ...scheduler, // `mesobus run`
          ...looking,
          `${root}.master.operator.${own}`,
          `${root}.master.query.${own}`,
          ...['exec', 'attach', 'usage'].map((what) => `${root}.agent.*.${what}.${own}`),
          ...store.info, // `mesobus doctor`
        ],
        heard,
        true,
      );
    case 'backup':
      return allow([
        ...store.info,
        ...store.create,
        ...store.readBuckets,
        store.writeLog,
        store.writeSnapshots,
        ...store.purge,
        ...store.administer,
      ]);
  }
}

/** What there is to allow of JetStream. */
interface JetStreamSubjects {
  /** Tells what the streams are like: for `mesobus doctor`, as whom ever. */
  readonly info: readonly string[];
  /** Whoever comes first creates the buckets. */
  readonly create: readonly string[];
  readonly readBuckets: readonly string[];
  readonly writeLog: string;
  readonly writeSnapshots: string;
  readonly purge: readonly string[];
  /** Creates the history, changes how long it keeps what, and reads it. */
  readonly keepHistory: readonly string[];
  /** Changes, moves and deletes the streams, with the `nats` command. */
  readonly administer: readonly string[];
}

function jetStreamOf(cluster: string): JetStreamSubjects {
  const { logBucket, snapshotBucket, historyStream: history } = subjectsOf(cluster);
  const [log, snapshot] = [`KV_${logBucket}`, `KV_${snapshotBucket}`];
  const stream = (what: string, ...names: readonly string[]): string[] =>
    names.map((name) => `$JS.API.STREAM.${what}.${name}`);
  const follow = (name: string): string[] => [
    `$JS.API.CONSUMER.CREATE.${name}`,
    `$JS.API.CONSUMER.MSG.NEXT.${name}.*`,
    `$JS.API.CONSUMER.DELETE.${name}.*`,
  ];
  const values = `$KV.${snapshotBucket}.>`;
  return {
    info: stream('INFO', log, snapshot, history),
    create: stream('CREATE', log, snapshot),
    readBuckets: [...stream('MSG.GET', log, snapshot), ...follow(log), `$JS.API.DIRECT.GET.${snapshot}.${values}`],
    writeLog: `$KV.${logBucket}.>`,
    writeSnapshots: values,
    purge: stream('PURGE', log, snapshot),
    administer: [
      ...['UPDATE', 'DELETE', 'PEER.REMOVE', 'LEADER.STEPDOWN'].flatMap((what) => stream(what, log, snapshot, history)),
      ...['INFO', 'STREAM.NAMES', 'STREAM.LIST'].map((what) => `$JS.API.${what}`),
    ],
    keepHistory: [...stream('CREATE', history), ...stream('UPDATE', history), ...follow(history)],
  };
}
