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
  const { logBucket, snapshotBucket, historyStream } = subjectsOf(cluster);
  const log = bucketApi(logBucket);
  const snapshot = bucketApi(snapshotBucket);
  const inbox = `_INBOX.${kind}.${own}.>`;
  const allow = (publish: string[], subscribe: string[] = [], mayRespond = false): Permissions => ({
    publish,
    subscribe: [inbox, ...subscribe],
    mayRespond,
  });
  const scheduler = [`${root}.master.scheduler.${own}`];
  const looking = [
    `${root}.registry.query.${own}`,
    `${root}.allocator.query.${own}`,
    `${root}.agent.*.files.${own}`, // what it may see there is for the agent to say
  ];
  const heard = [`${root}.scheduler.${own}.*`, `${root}.leader`];
  const backup = [
    ...[...log.open, ...log.read, ...log.write, log.purge],
    ...[...snapshot.open, ...snapshot.read, ...snapshot.write, snapshot.purge],
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
          ...[...log.open, ...log.read, ...log.write],
          ...[...snapshot.open, ...snapshot.read],
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
          ...[...log.open, ...log.read, log.purge],
          ...[...snapshot.open, ...snapshot.read, ...snapshot.write, snapshot.purge],
          ...['INFO', 'CREATE', 'UPDATE'].map((what) => `$JS.API.STREAM.${what}.${historyStream}`),
          ...consumersOf(historyStream),
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
      return allow([...scheduler, ...looking], heard);
    case 'operator':
      return allow(
        [
          ...scheduler, // `mesobus run`
          ...looking,
          `${root}.master.operator.${own}`,
          `${root}.master.query.${own}`,
          ...['exec', 'attach', 'usage'].map((what) => `${root}.agent.*.${what}.${own}`),
          ...[log.info, snapshot.info, `$JS.API.STREAM.INFO.${historyStream}`], // `mesobus doctor`
        ],
        heard,
      );
    case 'backup':
      return allow(backup);
  }
}

/** To read a stream from somewhere on. */
const consumersOf = (stream: string): string[] => [
  `$JS.API.CONSUMER.CREATE.${stream}`,
  `$JS.API.CONSUMER.MSG.NEXT.${stream}.*`,
  `$JS.API.CONSUMER.DELETE.${stream}.*`,
];

/** The subjects of JetStream for one bucket. */
function bucketApi(bucket: string) {
  const stream = `KV_${bucket}`;
  const info = `$JS.API.STREAM.INFO.${stream}`;
  return {
    info,
    /** Whoever comes first creates it. */
    open: [info, `$JS.API.STREAM.CREATE.${stream}`],
    read: [`$JS.API.STREAM.MSG.GET.${stream}`, `$JS.API.DIRECT.GET.${stream}`, ...consumersOf(stream)],
    write: [`$KV.${bucket}.>`],
    purge: `$JS.API.STREAM.PURGE.${stream}`,
  };
}
