import { mesobus } from '@mesobus/protos';
import { createMemoryNetwork, ManualClock } from '@mesobus/sdk/bus';
import { DeadlineError } from '@mesobus/sdk/errors';
import test from 'ava';
import { busContract } from './contract.ts';

const { FileData, FileRequest, LeaderBeat } = mesobus.v1;
const echo = { subject: 'echo', request: FileRequest, reply: FileData };
const beats = { subject: 'beats', request: LeaderBeat };

busContract(test, async () => {
  const limits = { maxFrameBytes: 4096, maxMessageBytes: 100_000 };
  const network = createMemoryNetwork(limits);
  const open = new Set<{ close(): Promise<void> }>();
  return {
    ...limits,
    connect: async (name) => {
      const bus = network.connect(name);
      open.add(bus);
      return bus;
    },
    inject: async (subject, bytes) => network.inject(subject, bytes),
    close: async () => {
      await Promise.all([...open].map((bus) => bus.close()));
    },
  };
});

test('a request waits for the return of the connection, within its deadline', async (t) => {
  const clock = new ManualClock();
  const network = createMemoryNetwork({ clock });
  network.connect('server').serve(echo, (delivery) => delivery.reply({ data: Buffer.from('ok') }));
  const client = network.connect('client');
  network.disconnect(client);
  const answered = client.request(echo, { path: 'x' }, { timeoutMs: 1000 });
  const late = t.throwsAsync(client.request(echo, { path: 'x' }, { timeoutMs: 500 }), { instanceOf: DeadlineError });
  await network.settle();
  clock.advance(999);
  network.reconnect(client);
  t.is(Buffer.from((await answered).message.data).toString(), 'ok');
  await late;
});

test('what is published while the bus is cut off is lost', async (t) => {
  const network = createMemoryNetwork();
  const seen: string[] = [];
  network.connect('server').serve(echo, ({ message }) => seen.push(message.path));
  const client = network.connect('client');
  network.disconnect(client);
  client.publish(echo, { path: 'lost' });
  network.reconnect(client);
  client.publish(echo, { path: 'kept' });
  await network.settle();
  t.deepEqual(seen, ['kept']);
});

test('a bus that is cut off serves nothing: its subject has no responders', async (t) => {
  const network = createMemoryNetwork();
  const server = network.connect('server');
  server.serve(echo, (delivery) => delivery.reply({}));
  network.disconnect(server);
  const error = await t.throwsAsync(network.connect('client').request(echo, { path: 'x' }, { timeoutMs: 60_000 }));
  t.is(error.name, 'NoRespondersError');
});

test('a request whose parts are lost is sent again', async (t) => {
  const network = createMemoryNetwork({ maxFrameBytes: 1024 });
  network.connect('server').serve(echo, (delivery) => delivery.reply({ data: Buffer.from(delivery.message.path) }));
  let frames = 0;
  network.drop(({ subject }) => {
    frames += subject === 'echo' ? 1 : 0;
    return subject === 'echo' && (frames === 2 || frames === 5);
  });
  const path = 'abc'.repeat(1000);
  const { message } = await network.connect('client').request(echo, { path }, { timeoutMs: 60_000 });
  t.is(Buffer.from(message.data).toString(), path);
});

test('a request whose parts are lost every time fails with parts_missing after four tries', async (t) => {
  const network = createMemoryNetwork({ maxFrameBytes: 1024 });
  network.connect('server').serve(echo, () => t.fail());
  let asked = 0;
  network.drop(({ subject, reply }) => {
    asked += subject === 'echo' && reply !== '' ? 1 : 0;
    return subject === 'echo' && reply === '';
  });
  const asking = network.connect('client').request(echo, { path: 'x'.repeat(3000) }, { timeoutMs: 60_000 });
  await t.throwsAsync(asking, { code: 'parts_missing' });
  t.is(asked, 4);
});

test('a stream whose follower was cut off is gone to the probe, and tells the gap after the return', async (t) => {
  const clock = new ManualClock();
  const network = createMemoryNetwork({ clock });
  const seen: string[] = [];
  const follower = network.connect('follower');
  follower.followStream(beats, {
    onMessage: ({ masterId }) => seen.push(masterId),
    onGap: () => seen.push('gap'),
  });
  const sender = network.connect('sender').openStream(beats);
  sender.send({ masterId: 'a' });
  await network.settle();
  network.disconnect(follower);
  sender.send({ masterId: 'b' });
  t.is(await sender.probe(1000), 'gone');
  network.reconnect(follower);
  for (let second = 0; second < 3; second += 1) {
    clock.advance(1000);
    await network.settle();
  }
  t.deepEqual(seen, ['a', 'gap', 'gap', 'gap']);
});

test('a probe whose answer is lost says silent', async (t) => {
  const clock = new ManualClock();
  const network = createMemoryNetwork({ clock });
  network.connect('follower').followStream(beats, { onMessage: () => {}, onGap: () => {} });
  network.drop(({ subject }) => subject !== 'beats');
  const probe = network.connect('sender').openStream(beats).probe(1000);
  await network.settle();
  clock.advance(1000);
  t.is(await probe, 'silent');
});

test('a stream from which nothing was sent says no number', async (t) => {
  const clock = new ManualClock();
  const network = createMemoryNetwork({ clock });
  let frames = 0;
  network.drop(() => {
    frames += 1;
    return false;
  });
  network.connect('follower').followStream(beats, { onMessage: () => {}, onGap: () => {} });
  const sender = network.connect('sender').openStream(beats);
  clock.advance(5000);
  t.is(frames, 0);
  sender.send({ masterId: 'a' });
  clock.advance(3000);
  t.is(frames, 4);
  sender.close();
  clock.advance(3000);
  t.is(frames, 4);
});
