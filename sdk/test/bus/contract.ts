import { mesobus } from '@mesobus/protos';
import { type Bus, type Channel, type Delivery, type Epoch, subjectsOf } from '@mesobus/sdk/bus';
import { DeadlineError, DisconnectedError, NoRespondersError, RefusedError } from '@mesobus/sdk/errors';
import type { ExecutionContext, TestFn } from 'ava';
import { type Message, pack } from '../../src/bus/envelope.ts';

/** What the contract needs of a kind of bus. */
export interface TestNetwork {
  /** Half of what the transport takes in one message. */
  readonly maxFrameBytes: number;
  /** Buses are made with this bound. */
  readonly maxMessageBytes: number;
  connect(name: string): Promise<Bus>;
  /** Sends bytes as they are. */
  inject(subject: string, bytes: Uint8Array): Promise<void>;
  close(): Promise<void>;
}

const { FileData, FileRequest, LeaderBeat, Refusal, SchedulerCalls } = mesobus.v1;
type Echo = Channel<typeof FileRequest, typeof FileData>;
type EchoDelivery = Delivery<mesobus.v1.FileRequest, mesobus.v1.FileData.$Properties>;
type BeatStream = Channel<typeof LeaderBeat>;
const noEpoch: Epoch = { incarnation: 0, epoch: 0 };
const parent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
let subjects = 0;

/** A subject that no other test uses. */
function fresh(): string {
  subjects += 1;
  return `contract.${process.pid}.${subjects}`;
}

const echo = (): Echo => ({ subject: fresh(), request: FileRequest, reply: FileData });
const beats = (): BeatStream => ({ subject: fresh(), request: LeaderBeat });

/** Answers with the bytes of the path. */
const answer = (delivery: EchoDelivery): void => delivery.reply({ data: Buffer.from(delivery.message.path) });
const text = (data: Uint8Array): string => Buffer.from(data).toString();

/** What happens, in order, to be waited for. */
class Seen<T> {
  readonly all: T[] = [];
  #waiting: { until: (all: readonly T[]) => boolean; resolve: () => void }[] = [];

  readonly add = (item: T): void => {
    this.all.push(item);
    for (const { until, resolve } of this.#waiting) if (until(this.all)) resolve();
  };

  async until(condition: (all: readonly T[]) => boolean): Promise<readonly T[]> {
    if (!condition(this.all)) {
      await new Promise<void>((resolve) => this.#waiting.push({ until: condition, resolve }));
    }
    return this.all;
  }
}

/** Writes down what a follower is told, as text. */
async function follow(bus: Bus, channel: BeatStream): Promise<Seen<string>> {
  const seen = new Seen<string>();
  bus.followStream(channel, {
    onMessage: ({ masterId }, { first, number }) => seen.add(`${first ? 'first ' : ''}${number} ${masterId}`),
    onGap: () => seen.add('gap'),
  });
  await bus.flush();
  return seen;
}

/** A frame of a stream as its sender would make it. */
function streamFrame(stream: string, number: number, masterId?: string, epoch = noEpoch): Uint8Array {
  const position = { stream, number };
  const body = masterId === undefined ? {} : { body: LeaderBeat.encode({ masterId }).finish().slice() };
  const message: Message = { epoch, timeoutMs: 0, position, ...body };
  const options = { subject: '', maxFrameBytes: 4096, maxMessageBytes: 4096, newMessageId: () => 'x' };
  return pack(message, options)[0] as Uint8Array;
}

/** The tests that every kind of bus passes. `open` is called once per test. */
export function busContract(test: TestFn, open: () => Promise<TestNetwork>): void {
  const contract = (title: string, body: (t: ExecutionContext, network: TestNetwork) => Promise<void>) =>
    test(title, async (t) => {
      const network = await open();
      try {
        await body(t, network);
      } finally {
        await network.close();
      }
    });

  /** A server of the echo and a bus that asks it. */
  const served = async (network: TestNetwork, channel: Echo, handler: (delivery: EchoDelivery) => void = answer) => {
    const server = await network.connect('server');
    server.serve(channel, handler);
    await server.flush();
    return { server, client: await network.connect('client') };
  };

  contract('a published message reaches everyone who serves the subject', async (t, network) => {
    const channel = echo();
    const seen = new Seen<string>();
    for (const name of ['a', 'b']) {
      const bus = await network.connect(name);
      bus.serve(channel, ({ message, wantsReply }) => seen.add(`${name} ${message.path} ${wantsReply}`));
      await bus.flush();
    }
    (await network.connect('sender')).publish(channel, { path: 'hello' });
    t.deepEqual([...(await seen.until((all) => all.length === 2))].sort(), ['a hello false', 'b hello false']);
  });

  contract('a request gets its answer', async (t, network) => {
    const channel = echo();
    const { client } = await served(network, channel);
    const paths = Array.from({ length: 50 }, (_, index) => `file ${index}`);
    const answers = await Promise.all(paths.map((path) => client.request(channel, { path }, { timeoutMs: 5000 })));
    t.deepEqual(
      answers.map(({ message }) => text(message.data)),
      paths,
    );
  });

  contract('whoever serves hears how long the requester waits', async (t, network) => {
    const channel = echo();
    const seen = new Seen<number>();
    const { client } = await served(network, channel, (delivery) => {
      seen.add(delivery.timeoutMs);
      answer(delivery);
    });
    await client.request(channel, { path: 'x' }, { timeoutMs: 4321 });
    client.publish(channel, { path: 'y' });
    t.deepEqual(await seen.until((all) => all.length === 2), [4321, 0]);
  });

  contract('a handler may answer later', async (t, network) => {
    const channel = echo();
    const { client } = await served(network, channel, (delivery) => setImmediate(() => answer(delivery)));
    t.is(text((await client.request(channel, { path: 'x' }, { timeoutMs: 5000 })).message.data), 'x');
  });

  contract('only the first answer counts', async (t, network) => {
    const channel = echo();
    const { client } = await served(network, channel, (delivery) => {
      answer(delivery);
      delivery.refuse(new RefusedError('overloaded', 'late'));
    });
    t.is(text((await client.request(channel, { path: 'x' }, { timeoutMs: 5000 })).message.data), 'x');
  });

  contract('a request that nobody serves fails at once', async (t, network) => {
    const client = await network.connect('client');
    await t.throwsAsync(client.request(echo(), { path: 'x' }, { timeoutMs: 60_000 }), {
      instanceOf: NoRespondersError,
    });
  });

  contract('a channel that is not served any more has no responders', async (t, network) => {
    const channel = echo();
    const server = await network.connect('server');
    const subscription = server.serve(channel, answer);
    await server.flush();
    subscription.stop();
    await server.flush();
    const client = await network.connect('client');
    await t.throwsAsync(client.request(channel, { path: 'x' }, { timeoutMs: 60_000 }), {
      instanceOf: NoRespondersError,
    });
  });

  contract('a request without an answer fails at its deadline', async (t, network) => {
    const channel = echo();
    const { client } = await served(network, channel, () => {});
    await t.throwsAsync(client.request(channel, { path: 'x' }, { timeoutMs: 50 }), { instanceOf: DeadlineError });
  });

  contract('a refusal arrives with its code, subject and message', async (t, network) => {
    const channel = echo();
    const refusal = new RefusedError('path_unknown', '/a/b', 'it never was');
    const { client } = await served(network, channel, (delivery) => delivery.refuse(refusal));
    const error = await t.throwsAsync(client.request(channel, { path: 'x' }, { timeoutMs: 5000 }));
    t.true(error instanceof RefusedError);
    t.like(error, { code: 'path_unknown', subject: '/a/b', message: refusal.message });
  });

  contract('a handler that throws refuses its delivery and serves the next', async (t, network) => {
    const channel = echo();
    const { client } = await served(network, channel, (delivery) => {
      if (delivery.message.path === 'bad') throw new Error('broken');
      answer(delivery);
    });
    const ask = (path: string) => client.request(channel, { path }, { timeoutMs: 5000 });
    await t.throwsAsync(ask('bad'), { code: 'failed', message: /broken/ });
    t.is(text((await ask('good')).message.data), 'good');
  });

  contract('a handler whose promise rejects refuses its delivery', async (t, network) => {
    const channel = echo();
    const { client } = await served(network, channel, async () => {
      throw new RefusedError('overloaded', 'us');
    });
    await t.throwsAsync(client.request(channel, { path: 'x' }, { timeoutMs: 5000 }), { code: 'overloaded' });
  });

  contract('a malformed body is refused and the service lives', async (t, network) => {
    const channel = { subject: fresh(), request: SchedulerCalls, reply: FileData };
    const server = await network.connect('server');
    const handled = new Seen<string>();
    server.serve(channel, (delivery) => {
      handled.add('handled');
      delivery.reply({ data: Buffer.from('ok') });
    });
    await server.flush();
    const client = await network.connect('client');
    const wrong = { subject: channel.subject, request: Refusal, reply: FileData };
    await t.throwsAsync(client.request(wrong, { code: 'zzzz' }, { timeoutMs: 5000 }), { code: 'malformed_message' });
    t.deepEqual(handled.all, []);
    t.is(text((await client.request(channel, { calls: [] }, { timeoutMs: 5000 })).message.data), 'ok');
  });

  contract('a frame that is no envelope is dropped and the service lives', async (t, network) => {
    const channel = echo();
    const { client } = await served(network, channel);
    for (const bytes of [[], [0xff, 0xff, 0xff], [0x08, 0x00], [0x22, 0x7f, 1]]) {
      await network.inject(channel.subject, Uint8Array.from(bytes));
    }
    t.is(text((await client.request(channel, { path: 'x' }, { timeoutMs: 5000 })).message.data), 'x');
  });

  contract('a message of a newer protocol is refused', async (t, network) => {
    const channel = echo();
    const seen = new Seen<string>();
    const inbox: Channel<typeof FileRequest, typeof FileData> = echo();
    const { client } = await served(network, channel, ({ message }) => seen.add(message.path));
    await network.inject(
      channel.subject,
      mesobus.v1.Envelope.encode({ protocolVersion: 2, body: Buffer.from('\n\x01x') })
        .finish()
        .slice(),
    );
    client.publish(channel, { path: inbox.subject });
    t.deepEqual(await seen.until((all) => all.length > 0), [inbox.subject]);
  });

  contract('who serves a family learns the id, whatever characters it has', async (t, network) => {
    const family = subjectsOf(`c${fresh()}`).agentFiles('rack 1.host>2*');
    const server = await network.connect('server');
    server.serve(family.any, (delivery) => delivery.reply({ data: { data: Buffer.from(delivery.id) } }));
    await server.flush();
    const client = await network.connect('client');
    for (const id of ['ops', 'a.b c', '*', '>', 'Zoë=41', '=', '..']) {
      const { message } = await client.request(family.of(id), { path: '' }, { timeoutMs: 5000 });
      t.is(text(message.data?.data as Uint8Array), id);
    }
  });

  contract('the members of a queue group share the messages', async (t, network) => {
    const channel = echo();
    const seen = new Seen<string>();
    for (const name of ['a', 'b', 'other']) {
      const bus = await network.connect(name);
      bus.serve(channel, ({ message }) => seen.add(`${name} ${message.path}`), name === 'other' ? {} : { queue: 'q' });
      await bus.flush();
    }
    const sender = await network.connect('sender');
    for (let index = 0; index < 40; index += 1) sender.publish(channel, { path: `${index}` });
    const all = await seen.until((items) => items.length === 80);
    const shared = all.filter((item) => !item.startsWith('other'));
    t.is(new Set(shared.map((item) => item.split(' ')[1])).size, 40);
    t.true(shared.some((item) => item.startsWith('a')) && shared.some((item) => item.startsWith('b')));
  });

  contract('a queue group refuses a message in parts', async (t, network) => {
    const channel = echo();
    const server = await network.connect('server');
    server.serve(channel, answer, { queue: 'q' });
    await server.flush();
    const client = await network.connect('client');
    const path = 'x'.repeat(network.maxFrameBytes * 2);
    await t.throwsAsync(client.request(channel, { path }, { timeoutMs: 5000 }), { code: 'message_too_large' });
  });

  contract('messages of three frames go both ways whole', async (t, network) => {
    const channel = echo();
    const { client } = await served(network, channel);
    const path = Array.from({ length: network.maxFrameBytes * 3 }, (_, at) => String.fromCharCode(97 + (at % 26))).join(
      '',
    );
    const answers = await Promise.all([1, 2, 3].map(() => client.request(channel, { path }, { timeoutMs: 10_000 })));
    t.true(answers.every(({ message }) => text(message.data) === path));
  });

  contract('a message above the bound is refused before it is sent', async (t, network) => {
    const channel = echo();
    const { client } = await served(network, channel);
    const path = 'x'.repeat(network.maxMessageBytes + 1);
    t.throws(() => client.publish(channel, { path }), { code: 'message_too_large' } as never);
    await t.throwsAsync(client.request(channel, { path }, { timeoutMs: 5000 }), { code: 'message_too_large' });
  });

  contract('an answer above the bound becomes a refusal', async (t, network) => {
    const channel = echo();
    const { client } = await served(network, channel, (delivery) =>
      delivery.reply({ data: new Uint8Array(network.maxMessageBytes + 1) }),
    );
    await t.throwsAsync(client.request(channel, { path: 'x' }, { timeoutMs: 5000 }), { code: 'message_too_large' });
  });

  contract('an answer that cannot be encoded becomes a refusal', async (t, network) => {
    const channel = echo();
    const { client } = await served(network, channel, (delivery) => delivery.reply({ offset: 'many' as never }));
    await t.throwsAsync(client.request(channel, { path: 'x' }, { timeoutMs: 5000 }), { code: 'failed' });
  });

  contract('the epoch of a master arrives with messages and answers', async (t, network) => {
    const channel = echo();
    const seen = new Seen<Epoch>();
    const { server, client } = await served(network, channel, (delivery) => {
      seen.add(delivery.epoch);
      answer(delivery);
    });
    server.setEpoch({ incarnation: 2, epoch: 7 });
    client.setEpoch({ incarnation: 1, epoch: 9 });
    const { epoch } = await client.request(channel, { path: 'x' }, { timeoutMs: 5000 });
    t.deepEqual(epoch, { incarnation: 2, epoch: 7 });
    t.deepEqual(seen.all, [{ incarnation: 1, epoch: 9 }]);
  });

  contract('answers of an epoch that the requester does not accept are passed over', async (t, network) => {
    const channel = echo();
    const { server, client } = await served(network, channel);
    server.setEpoch({ incarnation: 1, epoch: 3 });
    const other = await network.connect('newer');
    other.setEpoch({ incarnation: 1, epoch: 4 });
    other.serve(channel, (delivery) => setImmediate(() => answer(delivery)));
    await other.flush();
    const accepts = ({ epoch }: Epoch) => epoch >= 4;
    t.is((await client.request(channel, { path: 'x' }, { timeoutMs: 5000, accepts })).epoch.epoch, 4);
  });

  contract('the trace context arrives, and is empty if there is none', async (t, network) => {
    const channel = echo();
    const seen = new Seen<string>();
    const { client } = await served(network, channel, ({ traceparent }) => seen.add(traceparent));
    client.publish(channel, { path: 'x' }, { traceparent: parent });
    client.publish(channel, { path: 'x' });
    t.deepEqual(await seen.until((all) => all.length === 2), [parent, '']);
  });

  contract('pending requests fail when the bus closes, and new ones too', async (t, network) => {
    const channel = echo();
    const { client } = await served(network, channel, () => {});
    const pending = t.throwsAsync(client.request(channel, { path: 'x' }, { timeoutMs: 60_000 }), {
      instanceOf: DisconnectedError,
    });
    await client.close();
    await pending;
    t.false(client.connected);
    await t.throwsAsync(client.request(channel, { path: 'x' }, { timeoutMs: 60_000 }), {
      instanceOf: DisconnectedError,
    });
    t.throws(() => client.serve(channel, answer), { instanceOf: DisconnectedError });
    t.notThrows(() => client.publish(channel, { path: 'x' }));
  });

  contract('a listener for the connection is called now and at the close', async (t, network) => {
    const bus = await network.connect('bus');
    const seen: boolean[] = [];
    bus.onConnection((connected) => seen.push(connected));
    const stop = bus.onConnection(() => seen.push(true));
    stop();
    await bus.close();
    t.deepEqual(seen, [true, true, false]);
  });

  contract('a stream arrives in order, also in parts and across a fresh start', async (t, network) => {
    const channel = beats();
    const seen = await follow(await network.connect('follower'), channel);
    const sender = (await network.connect('sender')).openStream(channel);
    const long = 'x'.repeat(network.maxFrameBytes * 2);
    t.deepEqual([sender.send({ masterId: 'a' }), sender.send({ masterId: long })], [1, 2]);
    sender.restart();
    t.is(sender.send({ masterId: 'c' }), 1);
    t.deepEqual(await seen.until((all) => all.length === 3), ['first 1 a', `2 ${long}`, 'first 1 c']);
  });

  contract('a loss in the middle of a stream is told, and nothing comes until a fresh start', async (t, network) => {
    const channel = beats();
    const seen = await follow(await network.connect('follower'), channel);
    for (const number of [1, 2, 2, 4, 5]) await network.inject(channel.subject, streamFrame('s', number, 'm'));
    await network.inject(channel.subject, streamFrame('t', 1, 'n'));
    t.deepEqual(await seen.until((all) => all.includes('first 1 n')), ['first 1 m', '2 m', 'gap', 'first 1 n']);
  });

  contract('a loss at the end of a stream is told by the beat, again and again', async (t, network) => {
    const channel = beats();
    const seen = await follow(await network.connect('follower'), channel);
    await network.inject(channel.subject, streamFrame('s', 1, 'm'));
    await network.inject(channel.subject, streamFrame('s', 1));
    await network.inject(channel.subject, streamFrame('s', 2));
    t.deepEqual(await seen.until((all) => all.length === 3), ['first 1 m', 'gap', 'gap']);
  });

  contract('who joins a stream late learns from its beat that something is missing', async (t, network) => {
    const channel = beats();
    const sender = (await network.connect('sender')).openStream(channel);
    sender.send({ masterId: 'a' });
    const seen = await follow(await network.connect('follower'), channel);
    await seen.until((all) => all.length > 0);
    sender.restart();
    sender.send({ masterId: 'b' });
    const all = await seen.until((items) => items.includes('first 1 b'));
    t.is(all[0], 'gap');
  });

  contract('a stream of a deposed master is passed over', async (t, network) => {
    const channel = beats();
    const seen = await follow(await network.connect('follower'), channel);
    const newer = { incarnation: 1, epoch: 2 };
    const older = { incarnation: 1, epoch: 1 };
    await network.inject(channel.subject, streamFrame('new', 1, 'a', newer));
    await network.inject(channel.subject, streamFrame('old', 1, 'b', older));
    await network.inject(channel.subject, streamFrame('new', 2, 'c', newer));
    t.deepEqual(await seen.until((all) => all.length === 2), ['first 1 a', '2 c']);
  });

  contract('a message of a stream that cannot be read is told as a loss', async (t, network) => {
    const channel = { subject: fresh(), request: SchedulerCalls };
    const seen = new Seen<string>();
    const follower = await network.connect('follower');
    follower.followStream(channel, { onMessage: () => seen.add('message'), onGap: (why) => seen.add(why) });
    await follower.flush();
    const sender = (await network.connect('sender')).openStream({ subject: channel.subject, request: Refusal });
    sender.send({ code: 'zzzz' });
    t.regex((await seen.until((all) => all.length === 1))[0] as string, /Cannot decode/);
  });

  contract('a probe tells whether anybody follows the stream', async (t, network) => {
    const channel = beats();
    const sender = (await network.connect('sender')).openStream(channel);
    t.is(await sender.probe(5000), 'gone');
    const follower = await network.connect('follower');
    await follow(follower, channel);
    t.is(await sender.probe(5000), 'alive');
    sender.send({ masterId: 'a' });
    t.is(await sender.probe(5000), 'alive');
  });

  contract('a closed stream sends no more', async (t, network) => {
    const channel = beats();
    const bus = await network.connect('sender');
    const sender = bus.openStream(channel);
    sender.close();
    t.throws(() => sender.send({ masterId: 'a' }), { instanceOf: DisconnectedError });
    const other = bus.openStream(channel);
    await bus.close();
    t.throws(() => other.send({ masterId: 'a' }), { instanceOf: DisconnectedError });
  });
}
