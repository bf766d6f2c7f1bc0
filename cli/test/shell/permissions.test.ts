// What each kind of client may publish and listen to, on a real nats-server, written out by hand: what the design says,
// not what the code makes of it.
import { writeFileSync } from 'node:fs';
import { type ClientKind, clientKinds } from '@mesobus/sdk/bus';
import { encodeUser, fmtCreds } from '@nats-io/jwt';
import { createUser, fromSeed } from '@nats-io/nkeys';
import test from 'ava';
import { add } from '../../src/auth/auth.ts';
import { type Connection, type NatsWithAuth, startNatsWithAuth } from './nats-with-auth.ts';

/** `me` stands for the client that tries. Who may publish; who may listen. Words between are kinds of clients. */
const table: readonly (readonly [subject: string, publishers: string, listeners: string])[] = [
  // scheduler to leader, and back
  ['mesobus.main.master.scheduler.me', 'framework operator', 'master'],
  ['mesobus.main.master.scheduler.other', '', 'master'],
  ['mesobus.main.scheduler.me.i1', 'master', 'framework operator'],
  ['mesobus.main.scheduler.other.i1', 'master', ''],
  // agent to leader, and back
  ['mesobus.main.master.agent.me', 'agent', 'master'],
  ['mesobus.main.master.agent.other', '', 'master'],
  ['mesobus.main.agent.me', 'master', 'agent'],
  ['mesobus.main.agent.other', 'master', ''],
  ['mesobus.main.heartbeat.me', 'agent', 'master'],
  ['mesobus.main.heartbeat.other', '', 'master'],
  // operator to leader
  ['mesobus.main.master.operator.me', 'operator', 'master'],
  ['mesobus.main.master.operator.other', '', 'master'],
  // questions
  ['mesobus.main.registry.query.me', 'framework operator', 'registry'],
  ['mesobus.main.registry.query.other', '', 'registry'],
  ['mesobus.main.master.query.me', 'operator master', 'master'],
  ['mesobus.main.master.query.other', 'master', 'master'],
  ['mesobus.main.allocator.query.me', 'framework operator', 'allocator'],
  ['mesobus.main.allocator.query.other', '', 'allocator'],
  // leader to all, leader to allocator and back
  ['mesobus.main.leader', 'master', 'master registry allocator agent framework operator'],
  ['mesobus.main.allocator.feed.me.i1', 'master', 'allocator'],
  ['mesobus.main.allocator.feed.other.i1', 'master', ''],
  ['mesobus.main.master.allocator.me', 'allocator', 'master'],
  ['mesobus.main.master.allocator.other', '', 'master'],
  // sandboxes and containers
  ['mesobus.main.agent.a1.files.me', 'framework operator', ''],
  ['mesobus.main.agent.a1.files.other', '', ''],
  ['mesobus.main.agent.me.files.p1', '', 'agent'],
  ['mesobus.main.agent.a1.exec.me', 'operator', ''],
  ['mesobus.main.agent.a1.exec.other', '', ''],
  ['mesobus.main.agent.me.exec.p1', '', 'agent'],
  ['mesobus.main.agent.a1.attach.me', 'operator', ''],
  ['mesobus.main.agent.a1.attach.other', '', ''],
  ['mesobus.main.agent.me.attach.p1', '', 'agent'],
  ['mesobus.main.agent.a1.usage.me', 'operator', ''],
  ['mesobus.main.agent.a1.usage.other', '', ''],
  ['mesobus.main.agent.me.usage.p1', '', 'agent'],
  // answers: those who answer everyone may always, agents when they are asked
  ['_INBOX.framework.other.x.1', 'master registry allocator', ''],
  ['_INBOX.agent.other.x.1', 'master registry allocator', ''],
  ['_INBOX.x', 'master registry allocator', ''],
  ['_INBOX.master.me.x', 'master registry allocator', 'master'],
  ['_INBOX.registry.me.x', 'master registry allocator', 'registry'],
  ['_INBOX.allocator.me.x', 'master registry allocator', 'allocator'],
  ['_INBOX.agent.me.x', 'master registry allocator', 'agent'],
  ['_INBOX.framework.me.x', 'master registry allocator', 'framework'],
  ['_INBOX.operator.me.x', 'master registry allocator', 'operator'],
  ['_INBOX.backup.me.x', 'master registry allocator', 'backup'],
  // the log
  ['$KV.mesobus-main-log.leader', 'master backup', ''],
  ['$KV.mesobus-main-log.log.00000000000000000001', 'master backup', ''],
  ['$JS.API.STREAM.INFO.KV_mesobus-main-log', 'master registry operator backup', ''],
  ['$JS.API.STREAM.CREATE.KV_mesobus-main-log', 'master registry backup', ''],
  ['$JS.API.STREAM.UPDATE.KV_mesobus-main-log', 'backup', ''],
  ['$JS.API.STREAM.DELETE.KV_mesobus-main-log', 'backup', ''],
  ['$JS.API.STREAM.PURGE.KV_mesobus-main-log', 'registry backup', ''],
  ['$JS.API.STREAM.MSG.GET.KV_mesobus-main-log', 'master registry backup', ''],
  ['$JS.API.STREAM.MSG.DELETE.KV_mesobus-main-log', '', ''],
  ['$JS.API.DIRECT.GET.KV_mesobus-main-log', '', ''],
  ['$JS.API.DIRECT.GET.KV_mesobus-main-log.$KV.mesobus-main-log.leader', '', ''],
  ['$JS.API.CONSUMER.CREATE.KV_mesobus-main-log', 'master registry backup', ''],
  ['$JS.API.CONSUMER.MSG.NEXT.KV_mesobus-main-log.c1', 'master registry backup', ''],
  ['$JS.API.CONSUMER.DELETE.KV_mesobus-main-log.c1', 'master registry backup', ''],
  ['$JS.API.CONSUMER.DURABLE.CREATE.KV_mesobus-main-log.c1', '', ''],
  ['$JS.API.STREAM.SNAPSHOT.KV_mesobus-main-log', '', ''],
  ['$JS.API.STREAM.RESTORE.KV_mesobus-main-log', '', ''],
  // the snapshots
  ['$KV.mesobus-main-snapshot.meta', 'registry backup', ''],
  ['$JS.API.STREAM.INFO.KV_mesobus-main-snapshot', 'master registry operator backup', ''],
  ['$JS.API.STREAM.CREATE.KV_mesobus-main-snapshot', 'master registry backup', ''],
  ['$JS.API.STREAM.UPDATE.KV_mesobus-main-snapshot', 'backup', ''],
  ['$JS.API.STREAM.DELETE.KV_mesobus-main-snapshot', 'backup', ''],
  ['$JS.API.STREAM.PURGE.KV_mesobus-main-snapshot', 'registry backup', ''],
  ['$JS.API.STREAM.MSG.GET.KV_mesobus-main-snapshot', 'master registry backup', ''],
  ['$JS.API.DIRECT.GET.KV_mesobus-main-snapshot', '', ''],
  ['$JS.API.DIRECT.GET.KV_mesobus-main-snapshot.$KV.mesobus-main-snapshot.snap.1.1', 'master registry backup', ''],
  // the history
  ['$JS.API.STREAM.INFO.mesobus-main-history', 'master registry operator backup', ''],
  ['$JS.API.STREAM.CREATE.mesobus-main-history', 'registry', ''],
  ['$JS.API.STREAM.UPDATE.mesobus-main-history', 'registry backup', ''],
  ['$JS.API.CONSUMER.CREATE.mesobus-main-history', 'registry', ''],
  ['$JS.API.CONSUMER.MSG.NEXT.mesobus-main-history.c1', 'registry', ''],
  ['$JS.API.CONSUMER.DELETE.mesobus-main-history.c1', 'registry', ''],
  ['$JS.API.STREAM.DELETE.mesobus-main-history', 'backup', ''],
  ['$JS.API.STREAM.PEER.REMOVE.mesobus-main-history', 'backup', ''],
  ['$JS.API.STREAM.LEADER.STEPDOWN.KV_mesobus-main-log', 'backup', ''],
  ['$JS.API.STREAM.PURGE.mesobus-main-history', '', ''],
  // what is of no stream of ours, or nobody's
  ['$JS.API.INFO', 'backup', ''],
  ['$JS.API.STREAM.NAMES', 'backup', ''],
  ['$JS.API.STREAM.LIST', 'backup', ''],
  ['$JS.API.STREAM.CREATE.more', '', ''],
  ['$KV.other.key', '', ''],
  ['mesobus.lab.master.scheduler.me', '', ''],
  ['mesobus.lab.leader', '', ''],
  ['$JS.API.STREAM.INFO.KV_mesobus-lab-log', '', ''],
  ['elsewhere', '', ''],
];

/** Nobody may listen to more than is theirs by a wildcard: some for everyone, some with who may. */
const wildcards: readonly (readonly [subject: string, listeners: string])[] = [
  ['>', ''],
  ['*', ''],
  ['mesobus.>', ''],
  ['mesobus.main.>', ''],
  ['mesobus.main.*', ''],
  ['mesobus.*.leader', ''],
  ['mesobus.main.master.>', ''],
  // Where a '*' is allowed at the end the server takes a '>' too; no subject of ours has more tokens there.
  ['mesobus.main.master.scheduler.>', 'master'],
  ['mesobus.main.scheduler.me.>', 'framework operator'],
  ['mesobus.main.scheduler.>', ''],
  ['mesobus.main.master.scheduler.*', 'master'],
  ['mesobus.main.master.agent.*', 'master'],
  ['mesobus.main.heartbeat.*', 'master'],
  ['mesobus.main.registry.query.*', 'registry'],
  ['mesobus.main.allocator.query.*', 'allocator'],
  ['mesobus.main.scheduler.*.*', ''],
  ['mesobus.main.scheduler.me.*', 'framework operator'],
  ['mesobus.main.agent.*', ''],
  ['mesobus.main.agent.me.*.*', 'agent'],
  ['mesobus.main.agent.*.*.*', ''],
  ['_INBOX.>', ''],
  ['_INBOX.*.me.>', ''],
  ['$KV.>', ''],
  ['$JS.>', ''],
  ['$JS.ACK.>', ''],
  ['$SYS.>', ''],
];

let nats: NatsWithAuth;
/** May do everything in the account: hears what arrives, and sends what is to be heard. */
let all: Connection;
const clients = new Map<ClientKind, Connection>();

/** A principal is a framework or an operator, so that they cannot have the same name. */
const nameOf = (kind: ClientKind): string => (kind === 'operator' ? 'myself' : 'me');
const forKind = (subject: string, kind: ClientKind): string => subject.replace(/\.me(?=\.|$)/, `.${nameOf(kind)}`);
const includes = (kinds: string, kind: ClientKind): boolean => kinds.split(' ').includes(kind);
const clientOf = (kind: ClientKind): Connection => clients.get(kind) as Connection;

test.before(async () => {
  nats = await startNatsWithAuth();
  const { folder } = nats;
  for (const kind of clientKinds) {
    clients.set(kind, await nats.connect(await add(folder, { kind, name: nameOf(kind) }, {}, Date.now())));
  }
  const [account, user] = [fromSeed(Buffer.from(folder.read('keys', 'account.nk').trim())), createUser()];
  const creds = folder.file('all.creds');
  writeFileSync(creds, fmtCreds(await encodeUser('all', user, account), user));
  all = await nats.connect(creds);
});
test.after.always(async () => {
  await Promise.all([all, ...clients.values()].map((one) => one?.close()));
  await nats?.[Symbol.asyncDispose]();
});

/** The subjects that the server refuses to a client while it does something. */
async function refusals(client: Connection, work: () => void): Promise<string[]> {
  const refused: string[] = [];
  const statuses = client.status();
  const heard = (async () => {
    for await (const status of statuses) {
      const { error } = status as { error?: { subject?: string } };
      if (status.type === 'error' && error?.subject !== undefined) refused.push(error.subject);
    }
  })();
  work();
  await client.flush(); // the server has said by then what it refuses
  await new Promise(setImmediate);
  (statuses as unknown as { stop(): void }).stop();
  await heard;
  return refused.sort();
}

for (const kind of clientKinds) {
  test.serial(
    `what ${kind === 'operator' || kind === 'allocator' || kind === 'agent' ? 'an' : 'a'} ${kind} publishes arrives, or is refused, as the table says`,
    async (t) => {
      const arrived: string[] = [];
      const marker = `by ${kind}`;
      const listening = all.subscribe('>', {
        callback: (_, message) => void (message.string() === marker && arrived.push(message.subject)),
      });
      await all.flush();
      const rows = table.map(([subject, publishers]) => ({
        subject: forKind(subject, kind),
        allowed: includes(publishers, kind),
      }));
      const client = clientOf(kind);
      const refused = await refusals(client, () => {
        for (const { subject } of rows) client.publish(subject, marker);
      });
      await all.flush();
      listening.unsubscribe();
      const subjects = (allowed: boolean) =>
        rows.filter((row) => row.allowed === allowed).map(({ subject }) => subject);
      t.deepEqual([...new Set(arrived)].sort(), subjects(true).sort());
      t.deepEqual(refused, subjects(false).sort());
    },
  );

  for (const inGroups of [false, true]) {
    const how = inGroups ? 'in a queue group' : 'alone';
    test.serial(`${kind}: what it listens to ${how} comes, or is refused, as the table says`, async (t) => {
      const rows = [...table.map(([subject, , listeners]) => [subject, listeners] as const), ...wildcards].map(
        ([subject, listeners]) => ({ subject: forKind(subject, kind), allowed: includes(listeners, kind) }),
      );
      const heard: string[] = [];
      const client = clientOf(kind);
      const subscriptions: { unsubscribe(): void }[] = [];
      const refused = await refusals(client, () => {
        for (const [index, { subject }] of rows.entries()) {
          const callback = (error: Error | null) => void (error === null && heard.push(subject)); // a refusal comes here too
          subscriptions.push(client.subscribe(subject, { callback, ...(inGroups && { queue: `group-${index}` }) }));
        }
      });
      for (const { subject } of rows) {
        all.publish(subject.replaceAll('*', 'one').replace('>', 'one')); // what the wildcards stand for
      }
      await all.flush();
      await client.flush();
      for (const subscription of subscriptions) subscription.unsubscribe();
      const subjects = (allowed: boolean) =>
        rows.filter((row) => row.allowed === allowed).map(({ subject }) => subject);
      t.deepEqual([...new Set(heard)].sort(), subjects(true).sort());
      t.deepEqual(refused, subjects(false).sort());
    });
  }
}

const asked = [
  ['agent', 'mesobus.main.agent.me'],
  ['framework', 'mesobus.main.scheduler.me.i9'], // the leader asks whether it is there
  ['operator', 'mesobus.main.scheduler.myself.i9'],
] as const;
for (const [kind, subject] of asked) {
  test.serial(`${kind}: it answers whoever asks it, in parts too, and nobody else`, async (t) => {
    const client = clientOf(kind);
    const inbox = `_INBOX.master.m1.${kind}`;
    client.subscribe(subject, {
      callback: (_, message) => {
        for (const part of ['1', '2', '3']) message.respond(part);
      },
    });
    await client.flush();
    const answers: string[] = [];
    const done = new Promise<void>((resolve) => {
      all.subscribe(inbox, {
        callback: (_, message) => {
          answers.push(message.string());
          if (answers.length === 3) resolve();
        },
      });
    });
    all.publish(subject, '', { reply: inbox });
    await done;
    t.deepEqual(answers, ['1', '2', '3']);
    const other = `${inbox}.other`;
    t.deepEqual(await refusals(client, () => client.publish(other, 'unasked')), [other]);
  });
}

test.serial('a name that is no token stands for itself alone', async (t) => {
  const file = await add(nats.folder, { kind: 'agent', name: 'rack 1.host>*' }, {}, Date.now());
  const agent = await nats.connect(file);
  t.teardown(() => agent.close());
  const own = 'mesobus.main.heartbeat.rack=201=2ehost=3e=2a';
  const others = 'mesobus.main.heartbeat.rack=201=2ehost=3e=2b';
  const refused = await refusals(agent, () => {
    agent.publish(own);
    agent.publish(others);
  });
  t.deepEqual(refused, [others]);
});
